"""What `aer prepare` has done so far: a line of JSON per recording, appended when its clips are in place."""

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aer.convert import Clip, Converted
from aer.errors import AerError
from aer.files import write_whole
from aer.sources import Source

ADVICE = "make room, and the same command goes on"


@dataclass(frozen=True)
class Entry:
    """A recording as it was when its clips were made, and the clips."""

    name: str
    size_bytes: int
    mtime_ns: int
    stem: str  # of its clips' names
    made: str  # how: two entries with the same text and source have the same clips
    converted: Converted

    def is_of(self, source: Source, stem: str, made: str) -> bool:
        """Whether these are the clips that this source, as it is now, would give."""
        now = (source.size_bytes, source.mtime_ns, stem, made)
        return (self.size_bytes, self.mtime_ns, self.stem, self.made) == now


def read(path: Path) -> dict[str, Entry]:
    """The entries by name, the last of each; lines that were cut off by the end of their process are passed over."""
    if not path.exists():
        return {}
    entries = (_parsed(line) for line in path.read_bytes().splitlines())
    return {entry.name: entry for entry in entries if entry is not None}


def _parsed(line: bytes) -> Entry | None:
    try:
        values = json.loads(line)
        converted = values["converted"]
        clips = tuple(Clip(**clip) for clip in converted.pop("clips"))
        return Entry(**{**values, "converted": Converted(clips=clips, **converted)})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # that recording is prepared again, and overwrites what is there


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, default=vars).encode() + b"\n"


def append(file: IO[bytes], entry: Entry) -> None:
    """Adds an entry; it outlives this process from then on."""
    try:
        file.write(_line(entry))
        file.flush()
    except OSError as error:
        raise AerError(f"can't write {file.name}: {error}; {ADVICE}") from error


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Replaces the journal by these entries, in the order of their names."""
    lines = b"".join(_line(entry) for entry in sorted(entries, key=lambda entry: entry.name))
    write_whole(path, functools.partial(_write, lines), ADVICE)


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
