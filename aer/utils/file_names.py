"""File names that are unique in their folder and that every system takes."""

import functools
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

# of the stem of a clip's name: file systems take 255, and offset and suffix are still to come
STEM_BYTES = 180
# of a class or a recording in a file name
NAME_BYTES = 80
# names that Windows keeps for devices, whatever their suffix
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def clip_stems(names: Sequence[str]) -> list[str]:
    """Return for each recording's name (a path with slashes) the stem of its clips, which no other in its folder has.

    That is the name without its suffix, with the suffix (`a_mp3`) where `a.mp3` and `a.wav` would both be `a`, and with
    a few digits of a hash where that is not enough or the name is longer than STEM_BYTES. Letters that some file
    systems don't tell apart (case, composed accents) count as the same.
    """
    stems = [_plain(name) for name in names]
    alternatives: list[Callable[[str], str]] = [
        _with_suffix,
        *(functools.partial(_with_hash, digits=digits) for digits in (8, 16, 32, 32)),
    ]
    for alternative in alternatives:
        counts = Counter(_key(name, stem) for name, stem in zip(names, stems, strict=True))
        if len(counts) == len(stems):
            break
        stems = [
            alternative(name) if counts[_key(name, stem)] > 1 else stem for name, stem in zip(names, stems, strict=True)
        ]
    return stems


def _key(name: str, stem: str) -> str:
    """Return what is equal for stems in a folder that some file system takes for one name."""
    folder = name.rpartition("/")[0]
    return unicodedata.normalize("NFC", f"{folder}/{stem}").casefold()


def _plain(name: str) -> str:
    return _fitting(Path(name).stem, name)


def _with_suffix(name: str) -> str:
    path = Path(name)
    return _fitting(f"{path.stem}_{path.suffix[1:].lower()}", name)


def _with_hash(name: str, digits: int) -> str:
    return f"{_with_suffix(name)}_{_hash(name, digits)}"


def _fitting(stem: str, name: str) -> str:
    """Return the stem in UTF-8, STEM_BYTES at most; if it had to be changed, with a hash of the whole name."""
    encoded = os.fsencode(stem)
    clean = encoded.decode("utf-8", errors="replace").replace("\ufffd", "_")
    if len(encoded) <= STEM_BYTES and clean == stem:
        return stem
    shortened = clean.encode()[:STEM_BYTES].decode("utf-8", errors="ignore")
    return f"{shortened}_{_hash(name)}"


def _hash(name: str, digits: int = 8) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:digits]


def safe_name(text: str) -> str:
    """Return `text` as one part of a path that every system takes.

    It has letters, digits, spaces and `-_.` only, `_` for all else, and NAME_BYTES (and a `_`) at most.
    """
    kept = "".join(c if c.isalnum() or c in " -_." else "_" for c in unicodedata.normalize("NFC", text))
    short = kept.encode()[:NAME_BYTES].decode(errors="ignore").strip(" .")
    return f"{short}_" if not short or short.split(".")[0].lower() in _DEVICES else short


def free_name(name: str, suffix: str, taken: set[str]) -> str:
    """Return `name` and `suffix`, with a number between them (`_2`) where that is taken; it is added to `taken`.

    `taken` has names in casefolded form: some file systems don't tell upper from lower case.
    """
    number, free = 1, f"{name}{suffix}"
    while free.casefold() in taken:
        number += 1
        free = f"{name}_{number}{suffix}"
    taken.add(free.casefold())
    return free
