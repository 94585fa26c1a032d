"""Tables of labelled times in tests, and what was read from them."""

from pathlib import Path

from aer.corpus.annotations.annotation import Annotations

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"


def write_table(path: Path, content: str) -> Path:
    """Write a table and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path


def events(read: Annotations) -> dict[str, list[tuple[float, float, str]]]:
    """Return start, end and label of the events of each recording."""
    return {name: [(e.start_s, e.end_s, e.label) for e in listed] for name, listed in read.events.items()}


def formats(read: Annotations) -> list[str]:
    """Return the format of each table."""
    return [table.format for table in read.tables]
