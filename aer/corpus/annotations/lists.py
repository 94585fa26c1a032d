"""Tables without a header: Audacity's label tracks, and the lists of DCASE and sed_eval."""

import re
from collections.abc import Iterable, Sequence

from aer.corpus.annotations.rows import Columns
from aer.corpus.annotations.table_text import Row

NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")
FREQUENCIES = "\\"  # begins the line with a label's frequencies


def find_columns(first: Sequence[str], mark: str | None) -> Columns | None:
    """Return which cell is which, by the first row; None where it is no row of a list.

    start, end, label (Audacity, sed_eval); recording, start, end, label; recording, scene, start, end, label (DCASE).
    More cells may follow. Labels that are numbers are Audacity's alone (`mark`, the delimiter, is a tab): other rows of
    numbers are measurements, or a header with the numbers of classes.
    """
    numbers = [bool(NUMBER.fullmatch(cell)) for cell in first]
    start = next((start for start in range(3) if numbers[start : start + 2] == [True, True]), None)
    if start is None or any(numbers[:start]) or not all(first[:start]):
        return None
    of_audacity = start == 0 and mark == "\t" and len(first) <= 3
    if not of_audacity and (len(first) < start + 3 or numbers[start + 2]):
        return None
    if start == 0:
        # Audacity: low and high frequency get their cells in `with_frequencies`
        return Columns(start=0, end=1, label=2, low=3, high=4)
    return Columns(start=start, end=start + 1, label=start + 2, name=lambda cells: cells[0])


def with_frequencies(rows: Iterable[Row]) -> list[Row]:
    r"""Return Audacity's labels as start, end, label, low, high: a line `\ low high` belongs to the label before it.

    What else follows a label (BirdNET: its score) is dropped.
    """
    labels: list[Row] = []
    for row in rows:
        cells = row.cells
        if cells[0] == FREQUENCIES:
            if labels and len(cells) >= 3:
                labels[-1].cells[3:] = [_known(cells[1]), _known(cells[2])]
        else:
            labels.append(Row(row.line, [*cells[:3], "", "", ""][:5] if len(cells) > 2 else [*cells, "", "", "", ""]))
    return labels


def _known(hertz: str) -> str:
    """Return the frequency; Audacity writes -1 for one that is not set."""
    return "" if hertz.startswith("-") else hertz


def is_audacity(columns: Columns, mark: str | None) -> bool:
    """Return whether a list is a label track: sed_eval's lists of one recording, tab-separated, are read as these."""
    return columns.name is None and mark == "\t"
