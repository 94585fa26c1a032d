"""Weights from elsewhere: read without running any code in them, and held against the model entry by entry."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from aer.errors import InputError
from aer.safeload import load_tensors


def read_weights(path: Path, remedy: str) -> dict[str, Tensor]:
    """The state dict in `path`, bare or under the key `model`, on the CPU. `remedy` says where to get a good file."""
    try:
        content = load_tensors(path)
    except InputError as error:
        raise InputError(f"{error}; {remedy}") from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise InputError(f"{path}: holds no state dict (names and tensors), bare or under the key 'model'; {remedy}")
    return dict(content)


def check_entries(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], remedy: str) -> None:
    """Refuse weights of which any name or shape is not the model's."""
    faults = {
        "missing": [name for name in wanted if name not in found],
        "unknown": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in wanted
            if name in found and found[name].shape != wanted[name].shape
        ],
    }
    counts = [f"{len(names)} {fault} ({_first(names)})" for fault, names in faults.items() if names]
    if counts:
        raise InputError(f"{path}: weights of another model: entries {', '.join(counts)}; {remedy}")


def _first(names: list[str], limit: int = 2) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
