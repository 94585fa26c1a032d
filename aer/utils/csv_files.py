"""CSV files in and out: read as they come from spreadsheets and from R, written so that no cell becomes a formula.

The rule for CSVs that people open in spreadsheets: no cell from outside (a file's or a class's name) begins with a
character that makes it a formula. A path gets `./` before it, which names the same file; other text gets an
apostrophe, which spreadsheets take for "this is text". All other characters stay, for programs to use the paths.
"""

import csv as csv_format
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO, cast

from aer.errors import InputError
from aer.utils.files import write_whole

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# the last four are the full-width forms of the others
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def read_table(csv: Path) -> dict[str, list[str]]:
    """Return the cells of each column, as text, by the column's name; nothing is guessed, empty lines are skipped.

    Bytes that are not UTF-8 are kept (as surrogates). A column whose name was there before gets a number (`a`, `a.1`),
    as pandas has it. Not pandas itself: it takes a quarter of a second to load, and fills rows that are too short.

    Raise InputError, in one line, for a file that can't be read, has no rows, or has a row of another length than its
    header.
    """
    try:
        with csv.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            if cast(io.BufferedReader, file.buffer).peek(2)[:2] in UTF16_MARKS:
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


def _distinct(header: Sequence[str]) -> list[str]:
    """Return the names with a number after those that were there before."""
    names: list[str] = []
    for name in header:
        candidate, number = name, 0
        while candidate in names:
            number += 1
            candidate = f"{name}.{number}"
        names.append(candidate)
    return names


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], advice: str) -> None:
    r"""Write a CSV, with `\n` at the ends of lines, that is whole or absent.

    Bytes of file names that are not UTF-8 (surrogates) are written as they are. Raise AerError, which ends with
    `advice`, where the file can't be written.
    """
    text = io.StringIO(newline="")
    csv_format.writer(UnixLines(text), lineterminator="\r\n").writerows([header, *rows])
    content = text.getvalue().encode("utf-8", errors="surrogateescape")
    write_whole(path, lambda file: file.write(content), advice)


class UnixLines:
    r"""A text file for csv.writer, whose lines it ends with `\n`. Asked to do so, csv leaves `\r` in cells unquoted."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        """Write a line that ends with `\\r\\n`; return the number of characters written."""
        return self.file.write(line.removesuffix("\r\n") + "\n")


def csv_text(text: str) -> str:
    """Return `text` as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _is_formula(text) else text


def without_apostrophe(cell: str) -> str:
    """Return the text that `csv_text` made this cell of."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def csv_path(path: str | os.PathLike[str]) -> str:
    """Return a path as a cell that no spreadsheet takes for a formula; it still names the file."""
    text = os.fspath(path)
    return os.path.join(".", text) if _is_formula(text) else text  # noqa: PTH118  # pathlib drops the dot


def _is_formula(text: str) -> bool:
    # what comes before may be dropped: spaces, tabs and line ends, which also begin a cell anew
    return text.lstrip().startswith(FORMULA_STARTS) or text.startswith(("\t", "\r", "\n"))
