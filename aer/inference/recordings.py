"""The recordings that are to be recognised: those that were given, and those in folders that were given."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aer.audio.sniff import could_be_audio
from aer.errors import InputError
from aer.utils.text import printable, some

# what `aer predict --segments` has cut lies in a folder with this list
SEGMENTS_CSV = "segments.csv"
SEGMENTS_COLUMNS = ("segment", "file", "clip_start_s", "start_s", "end_s", "label", "score")


@dataclass(frozen=True)
class Recording:
    """A recording to recognise."""

    path: Path
    # in the outputs, with slashes; different from all others
    name: str
    size_bytes: int
    mtime_ns: int
    # why it can't even be opened: a folder that can't be looked into
    trouble: str = ""


def find_recordings(given: Sequence[Path], no_audio: Counter[str] | None = None) -> list[Recording]:
    """Return the files given, and those in the folders given that could be audio by suffix or content, in order.

    What is none is counted by suffix in `no_audio`.
    Hidden files and folders are left out, and so is what `aer predict --segments` has cut. Names are those below the
    folder that was given. Links to folders are followed, each folder once. A folder that can't be looked into is
    returned too, with its trouble. Raise InputError for what is not there, for no recordings at all, and where two
    would have the same name.
    """
    no_audio = Counter() if no_audio is None else no_audio
    found: dict[str, Recording] = {}
    # by absolute path
    names: dict[str, str] = {}
    for path in given:
        if not path.exists():
            raise InputError(f"{printable(path)} is not there")
        for recording in _below(path, no_audio) if path.is_dir() else [_recording(path, path.name)]:
            absolute = os.path.abspath(recording.path)  # noqa: PTH100 - links stay
            if absolute in names:
                continue
            if recording.name in found:
                both = f"{printable(found[recording.name].path)} and {printable(recording.path)}"
                name = printable(recording.name)
                raise InputError(f"{both} would both be called {name}: give the folder around both")
            found[recording.name], names[absolute] = recording, recording.name
    if not found:
        raise InputError(f"{some(given)}: no recordings there, by their names or content")
    return list(found.values())


def _recording(path: Path, name: str) -> Recording:
    try:
        status = path.stat()
    except OSError:
        # a link to nowhere: reading it will say so
        return Recording(path, name, 0, 0)
    return Recording(path, name, status.st_size, status.st_mtime_ns)


def no_audio_line(no_audio: Counter[str]) -> str:
    """Return what was passed over, by suffix, in one line; "" for nothing."""
    parts = [f"{count} {printable(suffix)}" for suffix, count in sorted(no_audio.items(), key=lambda item: -item[1])]
    return f"no audio: {', '.join(parts)}" if parts else ""


def _below(folder: Path, no_audio: Counter[str]) -> Iterator[Recording]:
    """Yield the recordings below a folder, then the folders that can't be looked into; count other files."""
    seen: set[tuple[int, int]] = set()
    closed: list[OSError] = []
    waiting = [folder]
    # links after all that lies in the folder itself
    while waiting:
        for here, folders, files in os.walk(waiting.pop(0), onerror=closed.append):
            status = os.stat(here)  # noqa: PTH116
            has_segments = here != os.fspath(folder) and is_segments_csv(Path(here, SEGMENTS_CSV))
            if (status.st_dev, status.st_ino) in seen or has_segments:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += [path for name in folders if (path := Path(here, name)).is_symlink()]
            for name in sorted(files):
                path = Path(here, name)
                if name.startswith("."):
                    continue
                if could_be_audio(path):
                    yield _recording(path, path.relative_to(folder).as_posix())
                else:
                    no_audio[path.suffix.lower() or "without suffix"] += 1
    for error in closed:
        path = Path(error.filename)
        name = path.name if path == folder else path.relative_to(folder).as_posix()
        yield Recording(path, name, 0, 0, f"a folder that can't be looked into: {(error.strerror or '').lower()}")


def is_segments_csv(path: Path) -> bool:
    """Return whether this is the list of segments that `aer predict --segments` has cut."""
    try:
        with path.open("rb") as file:
            return file.readline().rstrip() == ",".join(SEGMENTS_COLUMNS).encode()
    except OSError:
        return False
