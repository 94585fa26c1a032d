"""Text from outside (file names, class names) on its way to a console or into a CSV.

The rule for CSVs that people open in spreadsheets (folds.csv, left_out.csv, unreadable.csv): no cell from outside
begins with a character that makes it a formula. A path gets `./` before it, which names the same file; other text gets
an apostrophe, which spreadsheets take for "this is text". All other characters stay, for programs to use the paths.
"""

import difflib
import os
from collections.abc import Iterable, Sequence


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


def valid_utf8(text: str) -> str:
    r"""`text` with the bytes of file names that are no UTF-8 as visible escapes (`\udce9`)."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def encodable(text: str) -> str:
    """`text`, whose bytes that are no UTF-8 may stay; lone surrogates that stand for no byte become escapes."""
    try:
        as_bytes(text)
    except UnicodeEncodeError:
        return valid_utf8(text)
    return text


def near_matches(name: str, known: Iterable[str]) -> str:
    """ " (did you mean X?)" for a misspelt name, or nothing where no known name is near."""
    lower = {candidate.lower(): candidate for candidate in known}
    near = [printable(lower[match]) for match in difflib.get_close_matches(name.lower(), lower, n=3)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""
