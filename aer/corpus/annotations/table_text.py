"""Files of unknown encoding as text, and text of unknown delimiter as rows of cells.

Encodings: UTF-8 and UTF-16; Windows-1252 where nothing else is possible. A detector by statistics (charset-normalizer)
is not used: on tables with few words beyond ASCII it takes French for Central European text.
"""

import codecs
import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aer.errors import InputError
from aer.utils.text import printable

UTF_8 = "UTF-8"
# what a file that is not UTF-8 may be instead of Windows-1252
OTHER_ENCODINGS = ("cp1250", "cp1251", "cp1257", "mac_roman", "cp850", "gb18030", "shift_jis", "big5", "euc_kr")
# letters of Windows-1252 that words of living languages hold, without those of Turkish and Icelandic code pages
WESTERN = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüŒœŠšŽž")
RARE = frozenset("ĹĺŔŕ")  # of Central European code pages, where Western ones have Å and À
# as Word and Excel write Cooper's hawk; no word of another encoding looks like that
POSSESSIVE = re.compile(rb"(?<=[A-Za-z])\x92(?=s\b)")
WORD_BEYOND_ASCII = re.compile(r"[^\W\d_]*[^\x00-\x7f]\w*")


@dataclass(frozen=True)
class Text:
    """A decoded file."""

    text: str
    encoding: str
    problem: str = ""  # why it can't be decoded: `text` then has surrogates for bytes, as names of files have them


class Row(NamedTuple):
    """Cells of a row, stripped, and the line that it begins in, from 1."""

    line: int
    cells: list[str]


def decode(data: bytes, path: Path) -> Text | None:
    """Return the text of a file's bytes; None where these are no text."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):
            return _strictly(data, encoding, path)
    if b"\0" in data[:4096]:
        guess = _utf16_without_mark(data[:4096])
        return None if guess is None else _strictly(data, guess, path)
    try:
        return Text(data.decode("utf-8-sig"), UTF_8)
    except UnicodeDecodeError as error:
        western, other = _western(data)
        if western is not None and other is None:
            return Text(western, "Windows-1252")
        line = data.count(b"\n", 0, error.start) + 1
        readings = f" (it may read {_excerpt(western)} or {_excerpt(other)})" if western and other else ""
        problem = f"{printable(path)}, line {line}: is not UTF-8{readings}: save the table as UTF-8"
        return Text(data.decode("utf-8-sig", errors="surrogateescape"), UTF_8, problem)


def _strictly(data: bytes, encoding: str, path: Path) -> Text:
    try:
        return Text(data.decode(encoding).removeprefix("\ufeff"), "UTF-16")
    except UnicodeDecodeError as error:
        raise InputError(f"{printable(path)}: begins as UTF-16 and is not: save the table as UTF-8") from error


def _utf16_without_mark(data: bytes) -> str | None:
    """Return the byte order of text in UTF-16 that is mostly ASCII; None for other bytes."""
    for encoding, high, low in (("utf-16-le", data[1::2], data[::2]), ("utf-16-be", data[::2], data[1::2])):
        if 2 * high.count(0) >= len(high) and min(low) >= ord("\t"):
            return encoding
    return None


def _western(data: bytes) -> tuple[str | None, str | None]:
    """Return the text as Windows-1252, None where that makes no words, and as another encoding that makes others."""
    doubtful = POSSESSIVE.sub(b"'", data)
    try:
        western, words = data.decode("cp1252"), doubtful.decode("cp1252")
    except UnicodeDecodeError:
        return None, None
    if not _plausible(words, WESTERN):
        return None, None
    for encoding in OTHER_ENCODINGS:
        try:
            other = doubtful.decode(encoding)
        except UnicodeDecodeError:
            continue
        if other != words and _plausible(other, None):
            return western, other
    return western, None


def _plausible(text: str, letters: frozenset[str] | None) -> bool:
    """Return whether all beyond ASCII are letters (of `letters`), those of a word of one script and usual case."""
    if any(c in RARE or not (c.isalpha() if letters is None else c in letters) for c in set(text) if c > "\x7f"):
        return False
    for word in set(WORD_BEYOND_ASCII.findall(text)):
        if len({unicodedata.name(c, "?").split()[0] for c in word if c.isalpha()}) > 1:
            return False
        if any(before.islower() and c.isupper() and c > "\x7f" for before, c in itertools.pairwise(word)):
            return False
    return True


def _excerpt(text: str) -> str:
    found = WORD_BEYOND_ASCII.search(text)
    return printable(found.group()) if found else ""


def delimiter(text: str) -> str | None:
    """Return the delimiter by the first line that has one: a tab if it is there, else the more frequent of `;` and `,`.

    None where no line has any.
    """
    line = re.search(r"^.*[\t;,].*$", text, re.MULTILINE)
    if line is None:
        return None
    plain = re.sub(r'"[^"]*"', "", line.group())
    return "\t" if "\t" in plain else max(";,", key=plain.count)


def rows(text: str, mark: str | None, path: Path) -> Iterator[Row]:
    """Yield the rows of a table, without those that are empty. Raise InputError for quotes that never end.

    Tab-separated tables know no quoting, but spreadsheets quote cells in them: quotes around a whole cell are dropped.
    """
    if mark == "\t" or mark is None:
        for line, content in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
            if content.strip():
                cells = [cell.strip() for cell in content.split("\t")]
                yield Row(line, [_unquoted(cell) for cell in cells] if '"' in content else cells)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True, strict=True)
    before = 0
    try:
        for cells in reader:
            if any(cells):
                yield Row(before + 1, [cell.strip() for cell in cells])
            before = reader.line_num
    except csv.Error as error:
        raise InputError(f"{printable(path)}, line {reader.line_num}: can't be read: {error}") from error


def _unquoted(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"').strip()
    return cell
