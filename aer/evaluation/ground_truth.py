"""The ground truth: labels of recordings and known events, read and turned into arrays. C classes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aer.errors import InputError
from aer.inference.results import Event
from aer.utils.csv_files import read_table
from aer.utils.text import counted, printable, some

Array = NDArray[Any]
COLUMNS = ("audio_id", "start_s", "end_s", "ebird_code")
LONGEST_S = 31 * 86_400.0


@dataclass(frozen=True)
class GroundTruth:
    """The known events of recordings."""

    # by recording, under the name that `read_events` or `of_recordings` gave it
    events: dict[str, tuple[Event, ...]]
    # the number of events, which are not in `events`, of each label that is not a class of the model
    unknown: dict[str, int]

    @property
    def note(self) -> str:
        """A line on the events that can't count; "" where there are none."""
        if not self.unknown:
            return ""
        count = sum(self.unknown.values())
        return f"{counted(count, 'known event')} of no class of the model's, not counted: {some(sorted(self.unknown))}"


def read_events(csv: Path, classes: Sequence[str]) -> GroundTruth:
    """Return the events of a CSV with the columns audio_id, start_s, end_s and ebird_code, by audio_id and start.

    Raise InputError for a CSV that can't be read, for missing columns, empty cells, times that are not finite numbers,
    below 0 or in the wrong order, and where none of its labels is one of `classes`.
    """
    table = read_table(csv)
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(f"csv {csv} needs the columns {', '.join(COLUMNS)}; it has {', '.join(map(printable, table))}")
    names, labels = ([cell.strip() for cell in table[name]] for name in ("audio_id", "ebird_code"))
    starts_s, ends_s = (np.array(list(map(_number, table[name]))) for name in ("start_s", "end_s"))
    finite = np.isfinite(starts_s) & np.isfinite(ends_s)
    _check(
        csv,
        np.array([not (name and label) for name, label in zip(names, labels, strict=True)]),
        "has no audio_id or no ebird_code",
    )
    _check(csv, ~finite, "has a start_s or end_s that is no number")
    _check(csv, starts_s < 0, "starts before 0 s")
    _check(csv, ends_s > LONGEST_S, f"ends after {LONGEST_S:.0f} s, which is a month: are these seconds?")
    _check(csv, ends_s <= starts_s, "does not end after its start")
    known = set(classes)
    if not known & set(labels):
        raise InputError(f"csv {csv} has no class of the model's ({some(classes)}); it has {some(sorted(set(labels)))}")
    events: dict[str, list[Event]] = {name: [] for name in names}
    for name, start_s, end_s, label in zip(names, starts_s.tolist(), ends_s.tolist(), labels, strict=True):
        if label in known:
            events[name].append(Event(start_s, end_s, label, 1.0))
    ordered = {name: tuple(sorted(events[name], key=lambda e: (e.start_s, e.label))) for name in sorted(events)}
    return GroundTruth(ordered, dict(Counter(label for label in labels if label not in known)))


def _number(cell: str) -> float:
    """Return the number in a cell; NaN for a cell that holds none."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def of_recordings(truth: GroundTruth, names: Iterable[str], csv: Path) -> GroundTruth:
    """Return the same by the names of recordings (`site/a.wav`).

    `csv` may give names whole, without suffix or without folder; it is named in errors. A recording that the CSV does
    not name has no events. Raise InputError where the CSV names a recording that is not
    there, or one by a name that several have.
    """
    candidates: dict[str, set[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        for alias in (name, path.name, path.stem, str(path.with_suffix(""))):
            candidates.setdefault(alias, set()).add(name)
    lost = [name for name in truth.events if name not in candidates]
    if lost:
        raise InputError(f"csv {csv} names {counted(len(lost), 'recording')} that can't be found: {some(lost)}")
    events: dict[str, tuple[Event, ...]] = {}
    for alias, known in truth.events.items():
        # a whole name is that recording, even if another one's is the same without its suffix
        chosen = {alias} & candidates[alias] or candidates[alias]
        name = min(chosen)
        if len(chosen) > 1 or name in events:
            raise InputError(f"csv {csv}: {printable(alias)} may be one of several: {some(sorted({*chosen, name}))}")
        events[name] = known
    return GroundTruth(events, truth.unknown)


def window_targets(
    events: Mapping[str, Sequence[Event]],
    windows: Sequence[tuple[str, float, float]],
    classes: Sequence[str],
    min_overlap_s: float = 0.1,
) -> Array:
    """Return which classes are in windows (recording, start, end in s): bool (W, C).

    A class is in a window that shares at least `min_overlap_s` with one of its events, or all of a shorter event. All
    events must be of `classes`.
    """
    column = {label: c for c, label in enumerate(classes)}
    targets = np.zeros((len(windows), len(classes)), bool)
    names = np.array([name for name, *_ in windows], str)
    starts_s, ends_s = (np.array([window[edge] for window in windows], np.float64) for edge in (1, 2))
    for name, listed in events.items():
        rows = np.flatnonzero(names == name)
        for event in listed:
            shared_s = np.minimum(ends_s[rows], event.end_s) - np.maximum(starts_s[rows], event.start_s)
            enough = shared_s >= min(min_overlap_s, event.end_s - event.start_s) - 1e-9
            targets[rows[enough], column[event.label]] = True
    return targets


def label_targets(labels: Iterable[Iterable[str]], classes: Sequence[str]) -> tuple[Array, dict[str, int]]:
    """Return labels of recordings as bool (N, C), and how many recordings have each label that is not in `classes`."""
    column = {label: c for c, label in enumerate(classes)}
    rows = [set(row) for row in labels]
    targets = np.zeros((len(rows), len(classes)), bool)
    for n, row in enumerate(rows):
        targets[n, [column[label] for label in row if label in column]] = True
    return targets, dict(Counter(label for row in rows for label in sorted(row) if label not in column))


def _check(csv: Path, bad: Array, what: str) -> None:
    """Raise InputError, with count and first line, where some of the events (N,) are bad."""
    if bad.any():
        raise InputError(f"csv {csv}: {bad.sum()} of {len(bad)} events {what}; the first in line {bad.argmax() + 2}")
