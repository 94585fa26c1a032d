"""Text from outside (file names, class names) on its way to a console."""

import os


def printable(text: str | os.PathLike[str]) -> str:
    r"""`text` with unprintable characters as escapes (`\x1b`), so that a name can't drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in os.fspath(text))


def as_bytes(text: str) -> bytes:
    """UTF-8, with the bytes of file names that are none kept as they are."""
    return text.encode("utf-8", errors="surrogateescape")
