"""Raw recordings as people have them, and the names that their clips get. Unlike the reading of a corpus to train on,
this goes on where something is amiss, and says of every file that it passes by why it did.
"""

import functools
import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aer.corpus import FOLDER, NO_AUDIO, SUFFIXES, check_distinct, check_plain, inside
from aer.errors import InputError
from aer.tables import read_table
from aer.text import printable

NO_RECORDINGS = "has no recordings"  # said of a class folder
STEM_BYTES = 180  # of a clip's name; file systems take 255, and offset and suffix are still to come


@dataclass(frozen=True)
class Source:
    """A raw recording."""

    path: Path
    name: str  # its path below the folder of raw recordings, with slashes
    size_bytes: int
    mtime_ns: int
    row: dict[str, str]  # its columns in the corpus's CSV


@dataclass(frozen=True)
class Sources:
    """The raw recordings that there are, in order, and the files passed by: name, reason."""

    found: tuple[Source, ...]
    passed_by: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    base: Path  # the folder that the names are below


def list_sources(base: Path, csv: Path | None) -> Sources:
    """The recordings in the class folders below `base`; with a CSV those that it lists, with its columns.

    The CSV has the columns `ebird_code` and `filename`, or `path` (from the CSV's folder) and `labels`. Raises
    InputError, in one line, for a folder or a CSV that can't be read, and for a path that leads out of `base`.
    """
    return _from_folders(base) if csv is None else _from_csv(base, csv)


def _from_folders(base: Path) -> Sources:
    found: list[Source] = []
    passed_by: list[tuple[str, str]] = []
    for folder in _visible(base):
        if not folder.is_dir():
            passed_by.append((folder.name, "stands outside of the class folders"))
            continue
        try:
            files = _visible(folder)
        except InputError as error:
            passed_by.append((folder.name, str(error)))
            continue
        if not files:
            passed_by.append((folder.name, NO_RECORDINGS))
        for file in files:
            name = f"{folder.name}/{file.name}"
            row = {"ebird_code": folder.name, "filename": file.name, "xc_id": name}
            _sort_in(file, name, row, found, passed_by)
    return Sources(tuple(found), tuple(passed_by), ("ebird_code", "filename", "xc_id"), base)


def _from_csv(base: Path, csv: Path) -> Sources:
    table = read_table(csv)
    columns = set(table)
    folders: list[Path] = []
    if {"path", "labels"} <= columns:
        base, names = csv.parent, table["path"]
    elif {"ebird_code", "filename"} <= columns:
        names = [f"{code}/{name}" for code, name in zip(table["ebird_code"], table["filename"], strict=True)]
        folders = [entry for entry in _visible(base) if entry.is_dir()]
        out = [code for code in table["ebird_code"] if os.pardir in Path(code).parts or Path(code).is_absolute()]
        if out:
            raise InputError(f"csv {csv} lists {printable(out[0])!r} as ebird_code, which leads out of {base}")
        check_plain(table["ebird_code"], csv)
    else:
        known = ", ".join(map(printable, table))
        raise InputError(f"csv {csv} needs the columns ebird_code and filename, or path and labels; it has {known}")
    paths = inside(base, names, csv)
    check_distinct(paths, csv)
    if "xc_id" not in columns:
        table["xc_id"] = names
    found: list[Source] = []
    passed_by: list[tuple[str, str]] = []
    for path, given, cells in zip(paths, names, zip(*table.values(), strict=True), strict=True):
        plain = not given.startswith((os.pardir, os.sep)) and given == os.path.normpath(given)
        name = given if plain and os.sep == "/" else _name_below(base, path)
        _sort_in(path, name, dict(zip(table, cells, strict=True)), found, passed_by)
    passed_by += [(name, f"is not in {csv.name}") for name in _unlisted(base, names, folders)]
    return Sources(tuple(found), tuple(passed_by), tuple(table), base)


