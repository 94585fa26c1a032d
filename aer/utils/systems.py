"""What differs between Linux, macOS and Windows, all in one place.

Each function asks for what there is, not for the system's name. The rest of aer does without what only POSIX systems
have, so that it imports and works everywhere.
"""

import contextlib
import importlib
import io
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

# processes of one pool: Windows can wait for no more
MAX_WORKERS = 61 if os.name == "nt" else 1 << 16
# Windows lets nobody read locked bytes: the one that is locked lies far behind the text
_FAR = 1 << 30


def _module(name: str) -> Any:
    """Return the module, or None where this system's Python has none of that name."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def lock_file(file: IO[str]) -> None:
    """Lock an open file for this process, without waiting; the system unlocks it when the process ends.

    Raise OSError where another process holds the lock (EACCES, EAGAIN or EDEADLK), and where there are no locks.
    """
    if (fcntl := _module("fcntl")) is not None:
        # not flock: the worker processes that read audio would inherit it, and outlive a killed run by some seconds
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        msvcrt = importlib.import_module("msvcrt")
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


def flush_folder(folder: Path) -> None:
    """Make a rename in the folder outlast a power cut, on systems where a folder can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_method() -> str:
    """Return how multiprocessing is to start workers: "forkserver" where there is one, else "spawn".

    Not fork, which copies locks that other threads (tqdm's, OpenBLAS's) may hold.
    """
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in this thread and in the processes that it starts, on systems where signals can be blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def path_for_c(path: Path) -> str | bytes:
    """Return the path as libsndfile takes it: bytes on POSIX, as soundfile fails on names that are not UTF-8.

    Text on Windows, which has wide characters.
    """
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def shell_command(argv: Sequence[str]) -> str:
    """Return the command line that starts the program `argv`, quoted for the system's shell."""
    return subprocess.list2cmdline(argv) if os.name == "nt" else shlex.join(argv)


def escape_what_stdout_lacks() -> None:
    """Let stdout print what its encoding lacks as escapes, as stderr does, instead of failing.

    On Windows the encoding of a file or a pipe is a code page of some 200 characters.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
