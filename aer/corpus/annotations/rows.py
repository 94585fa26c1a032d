"""Rows of cells as annotations: what all formats share once it is known which column is which."""

import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aer.corpus.annotations.annotation import Annotation, Remarks, where, without_duplicates
from aer.corpus.annotations.table_text import Row
from aer.errors import InputError
from aer.utils.csv_files import without_apostrophe
from aer.utils.text import counted, printable

LONGEST_S = 31 * 86_400.0  # a month; beyond, times are no seconds
NO_VALUE = frozenset({"", "nan", "na", "n/a", "none", "null"})
NO_LABEL = frozenset({"", "nan", "na", "n/a"})
NO_EVENT_LABELS = frozenset({"nocall"})  # BirdNET and BirdCLEF: nothing is heard in this recording or window
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")

Seconds = tuple[list[float], list[float]]  # starts and ends of rows


@dataclass(frozen=True)
class Columns:
    """Which cells of a row are what. `end` is a duration where `end_is_duration` says so."""

    start: int
    end: int
    label: int
    end_is_duration: bool = False
    low: int | None = None
    high: int | None = None
    name: Callable[[Sequence[str]], str] | None = None  # the recording of a row; None: that of the table
    several_labels: bool = False  # separated by semicolons


def padded(rows: Iterable[Row], n_columns: int, table: Path, fill: bool) -> list[Row]:
    """Return the rows with as many cells as the header; those that are too short get empty ones if `fill`.

    Raise InputError for a row with more cells, unless these are empty, or with fewer.
    """
    fitting = []
    for row in rows:
        cells = row.cells
        if len(cells) != n_columns:
            if any(cells[n_columns:]) or (len(cells) < n_columns and not fill):
                n_cells = f"has {counted(len(cells), 'cell')}, and its header has {n_columns}"
                raise InputError(f"{where(table, row.line)}: {n_cells}")
            row = Row(row.line, (cells + [""] * n_columns)[:n_columns])
        fitting.append(row)
    return fitting


def annotations(
    rows: Sequence[Row],
    columns: Columns,
    table: Path,
    own_name: str,
    remarks: Remarks,
    times: Callable[[Sequence[Row], Columns, Path, Remarks], Seconds] | None = None,
) -> tuple[list[Annotation], list[str]]:
    """Return the events of a table's rows, and the names of all its recordings, those without events included.

    `times` gives rows their starts and ends in seconds, by default those in their columns. Rows without a label and
    labels for a point in time are left out and counted in `remarks`, rows that others repeat count once. Raise
    InputError, with the first line, for times that are no numbers, below 0, in the wrong order or beyond a month.
    """
    names: dict[str, None] = {}
    labelled = list(_labelled(rows, columns, table, own_name, remarks, names))
    kept = [row for row, _, _ in labelled]
    starts_s, ends_s = (times or plain_times)(kept, columns, table, remarks)
    _check(starts_s, ends_s, kept, table)
    events = []
    for (row, name, label), start_s, end_s in zip(labelled, starts_s, ends_s, strict=True):
        if start_s == end_s:
            remarks.leave_out("with a label for a point in time", table, row.line)
            continue
        low_hz, high_hz = _hertz(row, columns.low), _hertz(row, columns.high)
        events.append(Annotation(name, start_s, end_s, label, low_hz, high_hz, table, row.line))
    by_name: dict[str, list[Annotation]] = {name: [] for name in names}
    for event in events:
        by_name[event.recording].append(event)
    distinct = []
    for listed in by_name.values():
        once, repeated = without_duplicates(listed)
        distinct += once
        if repeated:
            remarks.add("that other rows repeat, counted once", table, repeated[0].line, len(repeated))
    return distinct, list(names)