def _name_below(base: Path, path: Path) -> str:
    """The path below `base`, where it is known to be; a CSV may give it absolute, or by way of links."""
    name = os.path.relpath(path, base)
    if name.startswith(os.pardir):
        name = os.path.relpath(os.path.realpath(path), os.path.realpath(base))
    return Path(name).as_posix()


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"folder {printable(folder)} can't be read: {error.strerror}") from error


def _sort_in(path: Path, name: str, row: dict[str, str], found: list[Source], passed_by: list[tuple[str, str]]) -> None:
    try:
        status = path.stat()
    except OSError as error:  # a loop of links, a link to nowhere, a row of the CSV without its file
        passed_by.append((name, (error.strerror or str(error)).lower()))
        return
    if stat.S_ISDIR(status.st_mode):
        passed_by.append((name, FOLDER))
    elif not stat.S_ISREG(status.st_mode):
        passed_by.append((name, "is no ordinary file"))
    elif path.suffix.lower() not in SUFFIXES:
        passed_by.append((name, NO_AUDIO))
    else:
        found.append(Source(path, name, status.st_size, status.st_mtime_ns, row))


def _unlisted(base: Path, names: Iterable[str], folders: Iterable[Path]) -> list[str]:
    """Recordings that a CSV does not list, in `folders` and in those of the recordings that it does list."""
    listed = {os.path.abspath(os.path.join(base, name)) for name in names}  # noqa: PTH100, PTH118 - links stay
    unlisted = []
    absolute = {os.path.dirname(path) for path in listed}.union(map(os.path.abspath, folders))  # noqa: PTH120
    for folder in map(Path, sorted(absolute)):
        try:
            entries = _visible(folder)
        except InputError:
            continue  # what the CSV lists of it has been passed by already, with this very reason
        recordings = [entry for entry in entries if entry.suffix.lower() in SUFFIXES]
        unlisted += [_name_below(base, entry) for entry in recordings if str(entry) not in listed]
    return unlisted


def clip_stems(names: Sequence[str]) -> list[str]:
    """For each source's name the stem that its clips get, different from all others in the same folder.

    That is the name without its suffix, with the suffix (`a_mp3`) where `a.mp3` and `a.wav` would both be `a`, and with
    a few digits of a hash where that is not enough or the name is too long. Letters that some file systems don't tell
    apart (case, composed accents) count as the same.
    """
    stems = [_plain(name) for name in names]
    ways: list[Callable[[str], str]] = [
        _with_suffix,
        *(functools.partial(_with_hash, digits=digits) for digits in (8, 16, 32, 32)),
    ]
    for more in ways:
        counts = Counter(_key(name, stem) for name, stem in zip(names, stems, strict=True))
        if len(counts) == len(stems):
            break
        stems = [more(name) if counts[_key(name, stem)] > 1 else stem for name, stem in zip(names, stems, strict=True)]
    return stems


def _key(name: str, stem: str) -> str:
    folder = name.rpartition("/")[0]
    return unicodedata.normalize("NFC", f"{folder}/{stem}").casefold()


def _plain(name: str) -> str:
    path = Path(name)
    return _fitting(path.stem, name)


def _with_suffix(name: str) -> str:
    path = Path(name)
    return _fitting(f"{path.stem}_{path.suffix[1:].lower()}", name)


def _with_hash(name: str, digits: int) -> str:
    return f"{_with_suffix(name)}_{_hash(name, digits)}"


def _hash(name: str, digits: int = 8) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:digits]


def _fitting(stem: str, name: str) -> str:
    """The stem in UTF-8 and not too long; where that takes a change, with the hash of the whole name."""
    encoded = os.fsencode(stem)
    clean = encoded.decode("utf-8", errors="replace").replace("\ufffd", "_")
    if len(encoded) <= STEM_BYTES and clean == stem:
        return stem
    shortened = clean.encode()[:STEM_BYTES].decode("utf-8", errors="ignore")
    return f"{shortened}_{_hash(name)}"
