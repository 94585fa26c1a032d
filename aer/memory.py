"""Memory that runs out, as it is told by those who ask for it."""

import re

import torch

# torch on CPU and GPU, its linear algebra, numpy, the system; some come as a RuntimeError, from a worker all do
_NO_MEMORY = re.compile(
    r"out of memory|(can't|cannot|unable to) allocate|not enough memory|ALLOC_FAILED|bad_alloc", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """True for what torch, numpy and Python raise where memory can't be had."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error)) is not None
    )
