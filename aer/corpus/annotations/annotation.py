"""What tables of labelled times hold: annotations, what was left out, and notes for the user."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aer.utils.text import counted, printable, some

MICROSECONDS = 1_000_000  # events that agree to the microsecond are one
UNKNOWN_LABELS = frozenset({"?", "??", "???", "unknown", "unk", "unidentified", "unid", "unsure", "noid", "no id"})


class NoTimesError(Exception):
    """A file in which there are no labelled times; the text says why. Never leaves this package."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A label with its time in a recording."""

    recording: str  # as the table names it, with slashes; by the table's own name where its rows name none
    start_s: float
    end_s: float  # after start_s
    label: str
    low_hz: float | None
    high_hz: float | None
    table: Path
    line: int  # of the table, from 1; in JSON and Parquet the number of the event


@dataclass(frozen=True)
class Skipped:
    """Something in which no labelled time was understood: a whole file, or one of its lines."""

    table: Path
    line: int | None
    reason: str


@dataclass(frozen=True)
class Table:
    """A file that was read as labelled times."""

    path: Path
    format: str  # "raven", "audacity", "kaleidoscope", "csv", "list", "json", "parquet" or "empty"
    label_column: str | None
    own_name: str  # the recording that the file's own name stands for: below the folder that was given, with slashes
    recordings: tuple[str, ...]  # the names in its rows, those without events included; its own where rows have none
    named_in_rows: bool


@dataclass(frozen=True)
class Annotations:
    """All labelled times below a path, by the names that the tables give their recordings."""

    events: dict[str, tuple[Annotation, ...]]  # by start, then label; () for a recording said to hold no events
    tables: tuple[Table, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]  # what users should know, a line each

    @property
    def label_counts(self) -> dict[str, int]:
        """How many events have each label, in the order of labels."""
        counts = Counter(event.label for events in self.events.values() for event in events)
        return {label: counts[label] for label in sorted(counts)}


@dataclass
class Remarks:
    """Counts what is remarkable about rows, by kind, with the first place of each."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    left_out: list[Skipped] = field(default_factory=list)

    def leave_out(self, kind: str, table: Path, line: int) -> None:
        """Count a row of a `kind` that becomes no event, and keep where it is."""
        self.add(f"{kind}, left out", table, line)
        self.left_out.append(Skipped(table, line, kind))

    def add(self, kind: str, table: Path, line: int | None, number: int = 1) -> None:
        """Count `number` rows of a `kind`, which reads on after "3 rows"."""
        self.counts[kind] += number
        self.first.setdefault(kind, where(table, line))

    def lines(self) -> list[str]:
        """Return a note for each kind, in the order in which the kinds were met."""
        return [
            f"{counted(number, 'row')} {kind} (the first: {self.first[kind]})" for kind, number in self.counts.items()
        ]


def where(table: Path, line: int | None) -> str:
    """Return a place in a table as messages name it: `a.txt, line 3`."""
    return printable(table) if line is None else f"{printable(table)}, line {line}"


def without_duplicates(events: Iterable[Annotation]) -> tuple[list[Annotation], list[Annotation]]:
    """Return the events by start, those of one label and one time (to the microsecond) once; and the others."""
    seen: set[tuple[int, int, str]] = set()
    kept, repeated = [], []
    for event in events:
        key = (round(event.start_s * MICROSECONDS), round(event.end_s * MICROSECONDS), event.label)
        if key in seen:
            repeated.append(event)
        else:
            seen.add(key)
            kept.append(event)
    return sorted(kept, key=lambda event: (event.start_s, event.label, event.end_s)), repeated


def label_notes(counts: dict[str, int]) -> list[str]:
    """Return notes on labels that say "unknown", and on those that differ in case, blanks or Unicode form alone."""
    notes = []
    unknown = [label for label in counts if label.casefold() in UNKNOWN_LABELS]
    if unknown:
        number = sum(counts[label] for label in unknown)
        notes.append(f"{counted(number, 'event')} with a label for what nobody could tell: {some(unknown)}")
    forms: dict[str, list[str]] = {}
    for label in counts:
        forms.setdefault(_folded(label), []).append(label)
    notes += [_variants(labels, counts) for labels in forms.values() if len(labels) > 1]
    return notes


def _variants(labels: Sequence[str], counts: dict[str, int]) -> str:
    shown = [f"{label!r} ({counts[label]:,})" for label in labels]
    return f"labels that differ in case or blanks alone, taken as different: {some(shown)}"


def _folded(label: str) -> str:
    return "".join(unicodedata.normalize("NFC", label).casefold().replace("_", " ").replace("-", " ").split())
