"""Tables with a header: generic ones, BirdNET's, DCASE's and Kaleidoscope's."""

from collections.abc import Sequence

from aer.corpus.annotations.columns import (
    DURATION_COLUMNS,
    END_COLUMNS,
    HIGH_COLUMNS,
    LOW_COLUMNS,
    RECORDING_COLUMNS,
    START_COLUMNS,
    column_index,
    plain_name,
)
from aer.corpus.annotations.rows import Columns

KALEIDOSCOPE = ("in file", "offset", "duration")
SEVERAL_LABELS = ("labels", "tags")


def is_kaleidoscope(header: Sequence[str]) -> bool:
    """Return whether this is the header of Kaleidoscope's `cluster.csv` or `id.csv`, or of BirdNET's like these."""
    return all(column_index(header, [name]) is not None for name in KALEIDOSCOPE)


def kaleidoscope_columns(header: Sequence[str], label: int) -> Columns:
    """Return which column is which in Kaleidoscope's CSVs. Its frequencies have no unit and are left alone."""
    start, end = (column_index(header, [name]) or 0 for name in ("offset", "duration"))
    parts = [index for name in ("indir", "folder", "in file") if (index := column_index(header, [name])) is not None]

    def name(cells: Sequence[str]) -> str:
        return "/".join(cells[index].rstrip("\\/") for index in parts if cells[index]) if cells[parts[-1]] else ""

    return Columns(start=start, end=end, end_is_duration=True, label=label, name=name)


def find_columns(header: Sequence[str], label: int) -> Columns | None:
    """Return which column is which in any other table; None where it has no times."""
    start, end = column_index(header, START_COLUMNS), column_index(header, END_COLUMNS)
    duration = column_index(header, DURATION_COLUMNS)
    if start is None and duration is not None and column_index(header, ["offset"]) == end:
        start, end = end, None  # `offset, duration`: where it begins, and for how long
    if start is None or (end is None and duration is None):
        return None
    recording = column_index([cell if n != label else "" for n, cell in enumerate(header)], RECORDING_COLUMNS)
    return Columns(
        start=start,
        end=end if end is not None else duration or 0,
        end_is_duration=end is None,
        label=label,
        low=column_index(header, LOW_COLUMNS),
        high=column_index(header, HIGH_COLUMNS),
        name=None if recording is None else lambda cells: cells[recording],
        several_labels=plain_name(header[label]) in SEVERAL_LABELS,
    )
