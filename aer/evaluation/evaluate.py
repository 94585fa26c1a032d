"""How good a trained model is on recordings that it has not been trained on: `aer evaluate`.

On a corpus, a recording's score is the mean (or the maximum, as in training) of its windows' and its labels are the
ground truth. On soundscapes with known events, the events found are compared with them, and the windows with what lies
in them.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from csv import reader
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aer.corpus.discovery import Corpus, find_corpus
from aer.errors import AerError, InputError
from aer.evaluation.annotated import Annotated, annotated
from aer.evaluation.bootstrap import Array, Figures
from aer.evaluation.event_metrics import BY_OVERLAP, Criterion, evaluate_events
from aer.evaluation.ground_truth import label_targets, of_recordings, read_events, window_targets
from aer.evaluation.score_metrics import evaluate_scores
from aer.inference.plan import Plan
from aer.inference.predict import predict
from aer.inference.recordings import Recording, find_recordings, no_audio_line
from aer.inference.results import FileResult
from aer.utils.files import write_whole
from aer.utils.text import as_bytes, counted, printable, some

EVENTS, AUDIO, REPORT = "events.csv", "test_audio", "evaluation.json"


@dataclass(frozen=True)
class Evaluation:
    """What a model is to be evaluated on, and how."""

    # a corpus; or soundscapes, with recordings in it or in its `test_audio`
    folder: Path
    # lists the corpus, or the known events; None: what the folder has
    csv: Path | None
    # folder for the results of recognition
    out: Path
    batch_size: int
    # for decoding
    threads: int
    # draws of recordings, for the intervals
    n_draws: int = 1000
    # for windows of all classes; None: each class's own
    threshold: float | None = None
    # which events count as found, on soundscapes
    criterion: Criterion = BY_OVERLAP
    # known events instead of `csv`'s: a table of another program, or a folder of them
    annotations: Path | None = None
    # of `annotations`; None: found by its name
    label_column: str | None = None


def evaluate(plan: Plan, evaluation: Evaluation) -> list[Figures]:
    """Return the figures of the models of `plan`: of events and of windows on soundscapes, of recordings on a corpus.

    Raise InputError where the folder is neither, and AerError where none of the recordings can be read.
    """
    events = None if evaluation.annotations else events_csv(evaluation.folder, evaluation.csv)
    if events is not None or evaluation.annotations is not None:
        return _on_soundscapes(plan, evaluation, events)
    return [_on_corpus(plan, evaluation)]


def events_csv(folder: Path, csv: Path | None) -> Path | None:
    """Return the CSV of known events of soundscapes; None where this is a labelled corpus."""
    if csv is None:
        return folder / EVENTS if (folder / EVENTS).is_file() else None
    with csv.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return csv if {"audio_id", "start_s", "end_s"} <= set(next(reader(file), ())) else None


def write_report(path: Path, figures: Sequence[dict[str, Any]]) -> None:
    """Write figures, as `report` gives them, as JSON. Raise AerError where that can't be done."""
    content = as_bytes(json.dumps(figures, indent=1) + "\n")
    write_whole(path, lambda file: file.write(content), "make room, and the same command goes on")


def _on_soundscapes(plan: Plan, evaluation: Evaluation, csv: Path | None) -> list[Figures]:
    classes = plan.recogniser.classes
    thresholds = _window_thresholds(plan, evaluation)
    folder = evaluation.folder / AUDIO if (evaluation.folder / AUDIO).is_dir() else evaluation.folder
    known = _known_events(evaluation, csv, folder, classes)
    truth = known.truth
    results, _ = predict(known.recordings, plan, evaluation.out, evaluation.batch_size, evaluation.threads)
    notes = [*known.notes, *([truth.note] if truth.note else [])]
    found, durations_s, windows, scores = {}, {}, [], []
    for result in results:
        found[result.name], durations_s[result.name] = result.events, result.duration_s
        windows += [(result.name, start_s, start_s + result.window_s) for start_s in result.starts_s.tolist()]
        scores.append(result.scores)
        notes += _trouble(result)
    if not windows:
        raise AerError(f"none of the recordings in {printable(folder)} can be read; {notes[-1]}")
    by_events = evaluate_events(
        truth.events, found, durations_s, classes, evaluation.criterion, n_draws=evaluation.n_draws, notes=notes
    )
    by_windows = evaluate_scores(
        window_targets(truth.events, windows, classes),
        np.concatenate(scores),
        thresholds,
        classes,
        recordings=np.array([name for name, *_ in windows]),
        n_draws=evaluation.n_draws,
    )
    return [by_events, by_windows]


