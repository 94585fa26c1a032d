"""Which column of a table is which, by their names."""

import functools
import re
from collections.abc import Sequence

RECORDING_COLUMNS = (
    *("begin path", "begin file", "path", "file", "filename", "file name", "filepath", "file path", "audio id"),
    *("audio", "audio file", "audio filename", "audio path", "audio filepath", "recording", "recording id"),
    *("recording name", "sound file", "sound files", "source file", "wav", "wav file", "wavfile", "notated path"),
    *("input", "clip", "clip name"),
)
START_COLUMNS = (
    *("start s", "start", "onset", "start time", "begin time", "begin", "begin s", "onset s", "event onset"),
    *("start seconds", "start sec", "start time s", "start time seconds", "time start", "t start", "t min"),
)
END_COLUMNS = (
    *("end s", "end", "offset", "end time", "stop", "stop time", "offset s", "event offset", "end seconds", "end sec"),
    *("end time s", "end time seconds", "time end", "t end", "t max", "stop s", "stop seconds"),
)
DURATION_COLUMNS = ("duration", "duration s", "delta time", "event duration", "length", "length s")
LABEL_COLUMNS = (
    *("manual id", "label", "labels", "annotation", "ebird code", "event label", "primary label", "species"),
    *("common name", "species name", "species code", "class", "class name", "class label", "category", "tag", "tags"),
    *(
        "tag 1",
        "sound type",
        "call type",
        "code",
        "taxon",
        "scientific name",
        "auto id",
        "top1match",
        "name",
        "species id",
    ),
)
LOW_COLUMNS = (
    "low freq",
    "low hz",
    "low frequency",
    "low frequency hertz",
    "low f",
    "freq min",
    "min freq",
    "f min",
    "min frequency",
)
HIGH_COLUMNS = (
    *("high freq", "high hz", "high frequency", "high frequency hertz", "high f", "freq max", "max freq", "f max"),
    "max frequency",
)


@functools.lru_cache(4096)
def plain_name(name: str) -> str:
    """Return a column's name without case, unit and kinds of blanks: `Begin Time (s)` and `begin_time` are the same."""
    folded = name.strip().strip("*").casefold()
    without_unit = re.sub(r"[(\[](s|sec|secs|seconds|hz)[)\]]\s*$", "", folded)
    return re.sub(r"[\s_.\-]+", " ", without_unit).strip()


def column_index(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the column with the first of `names` (plain ones) that the header has; None where it has none."""
    plain = [plain_name(name) for name in header]
    return next((plain.index(name) for name in names if name in plain), None)


def label_indices(header: Sequence[str], first: Sequence[str] = ()) -> list[int]:
    """Return the columns that may hold labels, the most likely first: those called `first`, then by LABEL_COLUMNS."""
    plain = [plain_name(name) for name in header]
    return [plain.index(name) for name in dict.fromkeys((*first, *LABEL_COLUMNS)) if name in plain]
