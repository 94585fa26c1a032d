"""Reads CSVs as they come from spreadsheets and from R: all cells as text, nothing guessed."""

import csv
import csv as csv_format
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO, cast

from aer.errors import InputError
from aer.utils.files import write_whole


def read_table(csv: Path) -> dict[str, list[str]]:
    """Column name -> its cells. Bytes that are not UTF-8 are kept as they are; empty lines are passed over.

    A column whose name was there before gets a number (`a`, `a.1`), as pandas has it. Not pandas itself: it takes a
    quarter of a second to load, and fills rows that are too short.

    Raises InputError, in one line, for a file that can't be read, has no rows, or has a row of another length than its
    header.
    """
    try:
        with csv.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            if cast(io.BufferedReader, file.buffer).peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise InputError(f"csv {csv} is in UTF-16: save it as UTF-8")
            reader = csv_format.reader(file, strict=True)
            header: list[str] = []
            rows: list[list[str]] = []
            for row in reader:
                if not row:
                    continue
                if not header:
                    header = row
                elif len(row) != len(header):
                    where = f"csv {csv}, line {reader.line_num}"
                    raise InputError(f"{where}: has {len(row)} cells, and its header has {len(header)}")
                else:
                    rows.append(row)
    except FileNotFoundError as error:
        raise InputError(f"csv {csv} is not there") from error
    except OSError as error:
        raise InputError(f"csv {csv} can't be read: {error.strerror}") from error
    except csv_format.Error as error:
        raise InputError(f"csv {csv}, line {reader.line_num}: can't be read: {error}") from error
    if not rows:
        raise InputError(f"csv {csv} has no rows")
    return dict(zip(_distinct(header), map(list, zip(*rows, strict=True)), strict=True))


def _distinct(header: list[str]) -> list[str]:
    names: list[str] = []
    for name in header:
        candidate, number = name, 0
        while candidate in names:
            number += 1
            candidate = f"{name}.{number}"
        names.append(candidate)
    return names


FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: their full-width forms


def csv_text(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _is_formula(text) else text


def without_apostrophe(cell: str) -> str:
    """The text that `csv_text` made this cell of."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def csv_path(path: str | os.PathLike[str]) -> str:
    """A path as a cell that no spreadsheet takes for a formula; it still names the file."""
    text = os.fspath(path)
    return os.path.join(".", text) if _is_formula(text) else text  # noqa: PTH118  # pathlib drops the dot


def _is_formula(text: str) -> bool:
    # what comes before may be dropped: spaces, tabs and line ends, which also begin a cell anew
    return text.lstrip().startswith(FORMULA_STARTS) or text.startswith(("\t", "\r", "\n"))


class UnixLines:
    r"""What csv writes, with `\n` at the ends of lines. Told to do so itself, it leaves `\r` in cells unquoted."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        return self.file.write(line.removesuffix("\r\n") + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], advice: str) -> None:
    """A CSV that is whole or absent; bytes of file names that are no UTF-8 are kept as they are."""
    text = io.StringIO(newline="")
    csv.writer(UnixLines(text), lineterminator="\r\n").writerows([header, *rows])
    content = text.getvalue().encode("utf-8", errors="surrogateescape")
    write_whole(path, lambda file: file.write(content), advice)
