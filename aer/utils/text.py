"""Text from outside (file names, class names) on its way to a console or into a file."""

import difflib
import os
from collections.abc import Iterable, Sequence


def printable(text: str | os.PathLike[str]) -> str:
    r"""Return `text` with unprintable characters as escapes (`\x1b`), so that a name can't drive a terminal.

    Those include the ones that reverse the direction of writing or have no width.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in os.fspath(text))


def some(names: Sequence[str | os.PathLike[str]], limit: int = 3) -> str:
    """Return the first `limit` names, printable, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(printable(name) for name in names[:limit]) + more


def counted(number: int, what: str) -> str:
    """Return the number with its noun: `1 recording`, `2,500 recordings`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean X?)" for a misspelt name, up to three; "" where no known name is near."""
    lower = {candidate.lower(): candidate for candidate in known}
    near = [printable(lower[match]) for match in difflib.get_close_matches(name.lower(), lower, n=3)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def as_bytes(text: str) -> bytes:
    """Return `text` in UTF-8, and the bytes of file names that are not UTF-8 (surrogates) as they were.

    Raise UnicodeEncodeError for lone surrogates that stand for no byte.
    """
    return text.encode("utf-8", errors="surrogateescape")


def encodable(text: str) -> str:
    r"""Return `text` as something that `as_bytes` takes: where it would raise, with all surrogates as escapes."""
    try:
        as_bytes(text)
    except UnicodeEncodeError:
        return valid_utf8(text)
    return text


def valid_utf8(text: str) -> str:
    r"""Return `text` with surrogates (bytes of file names that are not UTF-8, say) as visible escapes (`\udce9`)."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")
