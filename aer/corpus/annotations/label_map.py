"""Labels renamed, put together or left out by a list of the user's."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from aer.corpus.annotations.annotation import Annotations
from aer.errors import InputError
from aer.utils.csv_files import read_table, without_apostrophe
from aer.utils.text import counted, printable, some


def read_label_map(csv: Path) -> dict[str, str]:
    """Return old label -> new label, "" for one to leave out, from a CSV with the columns `old` and `new`.

    Raise InputError, in one line, for a CSV that can't be read, other columns, a row without an old label, and an old
    label with two new ones.
    """
    table = read_table(csv)
    if not {"old", "new"} <= set(table):
        raise InputError(f"csv {csv} needs the columns old and new; it has {', '.join(map(printable, table))}")
    mapping: dict[str, str] = {}
    for row, cells in enumerate(zip(table["old"], table["new"], strict=True), start=1):
        old, new = (without_apostrophe(cell.strip()) for cell in cells)
        if not old:
            raise InputError(f"csv {csv}, row {row}: has no old label")
        if mapping.setdefault(old, new) != new:
            raise InputError(f"csv {csv}, row {row}: {printable(old)} becomes {printable(new)!r} here and "
                             f"{printable(mapping[old])!r} before")  # fmt: skip
    return mapping


def label_map(annotations: Annotations, mapping: Mapping[str, str]) -> Annotations:
    """Return the annotations with their labels renamed by `mapping`, without events whose new label is "".

    Labels that it does not have stay. Notes say what was renamed and left out, and what the mapping has in vain.
    """
    counts = Counter(annotations.label_counts)
    events = {
        name: tuple(
            replace(event, label=mapping.get(event.label, event.label))
            for event in listed
            if mapping.get(event.label, event.label)
        )
        for name, listed in annotations.events.items()
    }
    renamed = sorted(old for old, new in mapping.items() if new not in ("", old) and counts[old])
    dropped = sorted(old for old, new in mapping.items() if not new and counts[old])
    unused = sorted(old for old in mapping if not counts[old])
    lines = [
        (renamed, f"{counted(sum(counts[old] for old in renamed), 'event')} with another label by the label map: "),
        (dropped, f"{counted(sum(counts[old] for old in dropped), 'event')} left out by the label map: "),
        (unused, "labels of the label map that no event has: "),
    ]
    notes = tuple(line + some(labels) for labels, line in lines if labels)
    return replace(annotations, events=events, notes=(*annotations.notes, *notes))
