"""Weights from elsewhere: read without running any code in them, and held against the model entry by entry."""

import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aer.errors import InputError

# plain arrays, which PANNs' own checkpoints have beside the weights (the sampler's order); building one runs no code
_reconstruct = np.empty(0).__reduce__()[0]
_NUMPY_ARRAYS: list[Any] = [
    np.ndarray,
    np.dtype,
    _reconstruct,
    # its name before numpy 2
    (_reconstruct, "numpy.core.multiarray._reconstruct"),
    *(type(np.dtype(name)) for name in ("int64", "int32", "float64", "float32", "bool")),
]

# what torch.load raises on bytes that are no checkpoint, depending on where it stumbles
_UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    EOFError,
    zipfile.BadZipFile,
    struct.error,
)


def load_tensors(path: Path) -> Any:
    """Return what torch saved in `path`, on the CPU, memory-mapped where it can be.

    Raise InputError, in one line that begins with the path, for a file that is missing, damaged or would run code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(_NUMPY_ARRAYS), warnings.catch_warnings():
            # torch asks for a report of files in another pickle protocol; what it can't read becomes an error below
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            # files from before torch 1.6 are no zip archives and can't be mapped
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        # torch's own text is long, and advises to run what is in the file
        raise InputError(f"{path}: damaged, or holds more than weights (code is never run)") from error
    except _UNREADABLE as error:
        raise InputError(f"{path}: can't be read as PyTorch weights, it may be cut short") from error


def read_weights(path: Path, remedy: str) -> dict[str, Tensor]:
    """Return the state dict in `path`, bare or under the key `model`, on the CPU.

    Raise InputError for anything else. `remedy` ends the message: where to get a good file.
    """
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
    """Raise InputError if any name or shape of the weights in `path` is not the model's (`wanted`)."""
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
    """Return the first names for a message."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
