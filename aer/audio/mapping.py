"""Files that are looked at without being read as a whole, in bounded memory."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# so many bytes may be looked at before they are let go
RELEASE_BYTES = 1 << 24


@contextmanager
def mapped(path: Path) -> Iterator[Any]:
    """Give a file's content, of which only what is looked at is read."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def release(data: Any) -> None:
    """Let go of what was looked at: it would count as the process's memory, and be as large as the file."""
    if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        data.madvise(mmap.MADV_DONTNEED)
