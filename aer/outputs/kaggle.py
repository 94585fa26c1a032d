"""Answers to the `test.csv` of the Cornell Birdcall Identification: which birds are in each row.

The file has the columns site, row_id, seconds, audio_id. A row of site_1 or site_2 stands for the five seconds that end
at `seconds`; one of site_3, or without `seconds`, for its whole recording. The answer, submission.csv, has each row_id
once, in the same order, with the birds in it by name, separated by spaces, or `nocall`.
"""

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aer.errors import InputError
from aer.inference.results import FileResult, span
from aer.outputs.tables import Results, write_rows
from aer.utils.text import counted, encodable, printable, some

COLUMNS = ("site", "row_id", "seconds", "audio_id")
WHOLE_SITE = "site_3"
ROW_S = 5.0
# so much of an event, or half of it if that is less, must lie in a row: the rest is a fading echo
OVERLAP_S = 0.2
NO_BIRD = "nocall"


@dataclass(frozen=True)
class Row:
    """A question: which classes sound in this recording from when to when."""

    row_id: str
    audio_id: str
    start_s: float
    # infinite for the whole recording
    end_s: float


def read_rows(path: Path) -> list[Row]:
    """Return the rows of test.csv. Raise InputError for columns that are missing, repeated row_ids, bad numbers."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, restval="")
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path} has no column {' or '.join(missing)}: it needs {','.join(COLUMNS)}")
            rows = [_row(path, number, cells) for number, cells in enumerate(reader, start=1)]
    except (OSError, csv.Error) as error:
        raise InputError(f"test.csv {path} can't be read: {error}") from error
    if not rows:
        raise InputError(f"{path} has no rows")
    repeated = [row_id for row_id, count in Counter(row.row_id for row in rows).items() if count > 1]
    if repeated:
        raise InputError(f"{path} has more than one row with the row_id {some(repeated)}")
    return rows


def match(rows: Sequence[Row], names: Iterable[str]) -> dict[str, str]:
    """Return the audio_ids of the rows for which there are recordings, by the recording's name.

    Raise InputError where there are none, and where two recordings have the same audio_id.
    """
    wanted = {row.audio_id for row in rows}
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        # its file name is asked for, with or without the suffix
        path = PurePosixPath(name)
        audio_id = next((audio_id for audio_id in (path.stem, path.name) if audio_id in wanted), None)
        if audio_id is None:
            continue
        if audio_id in taken:
            both = f"{printable(taken[audio_id])} and {printable(name)}"
            raise InputError(f"two recordings have the audio_id {printable(audio_id)}: {both}; leave one out")
        found[name], taken[audio_id] = audio_id, name
    if not found:
        listed = list(dict.fromkeys(row.audio_id for row in rows))
        raise InputError(f"none of the recordings of test.csv is there; the first: {some(listed)}")
    return found


def write_kaggle(results: Results, rows: Sequence[Row], path: Path, say: Callable[[str], object] = print) -> None:
    """Answer every row and say which recordings are not there or were not read to their end: `nocall` for these.

    Raise InputError where none of the recordings is there, where two have the same audio_id, and for a class that
    can't stand in an answer.
    """
    wanted: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        wanted[row.audio_id].append(row)
    birds: dict[str, str] = {}
    found = match(rows, (result.name for result in results))
    unread: list[str] = []
    for result in results:
        if result.name not in found:
            continue
        if result.status != "ok":
            unread.append(f"{result.name} ({result.status})")
        check_classes(result.classes)
        for row in wanted[found[result.name]]:
            birds[row.row_id] = " ".join(birds_in(result, row.start_s, row.end_s)) or NO_BIRD
    there = set(found.values())
    absent = [audio_id for audio_id in wanted if audio_id not in there]
    _report(absent, unread, say)

    # row_ids as they were given
    answers = ((row.row_id, birds.get(row.row_id, NO_BIRD)) for row in rows)
    write_rows(path, ("row_id", "birds"), answers)


def birds_in(result: FileResult, start_s: float, end_s: float) -> list[str]:
    """Return the classes, sorted, with an event that lies in these seconds: OVERLAP_S of it, or half of a short one.

    By the second rule an event that lies on a border is in at least one of the rows.
    """
    present = set()
    for event in result.events:
        begins_s, ends_s = span(result, event)
        overlap_s = min(ends_s, end_s) - max(begins_s, start_s)
        if overlap_s > 0 and overlap_s >= min(OVERLAP_S, (ends_s - begins_s) / 2) - 1e-9:
            present.add(encodable(event.label))
    return sorted(present - {NO_BIRD})


def _row(path: Path, number: int, cells: dict[str, str]) -> Row:
    seconds = cells["seconds"].strip()
    if cells["site"].strip() == WHOLE_SITE or seconds.lower() in ("", "nan"):
        return Row(cells["row_id"], cells["audio_id"], 0.0, math.inf)
    try:
        end_s = float(seconds)
    except ValueError:
        end_s = math.nan
    if not 0 < end_s < math.inf:
        raise InputError(f"{path}: row {number} has the seconds {printable(seconds)!r}, which is no time")
    return Row(cells["row_id"], cells["audio_id"], end_s - ROW_S, end_s)


def check_classes(classes: Iterable[str]) -> None:
    """Raise InputError for a class that can't stand in an answer, which separates classes by spaces."""
    spaced = [label for label in classes if not label or any(c.isspace() for c in label)]
    if spaced:
        raise InputError(f"--format kaggle separates classes by spaces, and this one has some: {some(spaced)}")


def _report(absent: Sequence[str], unread: Sequence[str], say: Callable[[str], object]) -> None:
    if absent:
        say(f"test.csv: {counted(len(absent), 'recording')} not there, answered with {NO_BIRD}: {some(absent)}")
    if unread:
        n_unread = counted(len(unread), "recording")
        say(f"test.csv: {n_unread} not read to the end, {NO_BIRD} from there on: {some(unread)}")
