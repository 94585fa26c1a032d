"""A lock on a folder that is written to (of a run, of a corpus): it belongs to one process at a time.

The operating system releases the lock when the process ends, in whatever way, so that none is ever stale. The lock file
stays; its text, who holds the lock, is for messages only.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from aer.errors import InputError
from aer.utils.systems import lock_file

NAME = ".lock"
# what systems say of a lock that another process has
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def held(folder: Path, option: str = "--run-dir") -> Iterator[None]:
    """Make the folder if it is missing, and hold its lock. `option` is the one that names another folder.

    Raise InputError, which names process and machine, where another process holds it, and where the folder can't be
    written.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((folder / NAME).open("a+"))
            _take(file, folder, option)
            _write(file, f"process {os.getpid()} on {socket.gethostname()}\n")
        except OSError as error:
            raise InputError(f"{folder} can't be written: {error.strerror}; name another {option}") from error
        stack.callback(_write, file, "")
        yield


def _take(file: IO[str], folder: Path, option: str) -> None:
    try:
        lock_file(file)
    except OSError as error:
        if error.errno in _HELD:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise InputError(
                f"a run is under way in {folder} ({owner}): wait for its end, or name another {option}"
            ) from error
        # some network file systems have no locks
        print(f"{folder} can't be locked ({error.strerror}): take care that no other run is started in it")


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
