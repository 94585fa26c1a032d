"""`folds.csv` and `left_out.csv` of a run: which recording is in which fold, and what was left out."""

import csv
import io
from pathlib import Path

import pandas as pd

from aer.corpus.discovery import Corpus
from aer.corpus.folds import Split
from aer.errors import InputError
from aer.utils.csv_files import csv_path, csv_text
from aer.utils.text import as_bytes, some

FOLDS_HEADER = ["path", "labels", "fold", "side", "duration_s", "sample_rate"]
LEFT_OUT_HEADER = ["path", "reason"]

# groups of columns in which a recording can differ from what it was, each with what is said of it
_CHANGES = {
    "with other labels": ("labels",),
    "in another fold": ("fold", "side"),
    "of another length or sample rate": ("duration_s", "sample_rate"),
}


def folds_csv(corpus: Corpus, split: Split) -> str:
    """Return `folds.csv` as text: each recording's labels and fold, its side in this run, and what its header says."""
    valid = set(split.valid)
    rows = [
        (
            csv_path(recording.path),
            ";".join(map(csv_text, recording.labels)),
            fold,
            "valid" if i in valid else "train",
            f"{recording.duration_s:.6f}",
            recording.sample_rate,
        )
        for i, (recording, fold) in enumerate(zip(corpus.recordings, split.folds, strict=True))
    ]
    return pd.DataFrame(rows, columns=FOLDS_HEADER).to_csv(index=False)


def left_out_csv(corpus: Corpus) -> str:
    """Return `left_out.csv` as text: all that was left out, and why."""
    rows = [(csv_path(path), csv_text(reason)) for path, reason in corpus.left_out]
    return pd.DataFrame(rows, columns=LEFT_OUT_HEADER).to_csv(index=False)


def compare_folds(path: Path, folds_csv: str) -> str:
    """Return what has changed since a run's `folds.csv` was written, with up to three recordings' names, or "".

    Raise InputError if the file is gone or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {error.strerror}; without it nobody knows what the run was trained on: --fresh "
            "starts a new one beside it"
        ) from error
    if content == as_bytes(folds_csv):
        return ""
    before = _read_rows(path, content.decode("utf-8", errors="surrogateescape"))
    now = _read_rows(path, folds_csv)
    changed = {
        "gone or unreadable": [name for name in before if name not in now],
        "new": [name for name in now if name not in before],
    }
    both = [name for name in now if name in before]
    for what, columns in _CHANGES.items():
        changed[what] = [name for name in both if any(before[name][column] != now[name][column] for column in columns)]
    lines = [f"{len(names)} {what} ({some(names)})" for what, names in changed.items() if names]
    return ", ".join(lines) or "their order"


def _read_rows(path: Path, text: str) -> dict[str, dict[str, str | None]]:
    """Return each recording's row, by its path; raise InputError if the table, named `path`, lacks a column."""
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        return {row["path"]: {column: row[column] for column in FOLDS_HEADER} for row in rows}
    except (csv.Error, KeyError) as error:
        raise InputError(f"{path} is damaged: {error}; --fresh starts a new run beside it") from error
