"""Events, window scores and embeddings as Parquet, for those who continue in pandas, polars or R.

pyarrow is not among the dependencies, as it is larger than most of them together: those who want Parquet install it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from aer.errors import InputError
from aer.inference.results import FileResult, span
from aer.outputs.tables import ADVICE, EVENT_COLUMNS, Results
from aer.utils.files import write_whole
from aer.utils.text import valid_utf8

# rows of a row group, where they are narrow
GROUP_ROWS = 1 << 16
# values of a row group's vectors: 32 MB
GROUP_VALUES = 1 << 23
# the length of embeddings, where no recording has any
EMBEDDING_SIZE = 2048
# before the class in the columns of scores.parquet, so that no class can take the name of another column
SCORE_PREFIX = "score_"


def require_pyarrow() -> None:
    """Raise InputError, with the command to install it, where pyarrow is missing."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise InputError("Parquet (--format parquet, --embeddings) needs pyarrow: pip install 'pyarrow>=15'") from error


def write_events(results: Results, path: Path) -> None:
    """Write the columns of events.csv; a probability that is not known is null."""
    import pyarrow as pa

    text = ("file", "label")
    schema = pa.schema([(name, pa.string() if name in text else pa.float64()) for name in EVENT_COLUMNS])

    def table(result: FileResult) -> Any:
        spans = [span(result, event) for event in result.events]
        columns = [
            *([valid_utf8(result.name)] * len(spans), [start for start, _ in spans], [end for _, end in spans]),
            [valid_utf8(event.label) for event in result.events],
            [float(event.score) for event in result.events],
            [None if event.probability is None else float(event.probability) for event in result.events],
        ]
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)

    _write(path, schema, (table(result) for result in results if result.events), GROUP_ROWS)


def write_scores(results: Results, path: Path) -> None:
    """Write a row per window: file, start_s, end_s, and `score_<class>` for every class.

    A recording shorter than a window is centred in it, which then starts before 0. Raise ValueError for recordings with
    other classes than those before them.
    """
    import pyarrow as pa

    classes = next((result.classes for result in results if len(result.starts_s)), ())
    names = [f"{SCORE_PREFIX}{valid_utf8(label)}" for label in classes]
    schema = pa.schema([*_window_fields(pa), *((name, pa.float32()) for name in names)])

    def table(result: FileResult) -> Any:
        if result.classes != classes:
            raise ValueError(f"{result.name!r} has other classes than the recordings before it")
        scores = np.asarray(result.scores, np.float32)
        return pa.table([*_windows(pa, result), *(pa.array(column) for column in scores.T)], schema)

    rows = max(1, min(GROUP_ROWS, GROUP_VALUES // max(1, len(classes))))
    _write(path, schema, (table(result) for result in results if len(result.starts_s)), rows)


def write_embeddings(results: Results, path: Path) -> None:
    """Write a row per window: file, start_s, end_s, embedding (a list of fixed size, float32).

    `np.stack(pandas.read_parquet(path).embedding)` is the matrix. One column per number would cost more for their
    headers than for the numbers. Raise ValueError for a recording without embeddings of its windows.
    """
    import pyarrow as pa

    # a recording that could not be read has neither windows nor the number of embeddings that the model gives
    first = next((result.embeddings for result in results if len(result.starts_s)), None)
    size = EMBEDDING_SIZE if first is None else first.shape[1]
    schema = pa.schema([*_window_fields(pa), ("embedding", pa.list_(pa.float32(), size))])

    def table(result: FileResult) -> Any:
        if result.embeddings is None or result.embeddings.shape != (len(result.starts_s), size):
            raise ValueError(f"{result.name!r} has no embeddings of {size} numbers for its windows")
        flat = pa.array(np.ascontiguousarray(result.embeddings, np.float32).reshape(-1))
        return pa.table([*_windows(pa, result), pa.FixedSizeListArray.from_arrays(flat, size)], schema)

    tables = (table(result) for result in results if len(result.starts_s))
    _write(path, schema, tables, max(1, GROUP_VALUES // size))


def _window_fields(pa: Any) -> list[tuple[str, Any]]:
    return [("file", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())]


def _windows(pa: Any, result: FileResult) -> list[Any]:
    starts_s = np.asarray(result.starts_s, np.float64)
    names = pa.array([valid_utf8(result.name)] * len(starts_s), pa.string())
    return [names, pa.array(starts_s), pa.array(starts_s + result.window_s)]


def _write(path: Path, schema: Any, tables: Iterator[Any], group_rows: int) -> None:
    import pyarrow.parquet

    def write(file: IO[bytes]) -> None:
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            for group in _groups(tables, group_rows):
                writer.write_table(group, row_group_size=group_rows)

    write_whole(path, write, ADVICE)


def _groups(tables: Iterator[Any], group_rows: int) -> Iterator[Any]:
    """Yield small tables put together: a row group per recording costs more than its rows where these are few."""
    import pyarrow as pa

    waiting: list[Any] = []
    n_rows = 0
    for table in tables:
        waiting.append(table)
        n_rows += table.num_rows
        if n_rows >= group_rows:
            yield pa.concat_tables(waiting)
            waiting, n_rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)
