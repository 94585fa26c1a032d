"""Whether two runs' folders hold the same: what the tests and benchmarks/kill_and_resume.py compare."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tensorboardX.proto.event_pb2 import Event

from aer.training import checkpoint_file

_LENGTH = struct.Struct("<QI")  # a record of TensorBoard: its length, a checksum, the bytes, another checksum
_CHECKSUM_BYTES = 4


def difference(one: Any, other: Any, where: str = "") -> str | None:
    """The first place where two checkpoints' contents differ in a bit, or None."""
    if type(one) is not type(other):
        return f"{where}: {type(one).__name__} and {type(other).__name__}"
    if isinstance(one, torch.Tensor):
        equal = one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
        return None if equal else where
    if isinstance(one, Mapping):
        if list(one) != list(other):
            return f"{where}: {list(one)} and {list(other)}"
        pairs = [(f"{where}[{key!r}]", one[key], other[key]) for key in one]
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            return f"{where}: {len(one)} and {len(other)}"
        pairs = [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else f"{where}: {one!r} and {other!r}"
    return next((found for at, a, b in pairs if (found := difference(a, b, at))), None)


def same_tensors(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two state dicts have the same names and the same numbers."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def checkpoint_differences(one: Path, other: Path) -> list[str]:
    """What differs between two folders of checkpoints: names, and any value or tensor in any file."""
    names = sorted(path.name for path in one.iterdir())
    if names != (others := sorted(path.name for path in other.iterdir())):
        return [f"{names} and {others}"]
    loaded = ((name, checkpoint_file.load(one / name), checkpoint_file.load(other / name)) for name in names)
    return [found for name, a, b in loaded if (found := difference(a, b, name))]


def tensorboard_rows(folder: Path) -> list[tuple[str, str, int, float]]:
    """Every (loader, tag, step, value) in the event files below a folder, in their order."""
    rows = []
    for path in sorted(folder.glob("*/events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            n_bytes, _ = _LENGTH.unpack_from(content, at)
            event = Event.FromString(content[at + _LENGTH.size : at + _LENGTH.size + n_bytes])
            rows += [(path.parent.name, value.tag, event.step, value.simple_value) for value in event.summary.value]
            at += _LENGTH.size + n_bytes + _CHECKSUM_BYTES
    return rows


def run_differences(one: Path, other: Path) -> list[str]:
    """What differs between two runs' folders: checkpoints, bytes of the other files, rows in TensorBoard."""
    found = checkpoint_differences(one / "checkpoints", other / "checkpoints")
    if tensorboard_rows(one / "tensorboard") != tensorboard_rows(other / "tensorboard"):
        found.append("tensorboard")
    names = sorted(path.name for path in one.iterdir())
    if names != (others := sorted(path.name for path in other.iterdir())):
        return [*found, f"{names} and {others}"]
    files = [name for name in names if (one / name).is_file()]
    return [*found, *(name for name in files if (one / name).read_bytes() != (other / name).read_bytes())]
