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


def folds_csv(corpus: Corpus, parts: Split) -> str:
    """Each recording as CSV text: path, labels, fold, the side that it is on in this run, and what its header says."""
    held_out = set(parts.valid)
    return pd.DataFrame(
        {
            "path": [csv_path(recording.path) for recording in corpus.recordings],
            "labels": [";".join(map(csv_text, recording.labels)) for recording in corpus.recordings],
            "fold": parts.folds,
            "side": ["valid" if i in held_out else "train" for i in range(len(corpus.recordings))],
            "duration_s": [f"{recording.duration_s:.6f}" for recording in corpus.recordings],
            "sample_rate": [recording.sample_rate for recording in corpus.recordings],
        }
    ).to_csv(index=False)


def left_out_csv(corpus: Corpus) -> str:
    """What was left out and why, all of it, as CSV text."""
    rows = [(csv_path(path), csv_text(reason)) for path, reason in corpus.left_out]
    return pd.DataFrame(rows, columns=["path", "reason"]).to_csv(index=False)


FOLDS_COLUMNS = ("labels", "fold", "side", "duration_s", "sample_rate")  # beside the path


def compare_folds(path: Path, folds_csv: str) -> str:
    """What has changed since a run's `folds.csv` was written, with up to three recordings' names; empty if nothing has.

    Raises InputError where the file is gone or damaged.
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
    was, now = _rows(path, content.decode("utf-8", errors="surrogateescape")), _rows(path, folds_csv)
    both = [name for name in now if name in was]
    kinds = {
        "gone or unreadable": [name for name in was if name not in now],
        "new": [name for name in now if name not in was],
        "with other labels": [name for name in both if was[name][0] != now[name][0]],
        "in another fold": [name for name in both if was[name][1:3] != now[name][1:3]],
        "of another length or sample rate": [name for name in both if was[name][3:] != now[name][3:]],
    }
    return ", ".join(f"{len(names)} {kind} ({some(names)})" for kind, names in kinds.items() if names) or "their order"


def _rows(path: Path, text: str) -> dict[str, tuple[str | None, ...]]:
    """Path -> the other columns."""
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        return {row["path"]: tuple(row[name] for name in FOLDS_COLUMNS) for row in rows}
    except (csv.Error, KeyError) as error:
        raise InputError(f"{path} is damaged: {error}; --fresh starts a new run beside it") from error
