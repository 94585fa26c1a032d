"""Raven's selection tables: one per recording, one for many, or BirdNET's in the same form.

Raven reads such a table in two ways: as a selection table, by `Begin Time (s)` in the sound that is open, which may be
a sequence of files one after the other; as a sound selection table, by `Begin Path` and `File Offset (s)`, the time in
that file (Raven's support, quoted in maRce10/Rraven, issue 3).
"""

from collections.abc import Sequence
from pathlib import Path

from aer.corpus.annotations.annotation import Remarks
from aer.corpus.annotations.columns import DURATION_COLUMNS, HIGH_COLUMNS, LOW_COLUMNS, column_index
from aer.corpus.annotations.rows import Columns, Seconds, numbers
from aer.corpus.annotations.table_text import Row

START, END = ("begin time",), ("end time",)
TOLERANCE_S = 1e-3  # between times that are the same; Raven writes as many decimals as the user wants


def is_header(header: Sequence[str]) -> bool:
    """Return whether this is the header of a selection table."""
    return all(column_index(header, [name]) is not None for name in ("selection", "begin time"))


def find_columns(header: Sequence[str], rows: Sequence[Row], label: int) -> Columns | None:
    """Return which column is which; None where the end of selections is missing."""
    start, end = column_index(header, START), column_index(header, END)
    duration = column_index(header, DURATION_COLUMNS)
    if start is None or (end is None and duration is None):
        return None
    files = (column_index(header, ["begin path"]), column_index(header, ["begin file"]))
    named = [index for index in files if index is not None and any(row.cells[index] for row in rows)]
    return Columns(
        start=start,
        end=end if end is not None else duration or 0,
        end_is_duration=end is None,
        label=label,
        low=column_index(header, LOW_COLUMNS),
        high=column_index(header, HIGH_COLUMNS),
        name=(lambda cells: next((cells[index] for index in named if cells[index]), "")) if named else None,
    )


def without_other_views(rows: Sequence[Row], header: Sequence[str], columns: Columns) -> tuple[list[Row], list[Row]]:
    """Return each selection once, from the spectrogram if it is there, and the rows that repeat it for another view."""
    selection, view = column_index(header, ["selection"]), column_index(header, ["view"])
    if selection is None or view is None:
        return list(rows), []
    chosen: dict[tuple[str, ...], Row] = {}
    repeated = []
    for row in rows:
        key = (row.cells[selection], row.cells[columns.start], columns.name(row.cells) if columns.name else "")
        other = chosen.get(key)
        if other is None:
            chosen[key] = row
        elif other.cells[view] == row.cells[view]:  # the same number twice is another selection
            chosen[(*key, str(row.line))] = row
        else:
            better = (bool(row.cells[columns.label]), row.cells[view].casefold().startswith("spectrogram"))
            worse = (bool(other.cells[columns.label]), other.cells[view].casefold().startswith("spectrogram"))
            repeated.append(other if better > worse else row)
            if better > worse:
                chosen[key] = row
    return list(chosen.values()), repeated


class Times:
    """Starts and ends of selections in their own files, by `File Offset (s)` where rows name these."""

    def __init__(self, header: Sequence[str], one_recording: bool) -> None:
        """`one_recording`: the table was not made in a sequence of files, whatever its offsets say."""
        self.offset = column_index(header, ["file offset"])
        self.one_recording = one_recording

    def __call__(self, rows: Sequence[Row], columns: Columns, table: Path, remarks: Remarks) -> Seconds:
        begins_s = numbers(rows, columns.start, table, remarks)
        ends_s = numbers(rows, columns.end, table, remarks)
        lengths_s = [
            end_s - (0.0 if columns.end_is_duration else begin_s)
            for begin_s, end_s in zip(begins_s, ends_s, strict=True)
        ]
        if self.offset is None and columns.name is not None and len({columns.name(row.cells) for row in rows}) > 1:
            kind = "of several recordings without File Offset (s): Begin Time (s) is taken for the time in each"
            remarks.add(kind, table, rows[0].line, len(rows))
        starts_s = begins_s if self.offset is None else self._in_files(begins_s, rows, columns, table, remarks)
        if starts_s == begins_s and not columns.end_is_duration:
            return begins_s, ends_s
        return starts_s, [start_s + length_s for start_s, length_s in zip(starts_s, lengths_s, strict=True)]

    def _in_files(
        self, begins_s: list[float], rows: Sequence[Row], columns: Columns, table: Path, remarks: Remarks
    ) -> list[float]:
        """Return offsets in files; `begins_s` for the files at whose start the table's own time begins.

        There offset and begin are the same, unless someone has corrected one of them in another program: it is the
        begin that people see and correct.
        """
        if columns.name is None or self.offset is None:
            return begins_s
        names = [columns.name(row.cells) for row in rows]
        given = [
            begin_s if not row.cells[self.offset] else offset_s
            for row, begin_s, offset_s in zip(rows, begins_s, self._offsets(rows, table, remarks), strict=True)
        ]
        differ = [abs(begin_s - offset_s) > TOLERANCE_S for begin_s, offset_s in zip(begins_s, given, strict=True)]
        at_start = {name for name, other in zip(names, differ, strict=True) if self.one_recording or not other}
        starts_s = []
        for row, name, begin_s, offset_s, other in zip(rows, names, begins_s, given, differ, strict=True):
            if other and name in at_start:
                remarks.add("whose File Offset is not their Begin Time, which counts", table, row.line)
            starts_s.append(begin_s if name in at_start else offset_s)
        return starts_s

    def _offsets(self, rows: Sequence[Row], table: Path, remarks: Remarks) -> list[float]:
        column = self.offset or 0
        filled = iter(numbers([row for row in rows if row.cells[column]], column, table, remarks))
        return [next(filled) if row.cells[column] else 0.0 for row in rows]
