"""Reads labelled times from a table or from all tables below a folder, whatever program wrote them."""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aer.corpus.annotations import documents, lists, raven, tables
from aer.corpus.annotations.annotation import (
    Annotation,
    Annotations,
    NoTimesError,
    Remarks,
    Skipped,
    Table,
    label_notes,
    where,
    without_duplicates,
)
from aer.corpus.annotations.columns import label_indices, plain_name
from aer.corpus.annotations.rows import Columns, annotations, padded
from aer.corpus.annotations.table_text import UTF_8, Row, Text, decode, delimiter
from aer.corpus.annotations.table_text import rows as text_rows
from aer.errors import InputError
from aer.utils.text import counted, printable, some

SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".json", ".parquet"})
# of machines, not of people
FOREIGN_FOLDERS = frozenset({"@eadir", "#recycle", "__macosx", "system volume information", "$recycle.bin"})
# what programs and people put behind the recording's name
ENDINGS = re.compile(
    r"(\.Table\.\d+)?\.selections?$|\.Table\.\d+$|\.BirdNET\.(selection\.table|results)(\.[rR])?$"
    r"|[._ -](labels?|label[ _-]?track|annotations?|selections?|events?)$",
    re.IGNORECASE,
)
RAVEN_OF_AER = "Selection|View|Channel|Begin Time (s)|End Time (s)|Low Freq (Hz)|High Freq (Hz)|Begin File|Begin Path"


@dataclass(frozen=True)
class _Content:
    format: str
    label_column: str | None
    named_in_rows: bool
    events: list[Annotation]
    names: list[str]
    encoding: str = UTF_8


def read_annotations(path: Path, label_column: str | None = None) -> Annotations:
    """Return the labelled times of a table, or of all tables below a folder.

    Labels are in the column `label_column`, or in one that is found by its name. Files in a folder that hold no
    labelled times are skipped, with the reason. Raise InputError, in one line with file and line, for what is not
    there, for a table that holds none, and for one that is contradictory: unknown encoding, times that can't be,
    a selection table without a column of labels.
    """
    if not path.exists():
        raise InputError(f"annotations {printable(path)} are not there")
    found: list[Table] = []
    skipped: list[Skipped] = []
    events: dict[str, list[Annotation]] = {}
    remarks, encodings = Remarks(), dict[str, list[Path]]()
    for file in _tables_below(path) if path.is_dir() else [path]:
        own_name = own_recording(file.relative_to(path) if path.is_dir() else Path(file.name))
        try:
            content = _read(file, own_name, label_column, remarks)
        except NoTimesError as error:
            skipped.append(Skipped(file, None, str(error)))
            continue
        encodings.setdefault(content.encoding, []).append(file)
        names = tuple(content.names) if content.named_in_rows else (own_name,)
        found.append(Table(file, content.format, content.label_column, own_name, names, content.named_in_rows))
        for name in names:
            events.setdefault(name, [])
        for event in content.events:
            events[event.recording].append(event)
    if not found:
        raise InputError(_nothing_in(path, skipped))
    ordered = {name: _ordered(events[name], remarks) for name in sorted(events)}
    skipped += remarks.left_out
    read = Annotations(ordered, tuple(found), tuple(skipped), ())
    notes = [*_file_notes(found, encodings, skipped), *remarks.lines(), *label_notes(read.label_counts)]
    return replace(read, notes=tuple(notes))


def own_recording(table: Path) -> str:
    """Return the recording that a table is about by its own name: `site/a.wav` or `site/a`, with slashes."""
    name = table.name[: -len(table.suffix)] if table.suffix.lower() in SUFFIXES else table.name
    while (shorter := ENDINGS.sub("", name)) != name and shorter:
        name = shorter
    return (table.parent / name).as_posix()


def _tables_below(folder: Path) -> Iterator[Path]:
    """Yield what may be a table by its name, in order. Links to folders are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name.lower() not in FOREIGN_FOLDERS
        )
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122
                yield Path(here, name)


def _refuse(error: OSError) -> None:
    raise InputError(f"folder {printable(error.filename)} can't be read: {error.strerror}") from error


def _read(file: Path, own_name: str, label_column: str | None, remarks: Remarks) -> _Content:
    """Return what is in a file. Raise NoTimesError where it holds no labelled times."""
    if file.suffix.lower() == ".parquet":
        return _of_document(documents.parquet_rows(file), "parquet", file, own_name, remarks)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{printable(file)} can't be read: {error.strerror}") from error
    text = decode(data, file)
    if text is None:
        raise NoTimesError("is no text")
    if file.suffix.lower() == ".json":
        if text.problem:
            raise InputError(text.problem)
        return _of_document(documents.json_rows(text.text), "json", file, own_name, remarks)
    content = _of_text(text, file, own_name, label_column, remarks)
    if text.problem and any("\udc80" <= c <= "\udcff" for event in content.events for c in event.label):
        # in names of recordings such bytes may be those that the files have
        raise InputError(text.problem)
    return replace(content, encoding=text.encoding)


def _of_document(rows: list[Row], kind: str, file: Path, own_name: str, remarks: Remarks) -> _Content:
    events, names = annotations(rows, documents.COLUMNS, file, own_name, remarks)
    return _Content(kind, "label", True, events, names)


def _of_text(text: Text, file: Path, own_name: str, label_column: str | None, remarks: Remarks) -> _Content:
    content = re.sub(r"\Asep=.(\r\n|\r|\n)", "", text.text)  # Excel's line on the delimiter
    mark = delimiter(content)
    rows = text_rows(content, mark, file)
    leading = list(_leading(rows))
    if not leading:
        return _Content("empty", None, False, [], [own_name])
    columns = lists.find_columns(leading[-1].cells, mark)
    header = leading[0].cells
    if columns is None and (len(leading) > 1 or tables.find_columns(header, 0) is None):
        raise NoTimesError(f"has no columns of times: {some(header, 6)}")
    if columns is not None:
        return _list(itertools.chain(leading, rows), columns, mark, file, own_name, remarks)
    return _with_header(header, padded(rows, len(header), file, mark == "\t"), file, own_name, label_column, remarks)


def _leading(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield the first rows: those of a single cell, as lists have them for recordings without events, and the next."""
    try:
        for row in rows:
            yield row
            if len(row.cells) > 1:
                return
    except InputError as error:
        raise NoTimesError(str(error)) from error


