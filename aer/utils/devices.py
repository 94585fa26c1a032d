"""The device to compute on, and how to tell that memory ran out."""

import re

import torch

from aer.errors import InputError

# what torch says on CPU and GPU, its linear algebra, numpy and the system; a worker process reports all as RuntimeError
_NO_MEMORY = re.compile(
    r"out of memory|(can't|cannot|unable to) allocate|not enough memory|ALLOC_FAILED|bad_alloc", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether this is what torch, numpy or Python raise where there is too little memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error)) is not None
    )


def pick_device(name: str, option: str) -> str:
    """Return `name` ("cpu", "cuda" or "mps"), or for "auto" the fastest device that this machine has.

    Raise InputError, which names `option` (`--device`, say), where it has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    chosen = next(device for device in ("cuda", "mps", "cpu") if available[device]) if name == "auto" else name
    if not available[chosen]:
        raise InputError(f"{option} {name}: torch {torch.__version__} finds none on this machine; use auto or cpu")
    return chosen
