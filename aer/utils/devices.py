"""Devices: which one to compute on, and memory that runs out."""

import re

import torch

from aer.errors import InputError

# torch on CPU and GPU, its linear algebra, numpy, the system; some come as a RuntimeError, from a worker all do
_NO_MEMORY = re.compile(
    r"out of memory|(can't|cannot|unable to) allocate|not enough memory|ALLOC_FAILED|bad_alloc", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """True for what torch, numpy and Python raise where memory can't be had."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error)) is not None
    )


def pick_device(name: str, option: str) -> str:
    """`name` ("cpu", "cuda", "mps") where this machine has it, the fastest that it has for "auto".

    Raises InputError, which names `option` (`--device`, say), where it has none of that name.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    chosen = next(device for device in ("cuda", "mps", "cpu") if has[device]) if name == "auto" else name
    if not has[chosen]:
        raise InputError(f"{option} {name}: torch {torch.__version__} finds none on this machine; use auto or cpu")
    return chosen
