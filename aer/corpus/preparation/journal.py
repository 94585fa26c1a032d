"""The journal of `aer prepare`, in lines of JSON: the folder of the recordings, what was begun, what is done.

A recording's entry is appended when its clips are in place; before that, a line says that they may appear. So a file
at a clip's path that no line accounts for is not aer's. Fields of the dataclasses are names in the file.
"""

import functools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeVar

from aer.corpus.preparation.convert import Clip, Converted
from aer.corpus.preparation.sources import Source
from aer.errors import AerError, InputError
from aer.utils.files import write_whole
from aer.utils.text import printable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

ADVICE = "make room, and the same command goes on"
# fields that were added to `Converted`
OPTIONAL = ("reason", "notes")
# pydantic's settings for lines and what is in them: exact types, checked in instances too
_STRICT = {"strict": True, "revalidate_instances": "always"}


@dataclass(frozen=True)
class Entry:
    """A recording as it was when its clips were made, and the clips.

    `stem` is that of the clips' names. `made` says how they were made: two entries with the same text and source have
    the same clips.
    """

    name: str
    size_bytes: int
    mtime_ns: int
    stem: str
    made: str
    converted: Converted

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    def is_of(self, source: Source, stem: str, made: str) -> bool:
        """Tell whether these are the clips that this source, as it is now, would give."""
        now = (source.size_bytes, source.mtime_ns, stem, made)
        return (self.size_bytes, self.mtime_ns, self.stem, self.made) == now


@dataclass(frozen=True)
class Begun:
    """A recording whose clips may be in place, whole, without an entry."""

    name: str
    stem: str
    format: str
    segmented: bool

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    def gives(self, file: str) -> bool:
        """Tell whether a file of this name in the recording's class folder can be one of its clips."""
        offset = r"_\d{9,}" if self.segmented else ""
        return re.fullmatch(f"{re.escape(self.stem)}{offset}\\.{self.format}", file) is not None


@dataclass
class Journal:
    """The content of a journal.

    `raw` is the folder of the recordings, relative to that of the corpus; None if no line says it. `valid` has by name
    those `entries` whose clips nothing has replaced since. `owners` has the recording that last had a folder and stem.
    """

    raw: str | None = None
    entries: list[Entry] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    valid: dict[str, Entry] = field(default_factory=dict)
    owners: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, line: Entry | Begun) -> None:
        """Take in the next line."""
        self.owners[folder_of(line.name), line.stem] = line.name
        if isinstance(line, Begun):
            self.begun.append(line)
            self.valid.pop(line.name, None)
        else:
            self.entries.append(line)
            self.valid[line.name] = line

    def drop_replaced(self) -> None:
        """Take out of `valid` what has lost its stem, and so maybe its clips, to a recording of another name."""
        self.valid = {
            name: entry for name, entry in self.valid.items() if self.owners[folder_of(name), entry.stem] == name
        }


Line = TypeVar("Line", Entry, Begun)


def folder_of(name: str) -> str:
    """Return the folder of a recording, and so of its clips, below that of the classes."""
    return name.rpartition("/")[0]


def read(path: Path) -> Journal | None:
    """Return what a journal says; None where there is none.

    Lines that the end of their process cut off are skipped: their recordings are prepared again, over what is there.
    Raise InputError where the file can't be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{printable(path)} can't be read: {error.strerror}; name another --out") from error
    journal = Journal()
    for line in content.splitlines():
        try:
            # not pydantic's own parser: it takes no lone surrogates, which stand for bytes in file names
            _add_line(journal, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    journal.drop_replaced()
    return journal


def _add_line(journal: Journal, values: dict[str, Any]) -> None:
    """Add a line; raise one of the errors that `read` expects if it has other names or types than aer writes."""
    if "raw" in values:
        journal.raw = _validator(str).validate_python(values["raw"], strict=True)
    elif "begun" in values:
        journal.add(_checked(Begun(**values["begun"])))
    else:
        converted = values["converted"]
        clips = tuple(Clip(**clip) for clip in converted["clips"])
        lists = {"clips": clips, "notes": tuple(converted.get("notes", ()))}
        entry = _checked(Entry(**{**values, "converted": Converted(**{**converted, **lists})}))
        if any("/" in clip.name for clip in clips):
            raise ValueError("a clip outside of its folder")
        journal.add(entry)


def _checked(line: Line) -> Line:
    """Return the line; raise ValueError where the type of a field, at any depth, is another than it is declared to be.

    The line as it was read, not as pydantic would write it: 1 stays 1, also where 1.0 is meant.
    """
    # mypy looks for the hash of a class among those of its instances
    kind: Any = type(line)
    _validator(kind).validate_python(line)
    return line


@functools.cache
def _validator(kind: type) -> "TypeAdapter[Any]":
    # imported once there is a journal to read: the workers have been started by then
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def begin(path: Path, raw: str, begun: Sequence[Begun]) -> None:
    """Write, before the work on them begins, that the clips of these recordings may appear.

    Raise AerError where the journal can't be written.
    """
    lines = [{"raw": raw}, *({"begun": asdict(entry)} for entry in begun)]
    try:
        with path.open("ab") as file:
            # the first newline ends a line that the last process may have left unfinished
            file.write(b"\n" * bool(file.tell()) + b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            file.flush()
    except OSError as error:
        raise AerError(f"can't write {printable(path)}: {error.strerror}; {ADVICE}") from error


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, default=_fields).encode() + b"\n"


def _fields(value: object) -> dict[str, Any]:
    """Return the fields of a dataclass; without those of `OPTIONAL` that say nothing, so that older aer reads them."""
    return {name: content for name, content in vars(value).items() if content or name not in OPTIONAL}


def append(file: IO[bytes], entry: Entry) -> None:
    """Append an entry, which outlives this process from then on. Raise AerError where it can't be written."""
    try:
        file.write(_line(entry))
        file.flush()
    except OSError as error:
        raise AerError(f"can't write {file.name}: {error}; {ADVICE}") from error


def write(path: Path, raw: str, entries: Iterable[Entry]) -> None:
    """Replace the journal by these entries, in the order of their names. Raise AerError where it can't be written."""
    lines = json.dumps({"raw": raw}).encode() + b"\n"
    lines += b"".join(_line(entry) for entry in sorted(entries, key=lambda entry: entry.name))
    write_whole(path, lambda file: file.write(lines), ADVICE)
