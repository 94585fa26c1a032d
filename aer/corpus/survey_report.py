"""Reports a survey as text, as a CSV and as a picture."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aer.corpus.discovery import Corpus
from aer.corpus.plots import plot_corpus
from aer.corpus.survey import CLIPPED_FROM, SILENT_BELOW_DBFS, Survey
from aer.utils.csv_files import csv_path, csv_text, write_csv
from aer.utils.files import write_whole
from aer.utils.text import printable

# files of a kind that are named on the console
MAX_NAMED = 5
ADVICE = "name another file, or make room"
NO_LABEL = "(no label)"
# of the CSV
COLUMNS = (
    "path",
    "labels",
    "duration_s",
    "sample_rate",
    "peak_dbfs",
    "rms_dbfs",
    "clipped_samples",
    "digest",
    "duplicate_of",
    "fold",
    "error",
    "notes",
)


def durations_by_class(corpus: Corpus) -> dict[str, list[float]]:
    """Return the durations (s) of the recordings of each class, shortest first; under "" those of unlabelled ones."""
    durations: dict[str, list[float]] = {name: [] for name in corpus.classes}
    for recording in corpus.recordings:
        for label in recording.labels or ("",):
            durations.setdefault(label, []).append(recording.duration_s)
    return {name: sorted(values) for name, values in durations.items()}


def describe(found: Survey, root: Path) -> str:
    """Return what was found as text for the console. Files have their names below `root`."""
    corpus = found.corpus
    hours = sum(recording.duration_s for recording in corpus.recordings) / 3600
    rates = Counter(recording.sample_rate for recording in corpus.recordings)
    names = [_name(recording.path, root) for recording in corpus.recordings]
    left_out = [f"{_name(path, root)}: {printable(reason)}" for path, reason in corpus.left_out]
    lines = [
        f"{len(names):,} clips, {hours:.2f} hours, {len(corpus.classes):,} classes",
        "sample rates: " + ", ".join(f"{rate} Hz ({count:,})" for rate, count in rates.most_common()),
        "",
        *_class_table(corpus),
        "",
        *_fold_table(found),
        "",
        *_listed("left out by training", left_out),
    ]
    partial = [f"{names[index]}: {printable(reason)}" for index, reason in found.partial.items()]
    lines += _listed("heard only in part", partial) if partial else []
    notes = [f"{names[index]}: {printable('; '.join(some))}" for index, some in found.notes.items()]
    lines += _listed("notes", notes) if notes else []
    if found.decode_s is None:
        return "\n".join([*lines, "not decoded (--quick): no word on duplicates, clipping and silence"])
    return "\n".join([*lines, *_decoded_lines(found, names), f"decoded in {found.decode_s:.1f} s"])


def _decoded_lines(found: Survey, names: Sequence[str]) -> list[str]:
    """Return the lines on what only decoding shows: broken files, duplicates, clipping and silence."""
    failed = [f"{names[index]}: {printable(reason)}" for index, reason in found.failed.items()]
    measured = [(name, level) for name, level in zip(names, found.levels, strict=True) if level is not None]
    clipping = [
        f"{name}: {level.clipped_samples:,} samples ({level.clipped_samples / level.n_samples:.2%})"
        for name, level in measured
        if level.clips
    ]
    silent = [
        f"{name}: {'digital silence' if level.rms_dbfs == -math.inf else f'{level.rms_dbfs:.1f} dBFS'}"
        for name, level in measured
        if level.is_silent
    ]
    return [
        *_listed("can't be decoded", failed),
        *_duplicate_lines(found, names),
        *_listed(f"clipping ({CLIPPED_FROM} samples or more at full scale beside another)", clipping),
        *_listed(f"near-silent (RMS below {SILENT_BELOW_DBFS:g} dBFS)", silent),
    ]


def _name(path: Path, root: Path) -> str:
    return printable(path.relative_to(root) if path.is_relative_to(root) else path)


def _listed(title: str, entries: Sequence[str]) -> list[str]:
    """Return the title with the count, the first MAX_NAMED entries, and how many more there are."""
    more = [f"  and {len(entries) - MAX_NAMED:,} more"] * (len(entries) > MAX_NAMED)
    return [
        f"{title}: {len(entries):,}" if entries else f"{title}: none",
        *(f"  {e}" for e in entries[:MAX_NAMED]),
        *more,
    ]


def _class_table(corpus: Corpus) -> list[str]:
    """Return a row per class with the durations of its clips."""
    rows = [("class", "clips", "minutes", "shortest", "median", "longest (s)")]
    for name, durations in durations_by_class(corpus).items():
        lengths = (durations[0], float(np.median(durations)), durations[-1])
        shortest, median, longest = (f"{seconds:.2f}" for seconds in lengths)
        count, minutes = f"{len(durations):,}", f"{sum(durations) / 60:.1f}"
        rows.append((printable(name) or NO_LABEL, count, minutes, shortest, median, longest))
    several = sum(len(recording.labels) > 1 for recording in corpus.recordings)
    return _aligned(rows) + [f"{several:,} clips have several labels and count for each"] * bool(several)


def _fold_table(found: Survey) -> list[str]:
    """Return a row per fold, or why there are no folds."""
    if found.folds is None:
        return [f"no folds: {printable(found.no_folds)}"]
    rows = [("fold", "clips", "minutes", "classes")]
    for fold in range(found.n_folds):
        inside = [r for r, number in zip(found.corpus.recordings, found.folds, strict=True) if number == fold]
        minutes = sum(recording.duration_s for recording in inside) / 60
        n_classes = len({label for recording in inside for label in recording.labels})
        rows.append((f"{fold}", f"{len(inside):,}", f"{minutes:.1f}", f"{n_classes}"))
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the rows in columns of text, the first one aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _duplicate_lines(found: Survey, names: Sequence[str]) -> list[str]:
    """Return a line per group of clips with the same audio; those that leak labels come first."""
    groups = sorted(
        found.duplicates, key=lambda group: (not found.across_classes(group), not found.across_folds(group))
    )
    entries = []
    for group in groups:
        leaks = []
        if found.across_classes(group):
            labels = {";".join(map(printable, found.corpus.recordings[i].labels)) or NO_LABEL for i in group}
            leaks.append(f"ACROSS CLASSES {', '.join(sorted(labels))}")
        if found.folds is not None and found.across_folds(group):
            leaks.append(f"ACROSS FOLDS {', '.join(map(str, sorted({found.folds[i] for i in group})))}")
        some = " = ".join(names[i] for i in group[:3]) + (f" = {len(group) - 3:,} more" if len(group) > 3 else "")
        entries.append(some + "".join(f"; {leak}" for leak in leaks))
    title, *lines = _listed("groups of clips with the same audio", entries)
    n_classes, n_folds = sum(map(found.across_classes, groups)), sum(map(found.across_folds, groups))
    if n_classes or n_folds:
        title += f"; LABEL LEAKAGE: {n_classes:,} across classes, {n_folds:,} across folds"
    return [title, *lines]


def write_details(found: Survey, csv: Path) -> None:
    """Write a CSV with a row per recording, then one for each file that training leaves out; what is unknown is empty.

    Raise AerError where it can't be written.
    """
    recordings = found.corpus.recordings
    first = {index: group[0] for group in found.duplicates for index in group[1:]}
    rows: list[tuple[object, ...]] = []
    for index, (recording, level) in enumerate(zip(recordings, found.levels, strict=True)):
        measured: tuple[object, ...] = ("",) * 4
        if level is not None:
            measured = (f"{level.peak_dbfs:.2f}", f"{level.rms_dbfs:.2f}", level.clipped_samples, level.digest)
        labels = ";".join(map(csv_text, recording.labels))
        header = (csv_path(recording.path), labels, f"{recording.duration_s:.6f}", recording.sample_rate)
        original = csv_path(recordings[first[index]].path) if index in first else ""
        fold = "" if found.folds is None else found.folds[index]
        notes = "; ".join(found.notes.get(index, ()))
        error = found.failed.get(index) or found.partial.get(index, "")
        rows.append((*header, *measured, original, fold, csv_text(error), csv_text(notes)))
    n_empty = len(COLUMNS) - 3
    rows += [(csv_path(path), *[""] * n_empty, csv_text(reason), "") for path, reason in found.corpus.left_out]
    write_csv(csv, COLUMNS, rows, ADVICE)


def write_plot(found: Survey, picture: Path) -> None:
    """Draw the classes and the durations into a PNG. Raise AerError where it can't be written."""
    by_class = {name or NO_LABEL: values for name, values in durations_by_class(found.corpus).items()}
    all_s = [recording.duration_s for recording in found.corpus.recordings]
    write_whole(picture, lambda file: plot_corpus(by_class, all_s, file), ADVICE)