def _known_events(evaluation: Evaluation, csv: Path | None, folder: Path, classes: Sequence[str]) -> Annotated:
    """Return the events of the annotations or, if there are none, of the CSV, with the recordings to look at."""
    no_audio: Counter[str] = Counter()
    recordings = find_recordings([folder], no_audio)
    passed_over = tuple(filter(None, [no_audio_line(no_audio)]))
    if evaluation.annotations is not None:
        known = annotated(evaluation.annotations, evaluation.label_column, recordings, classes)
        return replace(known, notes=(*known.notes, *passed_over))
    assert csv is not None
    truth = read_events(csv, classes)
    names = [recording.name for recording in recordings]
    return Annotated(of_recordings(truth, names, csv), tuple(recordings), passed_over)


def _on_corpus(plan: Plan, evaluation: Evaluation) -> Figures:
    used, folder = plan.recogniser, evaluation.folder
    thresholds = _window_thresholds(plan, evaluation)
    corpus = find_corpus(folder, evaluation.csv, None, used.bundles[0].background, plan.channels)
    _check_inside(corpus, evaluation)
    targets, unknown = label_targets([recording.labels for recording in corpus.recordings], used.classes)
    if not targets.any():
        raise InputError(
            f"{printable(folder)} has no class of the model's ({some(used.classes)}); it has {some(corpus.classes)}"
        )
    recordings = _to_recognise(corpus, folder)
    results, _ = predict(recordings, plan, evaluation.out, evaluation.batch_size, evaluation.threads)
    how = used.bundles[0].settings.clip_score
    notes = [f"a recording's score is the {how} of its windows'"]
    for label, count in sorted(unknown.items()):
        of = f"the label {printable(label)} of {counted(count, 'recording')}"
        notes.append(f"{of} is none of the model's: what it finds there instead counts as wrong")
    notes += [f"left out: {printable(path)}: {printable(reason)}" for path, reason in corpus.left_out]
    rows, scores = [], []
    for row, result in enumerate(results):
        notes += _trouble(result)
        if result.status == "ok":
            rows.append(row)
            scores.append(result.scores.mean(axis=0) if how == "mean" else result.scores.max(axis=0))
    if not rows:
        raise AerError(f"none of the recordings in {printable(folder)} can be read; {notes[-1]}")
    return evaluate_scores(
        targets[rows], np.array(scores), thresholds, used.classes, n_draws=evaluation.n_draws, notes=notes
    )


def _window_thresholds(plan: Plan, evaluation: Evaluation) -> Array:
    """Return the threshold of each class (C,) for scores of windows, also where events are found by frames."""
    thresholds, _ = plan.recogniser.thresholds_of("window", evaluation.threshold, None)
    return thresholds


def _check_inside(corpus: Corpus, evaluation: Evaluation) -> None:
    """Raise InputError where the CSV names recordings outside the folder."""
    # links stay
    top = os.path.abspath(evaluation.folder)  # noqa: PTH100
    outside = [item.path for item in corpus.recordings if not Path(os.path.abspath(item.path)).is_relative_to(top)]  # noqa: PTH100
    if outside:
        where = printable(evaluation.folder)
        raise InputError(f"csv {evaluation.csv} has recordings that are not in {where}: {some(outside)}")


def _to_recognise(corpus: Corpus, folder: Path) -> list[Recording]:
    """Return the recordings of a corpus, in its order, by their names below the folder."""
    base = folder.resolve()
    recordings = []
    for recording in corpus.recordings:
        path, status = recording.path.resolve(), recording.path.stat()
        name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix().lstrip("/")
        recordings.append(Recording(recording.path, name, status.st_size, status.st_mtime_ns))
    return recordings


def _trouble(result: FileResult) -> list[str]:
    """Return a note on a recording that was not read from its first to its last sample; none for others."""
    return [] if result.status == "ok" else [f"{printable(result.name)}: {result.status}: {printable(result.reason)}"]
