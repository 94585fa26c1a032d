"""Files that are whole or absent: written beside their path, flushed to the disk, renamed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from aer.errors import AerError
from aer.utils.systems import flush_folder

Kind = TypeVar("Kind", bound=BaseException)
COPY_BYTES = 1 << 24


def beside(path: Path) -> Path:
    """Return where a file is written before it gets its name: one path, so that killed runs leave one file at most."""
    return path.with_name(f".{path.name}.part")


def remove_parts(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder."""
    for part in folder.glob(".*.part"):
        part.unlink()


def write_whole(path: Path, write: Callable[[IO[bytes]], object], advice: str, keep_old_as: Path | None = None) -> None:
    """Have `write` fill a file beside `path`, flush it to the disk and rename it: `path` is old or new, never half.

    `keep_old_as` is the path in the same folder that the old file gets once the new one is whole beside it; a file of
    that name stays until then. Raise AerError, which ends with `advice`, where the disk is full or the folder can't be
    written; what was at `path` is then untouched.
    """
    part = beside(path)
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if keep_old_as is not None:
            link_whole(path, keep_old_as, advice)
        part.replace(path)
        flush_folder(path.parent)
    # torch turns a write that failed into a RuntimeError
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        # while it closes its archive, torch raises an error of its own over the one that is being handled
        if (interrupt := _behind(error, KeyboardInterrupt)) is not None:
            raise interrupt from None
        raise AerError(f"can't write {path}: {_behind(error, OSError) or error}; {advice}") from error
    except AerError:
        part.unlink(missing_ok=True)
        raise


def _behind(error: BaseException, kind: type[Kind]) -> Kind | None:
    """Return the error if it is of this kind, else the last such error that was being handled when it was raised."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, kind):
        found = found.__context__
    return found


def link_whole(target: Path, path: Path, advice: str) -> None:
    """Make `path` another name of the file `target` in the same folder, in one step.

    It becomes a copy on file systems without hard links. Raise AerError, which ends with `advice`, where that copy
    can't be written.
    """
    part = beside(path)
    part.unlink(missing_ok=True)
    try:
        part.hardlink_to(target)
        part.replace(path)
        flush_folder(path.parent)
    # this file system has no hard links
    except OSError:
        write_whole(path, lambda file: _copy(target, file), advice)
    finally:
        # a rename onto the very same file leaves the old name
        part.unlink(missing_ok=True)


def _copy(source: Path, file: IO[bytes]) -> None:
    with source.open("rb") as opened:
        while block := opened.read(COPY_BYTES):
            file.write(block)