def _list(
    rows: Iterable[Row], columns: Columns, mark: str | None, file: Path, own_name: str, remarks: Remarks
) -> _Content:
    if columns.name is None:
        filled = lists.with_frequencies(rows)
    else:
        filled = [Row(row.line, row.cells + [""] * (columns.label + 1 - len(row.cells))) for row in rows]
    events, names = annotations(filled, columns, file, own_name, remarks)
    kind = "audacity" if lists.is_audacity(columns, mark) else "list"
    return _Content(kind, None, columns.name is not None, events, names)


def _with_header(
    header: list[str], rows: list[Row], file: Path, own_name: str, label_column: str | None, remarks: Remarks
) -> _Content:
    label = _label_index(header, rows, file, label_column, remarks)
    if label is None and rows and raven.is_header(header):
        raise InputError(
            f"{where(file, 1)}: has no column of labels: name it with --label-column; its columns are "
            f"{some(header, 20)}"
        )
    if label is None and rows:
        raise NoTimesError(f"has no column of labels: {some(header, 6)}")
    if raven.is_header(header):
        return _raven(header, rows, label or 0, file, own_name, remarks)
    is_kaleidoscope = tables.is_kaleidoscope(header)
    find = tables.kaleidoscope_columns if is_kaleidoscope else tables.find_columns
    columns = find(header, label or 0)
    if columns is None:
        raise NoTimesError(f"has no columns of times: {some(header, 6)}")
    return _content("kaleidoscope" if is_kaleidoscope else "csv", header, rows, columns, file, own_name, remarks)


def _raven(header: list[str], rows: list[Row], label: int, file: Path, own_name: str, remarks: Remarks) -> _Content:
    columns = raven.find_columns(header, rows, label)
    if columns is None:
        raise InputError(f"{where(file, 1)}: has no End Time (s) and no Delta Time (s)")
    rows, repeated = raven.without_other_views(rows, header, columns)
    if repeated:
        kind = "that Raven wrote once more for another view, counted once"
        remarks.add(kind, file, repeated[0].line, len(repeated))
    times = raven.Times(header, "|".join(header).startswith(RAVEN_OF_AER))
    events, names = annotations(rows, columns, file, own_name, remarks, times)
    return _Content("raven", header[label] if rows else None, columns.name is not None, events, names)


def _content(
    kind: str, header: list[str], rows: list[Row], columns: Columns, file: Path, own_name: str, remarks: Remarks
) -> _Content:
    events, names = annotations(rows, columns, file, own_name, remarks)
    return _Content(kind, header[columns.label] if rows else None, columns.name is not None, events, names)


def _label_index(
    header: Sequence[str], rows: Sequence[Row], file: Path, label_column: str | None, remarks: Remarks
) -> int | None:
    """Return the column of labels: the one that is named, or the first of the likely ones in which something is."""
    if label_column is not None:
        plain = [plain_name(name) for name in header]
        if plain_name(label_column) not in plain:
            known = some(header, 20)
            raise InputError(f"{where(file, 1)}: has no column {printable(label_column)!r}: its columns are {known}")
        return plain.index(plain_name(label_column))
    # Raven's own column comes first there; elsewhere `annotation` may be the number of one
    likely = label_indices(header, ["annotation"] if raven.is_header(header) else [])
    filled = [index for index in likely if any(row.cells[index] for row in rows)]
    if len(filled) > 1:
        chosen, *others = (printable(header[index]) for index in filled)
        kind = f"whose label is their {chosen}, though they have {some(others)} too"
        remarks.add(kind, file, rows[0].line, len(rows))
    return next(iter(filled or likely), None)


def _nothing_in(path: Path, skipped: Sequence[Skipped]) -> str:
    if not path.is_dir():
        return f"annotations {printable(path)} has no labelled times: {skipped[0].reason}"
    first = f": {where(skipped[0].table, None)}: {skipped[0].reason}" if skipped else ""
    return f"annotations {printable(path)} has no table of labelled times{first}"


def _ordered(events: list[Annotation], remarks: Remarks) -> tuple[Annotation, ...]:
    once, repeated = without_duplicates(events)
    if repeated:
        remarks.add("that other tables repeat, counted once", repeated[0].table, repeated[0].line, len(repeated))
    return tuple(once)


def _file_notes(found: list[Table], encodings: dict[str, list[Path]], skipped: list[Skipped]) -> list[str]:
    """Return notes on whole files: those without times, their encodings and columns of labels."""
    notes = []
    files = [skip for skip in skipped if skip.line is None]
    if files:
        first = f"{printable(files[0].table)}: {files[0].reason}"
        notes.append(f"{counted(len(files), 'file')} without labelled times, skipped (the first: {first})")
    for encoding, paths in encodings.items():
        if encoding != UTF_8:
            notes.append(
                f"{counted(len(paths), 'file')} in {encoding}, not in UTF-8 (the first: {printable(paths[0])})"
            )
    columns = sorted({table.label_column for table in found if table.label_column})
    if len(columns) > 1:
        notes.append(f"labels are in the columns {some(columns, 5)}, by table")
    return notes