def _labelled(
    rows: Sequence[Row], columns: Columns, table: Path, own_name: str, remarks: Remarks, names: dict[str, None]
) -> Iterable[tuple[Row, str, str]]:
    """Yield row, recording and label of each event; `names` gets all recordings."""
    for row in rows:
        name = own_name if columns.name is None else plain_path(columns.name(row.cells))
        if not name:
            raise InputError(f"{where(table, row.line)}: names no recording")
        names[name] = None
        cell = without_apostrophe(row.cells[columns.label])
        labels = [part.strip() for part in cell.split(";")] if columns.several_labels else [cell]
        for label in labels:
            if label.casefold() in NO_EVENT_LABELS:
                remarks.add(f"labelled {label}: nothing is heard there", table, row.line)
            elif label.casefold() not in NO_LABEL:
                yield row, name, label
        if cell.casefold() in NO_LABEL and not _without_times(row, columns):
            remarks.leave_out("without a label", table, row.line)


def _without_times(row: Row, columns: Columns) -> bool:
    """Return whether this row only says that its recording holds nothing, as DCASE's lists have it."""
    return all(row.cells[column].casefold() in NO_VALUE for column in (columns.start, columns.end))


@functools.lru_cache(1 << 16)
def plain_path(name: str) -> str:
    """Return a path as a table writes it, with slashes and without `./` before it."""
    plain = without_apostrophe(name.strip()).replace("\\", "/")
    while plain.startswith("./"):
        plain = plain[2:].lstrip("/")
    return plain


def plain_times(rows: Sequence[Row], columns: Columns, table: Path, remarks: Remarks) -> Seconds:
    """Return starts and ends in seconds from their columns."""
    starts_s = numbers(rows, columns.start, table, remarks)
    ends_s = numbers(rows, columns.end, table, remarks)
    if columns.end_is_duration:
        ends_s = [start_s + duration_s for start_s, duration_s in zip(starts_s, ends_s, strict=True)]
    return starts_s, ends_s


def numbers(rows: Sequence[Row], column: int, table: Path, remarks: Remarks) -> list[float]:
    """Return the numbers in a column, with a comma for a point too. Raise InputError for a cell that is none."""
    return [_number(row, column, table, remarks) for row in rows]


def _number(row: Row, column: int, table: Path, remarks: Remarks) -> float:
    cell = row.cells[column]
    try:
        number = float(cell)
    except ValueError:
        if not DECIMAL_COMMA.fullmatch(cell):
            raise InputError(f"{where(table, row.line)}: {printable(cell)!r} is no number of seconds") from None
        remarks.add("with commas for decimal points", table, row.line)
        return float(cell.replace(",", "."))
    if not math.isfinite(number) or "_" in cell:
        raise InputError(f"{where(table, row.line)}: {printable(cell)!r} is no number of seconds")
    return number


def _check(starts_s: Sequence[float], ends_s: Sequence[float], rows: Sequence[Row], table: Path) -> None:
    bad = [
        (row.line, start_s, end_s)
        for row, start_s, end_s in zip(rows, starts_s, ends_s, strict=True)
        if not 0 <= start_s <= end_s <= LONGEST_S
    ]
    if not bad:
        return
    line, start_s, end_s = bad[0]
    if start_s < 0:
        reason = f"starts at {start_s:g} s, before its recording"
    elif end_s < start_s:
        reason = f"ends at {end_s:g} s, before its start at {start_s:g} s"
    else:
        reason = f"ends at {end_s:g} s, after more than a month: are these seconds?"
    others = f"; {counted(len(bad) - 1, 'other row')} of the table can't be right either" if len(bad) > 1 else ""
    raise InputError(f"{where(table, line)}: {reason}{others}")


def _hertz(row: Row, column: int | None) -> float | None:
    """Return a frequency; None where there is none or no number, as nothing hangs on it."""
    if column is None or not row.cells[column]:
        return None
    try:
        hertz = float(row.cells[column].replace(",", "."))
    except ValueError:
        return None
    return hertz if math.isfinite(hertz) and hertz >= 0 else None
