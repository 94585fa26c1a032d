"""Checkpoints as files: written whole or not at all, checked when read, and read without running code from them.

A checkpoint is the zip archive that torch writes, with its SHA-256 as the archive's comment: any zip or torch reader
takes it. (The CRCs that a zip has by itself leave out its headers and padding, and a memory-mapped file is read without
them. SHA-256 costs 0.2 s for Cnn14's 320 MB, on processors that have instructions for it.)
"""

import hashlib
import json
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from aer.errors import InputError
from aer.models.weights import load_tensors
from aer.settings import AnySettings
from aer.utils.files import write_whole

# what every checkpoint has
REQUIRED_KEYS = {"model", "model_kind", "classes", "settings", "epoch"}
# to be increased when a reader of today's files could no longer read tomorrow's
FORMAT = 2
# in the folder `checkpoints` of a run
LAST, PREVIOUS, BEST = "last.pth", "previous.pth", "best.pth"
# for the message when a file of a run can't be written
WRITE_ADVICE = (
    "make room or name another --run-dir (earlier checkpoints are whole, and the same command goes on from the last "
    "one)"
)

_LABEL = b"aer sha256 "
# the label and the digest in hexadecimal
_COMMENT_BYTES = len(_LABEL) + 2 * hashlib.sha256().digest_size
# the comment's length: the last two bytes of an archive without a comment
_LENGTH = struct.Struct("<H")
_BLOCK_BYTES = 1 << 20


def save(path: Path, content: Mapping[str, Any], keep_old_as: Path | None = None) -> None:
    """Write tensors and plain values, with the format's number and a checksum; `keep_old_as`: see `write_whole`.

    Raise AerError if the file can't be written.
    """
    write_whole(path, lambda file: _write({"format": FORMAT, **content}, file), WRITE_ADVICE, keep_old_as)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU, memory-mapped.

    Raise InputError, in one line, for a file that is missing, damaged (in a single bit), of another format or that
    would run code.
    """
    check(path)
    return read(path)


def read(path: Path) -> dict[str, Any]:
    """Read a file that `check` has passed; raise InputError as `load` does."""
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= REQUIRED_KEYS:
        raise InputError(f"{path}: no checkpoint of aer in format {FORMAT}")
    return content


def check(path: Path) -> None:
    """Raise InputError, in one line that begins with the path, if a file differs from the checksum at its end.

    Reads the file once, a block at a time.
    """
    try:
        with path.open("rb") as file:
            body_bytes = file.seek(0, os.SEEK_END) - _LENGTH.size - _COMMENT_BYTES
            file.seek(0)
            digest = hashlib.sha256()
            for start in range(0, body_bytes, _BLOCK_BYTES):
                digest.update(file.read(min(_BLOCK_BYTES, body_bytes - start)))
            digest.update(_LENGTH.pack(0))
            end = file.read()
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    if not end.startswith(_LENGTH.pack(_COMMENT_BYTES) + _LABEL):
        raise InputError(f"{path}: damaged: cut short, or no checkpoint of aer (there is no checksum at its end)")
    if end != _end(digest.hexdigest()):
        raise InputError(f"{path}: damaged: its content does not match its checksum")


class _Hashed:
    """A file that is written from start to end, with the digest of what was written."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _write(content: Mapping[str, Any], file: IO[bytes]) -> None:
    hashed = _Hashed(file)
    # it asks for no more than write and flush
    torch.save(content, hashed)  # type: ignore[arg-type]
    file.seek(-_LENGTH.size, os.SEEK_END)
    file.write(_end(hashed.digest.hexdigest()))


def _end(digest: str) -> bytes:
    """Return the last bytes of a checkpoint whose archive, as torch wrote it, has that digest (hexadecimal)."""
    return _LENGTH.pack(_COMMENT_BYTES) + _LABEL + digest.encode("ascii")


def epoch_file(epoch: int) -> str:
    """Return the name of the file with the weights of an epoch, counted from 1."""
    return f"epoch_{epoch:04d}.pth"


def epoch_of(name: str) -> int | None:
    """Return the epoch whose file has that name; None for a name that no run gives a file."""
    found = re.fullmatch(r"epoch_([0-9]{4,9})\.pth", name)
    return int(found[1]) if found and epoch_file(int(found[1])) == name != epoch_file(0) else None


def has_state(folder: Path) -> bool:
    """Return whether there is a state, whole or not, in the folder of checkpoints."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def find_state(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest whole state in a folder of checkpoints, or None, and what is wrong with newer ones.

    Raise InputError, in one line, if there are states and none is whole.
    """
    complaints = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            check(path)
        except InputError as error:
            complaints.append(str(error))
        else:
            return path, complaints
    if complaints:
        weights = folder / BEST
        way_out = (
            f"--fresh --initial-weights {weights} starts from the best epoch's weights" if weights.exists() else ""
        )
        raise InputError(f"{'; '.join(complaints)}; no state is left to go on from: {way_out or '--fresh starts anew'}")
    return None, []


def load_initial_weights(path: Path, model: torch.nn.Module, settings: AnySettings, classes: tuple[str, ...]) -> str:
    """Give the model the weights of an earlier run's checkpoint; return a line that says what was taken.

    With the same classes all weights are taken; with others, all but those of the head (`model.head_prefixes`).
    Raise InputError for another kind of model, another front end, or shapes that do not fit.
    """
    content = load(path)
    if content["model_kind"] != settings.model:
        raise InputError(f"{path} holds a {content['model_kind']} model, and this run trains {settings.model}")
    there, here = (json.loads(text) for text in (content["settings"], settings.model_dump_json()))
    differing = [name for name in ("sample_rate", "mel", "image_height") if there.get(name) != here.get(name)]
    if differing:
        differences = "; ".join(f"{name} {there.get(name)} there, {here.get(name)} here" for name in differing)
        raise InputError(f"initial_weights {path} were trained with another front end: {differences}")
    weights = content["model"]
    own: dict[str, torch.Tensor] = {}
    if tuple(content["classes"]) != classes:
        prefixes: tuple[str, ...] = model.head_prefixes  # type: ignore[assignment]
        own = {name: value for name, value in model.state_dict().items() if name.startswith(prefixes)}
    try:
        model.load_state_dict({**weights, **own}, strict=True)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit this model: {' '.join(str(error).split())[:300]}") from error
    head = "" if not own else f"; a fresh head for {len(classes)} classes (that file has {len(content['classes'])})"
    return f"weights of {path}, epoch {content['epoch']}{head}"
