"""What `aer predict` writes besides tables of text: `events.json` and `events.parquet`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aer.corpus.annotations.annotation import NoTimesError
from aer.corpus.annotations.rows import Columns
from aer.corpus.annotations.table_text import Row

NAMES = ("file", "start_s", "end_s", "label")
COLUMNS = Columns(start=1, end=2, label=3, name=lambda cells: cells[0])
OTHER = "has no events as aer predict writes them"
HEARD = ("ok", "partial")  # the status of recordings of which is known what they hold


def json_rows(text: str) -> list[Row]:
    """Return the events of an `events.json`, and a row without times for a recording without events.

    Raise NoTimesError for other JSON.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise NoTimesError(f"is no JSON: {error.msg} in line {error.lineno}") from error
    if not isinstance(document, dict) or not isinstance(document.get("recordings"), list):
        raise NoTimesError(OTHER)
    rows: list[Row] = []
    for recording in document["recordings"]:
        if not isinstance(recording, dict) or not isinstance(recording.get("events"), list):
            raise NoTimesError(OTHER)
        name = str(recording.get("file", ""))
        for event in recording["events"]:
            if not isinstance(event, dict):
                raise NoTimesError(OTHER)
            rows.append(Row(len(rows) + 1, [name, *(_cell(event.get(key)) for key in NAMES[1:])]))
        if not recording["events"] and recording.get("status", "ok") in HEARD:
            rows.append(Row(len(rows) + 1, [name, "", "", ""]))
    return rows


def parquet_rows(path: Path) -> list[Row]:
    """Return the events of an `events.parquet`. Raise NoTimesError for other columns, and where pyarrow is missing."""
    try:
        import pyarrow.lib
        import pyarrow.parquet
    except ImportError as error:
        raise NoTimesError("reading Parquet needs pyarrow: pip install 'pyarrow>=15'") from error
    try:
        if not set(NAMES) <= set(pyarrow.parquet.read_schema(path).names):
            raise NoTimesError(OTHER)
        columns = pyarrow.parquet.read_table(path, columns=list(NAMES)).to_pydict()
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise NoTimesError(f"can't be read as Parquet: {error}") from error
    cells: Sequence[Sequence[Any]] = [columns[name] for name in NAMES]
    return [Row(line, list(map(_cell, row))) for line, row in enumerate(zip(*cells, strict=True), start=1)]


def _cell(value: Any) -> str:
    """Return a value as text. Times to the microsecond, as tables have them."""
    if value is None:
        return ""
    return str(round(value, 6)) if isinstance(value, float) else str(value).strip()
