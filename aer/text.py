"""Text from outside (file names, class names) on its way to a console or into a CSV.

The rule for CSVs that people open in spreadsheets (folds.csv, left_out.csv, unreadable.csv): no cell from outside
begins with a character that makes it a formula. A path gets `./` before it, which names the same file; other text gets
an apostrophe, which spreadsheets take for "this is text". All other characters stay, for programs to use the paths.
"""

import os
from collections.abc import Sequence

FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: their full-width forms


def printable(text: str | os.PathLike[str]) -> str:
    r"""`text` with unprintable characters as escapes (`\x1b`), so that a name can't drive a terminal.

    Those include the ones that reverse the direction of writing or have no width.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in os.fspath(text))


def as_bytes(text: str) -> bytes:
    """UTF-8, with the bytes of file names that are none kept as they are."""
    return text.encode("utf-8", errors="surrogateescape")


def some(names: Sequence[str | os.PathLike[str]], limit: int = 3) -> str:
    """The first names, printable, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(printable(name) for name in names[:limit]) + more


def counted(number: int, what: str) -> str:
    """`1 recording`, `2,500 recordings`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def csv_text(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _is_formula(text) else text


def csv_path(path: str | os.PathLike[str]) -> str:
    """A path as a cell that no spreadsheet takes for a formula; it still names the file."""
    text = os.fspath(path)
    return os.path.join(".", text) if _is_formula(text) else text  # noqa: PTH118  # pathlib drops the dot


def _is_formula(text: str) -> bool:
    # what comes before may be dropped: spaces, tabs and line ends, which also begin a cell anew
    return text.lstrip().startswith(FORMULA_STARTS) or text.startswith(("\t", "\r", "\n"))
