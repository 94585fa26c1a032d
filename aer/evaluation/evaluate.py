"""How good a trained model is on recordings that it has not been trained on: `aer evaluate`.

On a corpus, a recording's score is the mean (or the maximum, as in training) of its windows' and its labels are the
truth. On soundscapes with known events, the events found are compared with them, and the windows with what lies in
them.
"""

import json
import os
from csv import reader
from pathlib import Path
from typing import Any

import numpy as np

from aer.corpus.discovery import find_corpus
from aer.errors import AerError, InputError
from aer.evaluation.bootstrap import Array, Figures
from aer.evaluation.event_metrics import BY_OVERLAP, Criterion, evaluate_events
from aer.evaluation.ground_truth import label_targets, of_recordings, read_events, window_targets
from aer.evaluation.score_metrics import evaluate_scores
from aer.inference import predict
from aer.inference.plan import Work
from aer.inference.recordings import Recording, find_recordings
from aer.inference.results import FileResult
from aer.utils.files import write_whole
from aer.utils.text import as_bytes, counted, printable, some

EVENTS, AUDIO, REPORT = "events.csv", "test_audio", "evaluation.json"


def evaluate(
    work: Work,
    place: Path,
    csv: Path | None,
    out: Path,
    batch_size: int,
    threads: int,
    n_draws: int,
    threshold: float | None = None,
    criterion: Criterion = BY_OVERLAP,
) -> list[Figures]:
    """What the models of `work` are worth on the corpus or the soundscapes in `place`; their results go below `out`.

    `threshold`: of windows, for all classes; None: each class's own. `criterion`: which events count as found, on
    soundscapes. Soundscapes are a folder with `events.csv` (or
    `csv` with its columns) and recordings in it or in `test_audio`.
    Raises InputError where `place` is neither.
    """
    thresholds, _ = work.recogniser.thresholds_of("window", threshold, None)
    events = events_csv(place, csv)
    if events is not None:
        return _on_soundscapes(work, place, events, out, batch_size, threads, n_draws, thresholds, criterion)
    return [_on_corpus(work, place, csv, out, batch_size, threads, n_draws, thresholds)]


def events_csv(place: Path, csv: Path | None) -> Path | None:
    """The known events of soundscapes; None where this is a labelled corpus."""
    if csv is None:
        return place / EVENTS if (place / EVENTS).is_file() else None
    with csv.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return csv if {"audio_id", "start_s", "end_s"} <= set(next(reader(file), ())) else None


def _on_soundscapes(
    work: Work,
    place: Path,
    csv: Path,
    out: Path,
    batch_size: int,
    threads: int,
    n_draws: int,
    thresholds: Array,
    criterion: Criterion,
) -> list[Figures]:
    classes = work.recogniser.classes
    known = read_events(csv, classes)
    folder = place / AUDIO if (place / AUDIO).is_dir() else place
    recordings = find_recordings([folder])
    truth = of_recordings(known, [recording.name for recording in recordings], csv)
    results, *_ = predict.predict(recordings, work, out, batch_size, threads)
    notes = [truth.note] if truth.note else []
    found, durations_s, windows, scores = {}, {}, [], []
    for result in results:
        found[result.name], durations_s[result.name] = result.events, result.duration_s
        windows += [(result.name, start_s, start_s + result.window_s) for start_s in result.starts_s.tolist()]
        scores.append(result.scores)
        notes += _complaint(result)
    if not windows:
        raise AerError(f"none of the recordings in {printable(folder)} can be read; {notes[-1]}")
    by_events = evaluate_events(truth.events, found, durations_s, classes, criterion, n_draws=n_draws, notes=notes)
    by_windows = evaluate_scores(
        window_targets(truth.events, windows, classes),
        np.concatenate(scores),
        thresholds,
        classes,
        recordings=np.array([name for name, *_ in windows]),
        n_draws=n_draws,
    )
    return [by_events, by_windows]


def _on_corpus(
    work: Work, place: Path, csv: Path | None, out: Path, batch_size: int, threads: int, n_draws: int, thresholds: Array
) -> Figures:
    used = work.recogniser
    corpus = find_corpus(place, csv, None, used.bundles[0].background)
    top = os.path.abspath(place)  # noqa: PTH100 - links stay
    outside = [item.path for item in corpus.recordings if not Path(os.path.abspath(item.path)).is_relative_to(top)]  # noqa: PTH100
    if outside:
        raise InputError(f"csv {csv} has recordings that are not in {printable(place)}: {some(outside)}")
    targets, unknown = label_targets([recording.labels for recording in corpus.recordings], used.classes)
    if not targets.any():
        raise InputError(
            f"{printable(place)} has no class of the model's ({some(used.classes)}); it has {some(corpus.classes)}"
        )
    base = place.resolve()
    recordings = []
    for recording in corpus.recordings:
        path, status = recording.path.resolve(), recording.path.stat()
        name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix().lstrip("/")
        recordings.append(Recording(recording.path, name, status.st_size, status.st_mtime_ns))
    results, *_ = predict.predict(recordings, work, out, batch_size, threads)
    how = used.bundles[0].settings.clip_score
    notes = [f"a recording's score is the {how} of its windows'"]
    for label, count in sorted(unknown.items()):
        of = f"the label {printable(label)} of {counted(count, 'recording')}"
        notes.append(f"{of} is none of the model's: what it finds there instead counts as wrong")
    notes += [f"left out: {printable(path)}: {printable(reason)}" for path, reason in corpus.left_out]
    rows, scores = [], []
    for row, result in enumerate(results):
        notes += _complaint(result)
        if result.status == "ok":
            rows.append(row)
            scores.append(result.scores.mean(axis=0) if how == "mean" else result.scores.max(axis=0))
    if not rows:
        raise AerError(f"none of the recordings in {printable(place)} can be read; {notes[-1]}")
    return evaluate_scores(targets[rows], np.array(scores), thresholds, used.classes, n_draws=n_draws, notes=notes)


def _complaint(result: FileResult) -> list[str]:
    return [] if result.status == "ok" else [f"{printable(result.name)}: {result.status}: {printable(result.reason)}"]


def write_report(path: Path, told: list[dict[str, Any]]) -> None:
    """The figures as JSON."""
    content = as_bytes(json.dumps(told, indent=1) + "\n")
    write_whole(path, lambda file: file.write(content), "make room, and the same command goes on")
