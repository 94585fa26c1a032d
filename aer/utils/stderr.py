"""Keeps what C libraries print to stderr by themselves off the console."""

import contextlib
import os
import threading
from collections.abc import Iterator


class _Silence:
    """How many threads are in `quiet_stderr`, and a copy of stderr as it was before the first of them."""

    lock = threading.Lock()
    depth = 0
    kept = -1


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send stderr to the null device within the block: for moments only, as all threads of the process share it."""
    with _Silence.lock:
        if _Silence.depth == 0:
            _Silence.kept = _divert()
        _Silence.depth += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.depth -= 1
            if _Silence.depth == 0 and _Silence.kept >= 0:
                os.dup2(_Silence.kept, 2)
                os.close(_Silence.kept)


def _divert() -> int:
    """Send descriptor 2 to the null device; return a copy of what it was, or -1 if it was closed anyway."""
    try:
        kept = os.dup(2)
    except OSError:
        return -1
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return kept
