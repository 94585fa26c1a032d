"""Reading files that torch has saved without running code from them."""

import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aer.errors import InputError

# Plain arrays, which PANNs' own checkpoints have beside the weights (the sampler's order); building one runs no code
_reconstruct = np.empty(0).__reduce__()[0]
_NUMPY_ARRAYS: list[Any] = [
    np.ndarray,
    np.dtype,
    _reconstruct,
    (_reconstruct, "numpy.core.multiarray._reconstruct"),  # its name before numpy 2
    *(type(np.dtype(name)) for name in ("int64", "int32", "float64", "float32", "bool")),
]

# What torch.load raises on bytes that are no checkpoint, depending on where it stumbles
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
    """What torch saved in `path`, on the CPU, memory-mapped where it can be.

    Raises InputError, in one line that begins with the path, for a file that is missing, damaged or would run code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(_NUMPY_ARRAYS), warnings.catch_warnings():
            # torch asks for a report of files in another pickle protocol; what it can't read becomes an error below
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            # files from before torch 1.6 are no zip archives and can't be mapped
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:  # torch's own text is long, and advises to run what is in the file
        raise InputError(f"{path}: damaged, or holds more than weights (code is never run)") from error
    except _UNREADABLE as error:
        raise InputError(f"{path}: can't be read as PyTorch weights, it may be cut short") from error
