"""Which recordings are held out for validation, and the report on the corpus that a run begins with."""

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from aer.corpus.discovery import Corpus
from aer.errors import InputError
from aer.settings import Settings
from aer.utils.text import near_matches, printable

# the numbers of the folds where groups are held out by name
TRAINING, VALIDATION = 0, 1


@dataclass(frozen=True)
class Split:
    """The two sides, as indices into `Corpus.recordings`.

    `folds` has the fold of every recording, `notes` what a user should know of the sides, a line each.
    """

    train: tuple[int, ...]
    valid: tuple[int, ...]
    folds: tuple[int, ...]
    notes: tuple[str, ...]


def split(corpus: Corpus, settings: Settings) -> Split:
    """Return the recordings to train on and those held out: `validation_groups` by name, or else fold number `fold`.

    Raise InputError for an unknown group, folds that can't be made, and an empty side.
    """
    if settings.validation_groups:
        folds, held_out = _by_name(corpus, settings.validation_groups), VALIDATION
    else:
        folds, held_out = (
            assign_folds(corpus, settings.n_folds, settings.fold_seed, grouped=settings.group_by is not None),
            settings.fold,
        )
    valid = tuple(np.flatnonzero(folds == held_out).tolist())
    train = tuple(np.flatnonzero(folds != held_out).tolist())
    if not valid or not train:
        raise InputError(f"fold {held_out} leaves {len(train)} recordings to train on and {len(valid)} to validate on")
    notes = _notes(corpus, train, valid, settings.n_folds if not settings.validation_groups else None)
    return Split(train, valid, tuple(folds.tolist()), tuple(notes))


def assign_folds(corpus: Corpus, n_folds: int, seed: int, grouped: bool) -> NDArray[np.int64]:
    """Return the fold (recordings,) of each recording, from 0 to n_folds - 1: stratified by class.

    If `grouped`, recordings of the same group are in the same fold. A recording with several labels counts for the
    rarest of them; those without labels count as a class. The same seed gives the same folds (scikit-learn's
    StratifiedKFold or StratifiedGroupKFold). Raise InputError where there are fewer groups, recordings or recordings of
    the largest class than folds.
    """
    groups = [recording.group for recording in corpus.recordings] if grouped else None
    n_groups = len(set(groups)) if groups is not None else len(corpus.recordings)
    if n_groups < n_folds:
        raise InputError(
            f"n_folds {n_folds} is more than the {n_groups} {'groups' if grouped else 'recordings'} there are"
        )
    counts = class_counts(corpus)
    strata = [
        min(recording.labels, key=lambda label: (counts[label], label), default="") for recording in corpus.recordings
    ]
    largest = max(Counter(strata).values())
    if largest < n_folds:
        raise InputError(f"n_folds {n_folds} is more than the {largest} recordings of the largest class: lower it")
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    folds = np.zeros(len(strata), dtype=np.int64)
    with warnings.catch_warnings():
        # `_notes` reports small classes by name, where scikit-learn warns of the smallest only
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for number, (_, held_out) in enumerate(
            kind(n_folds, shuffle=True, random_state=seed).split(strata, strata, groups)
        ):
            folds[held_out] = number
    return folds


def _by_name(corpus: Corpus, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return (recordings,): VALIDATION for those of the named groups, TRAINING for all others."""
    groups = [recording.group or "" for recording in corpus.recordings]
    for name in names:
        if name not in groups:
            raise InputError(f"validation_groups: there is no {name!r}{near_matches(name, sorted(set(groups)))}")
    return np.where(np.isin(groups, names), VALIDATION, TRAINING)


def class_counts(corpus: Corpus) -> Counter[str]:
    """Return how many recordings there are of each class; one with several labels counts for each."""
    return Counter(label for recording in corpus.recordings for label in recording.labels)


def _notes(corpus: Corpus, train: tuple[int, ...], valid: tuple[int, ...], n_folds: int | None) -> list[str]:
    """Return a line for each side that lacks classes, and for classes smaller than `n_folds` (None: no folds)."""
    counts = class_counts(corpus)
    notes = []
    small = [name for name in corpus.classes if n_folds is not None and counts[name] < n_folds]
    if small:
        notes.append(f"fewer recordings than folds ({n_folds}), so absent from some: {_names(small)}")
    for side, indices in (("to train on", train), ("to validate on, so without a score", valid)):
        present = {label for i in indices for label in corpus.recordings[i].labels}
        absent = [name for name in corpus.classes if name not in present]
        if absent:
            notes.append(f"no recording {side}: {_names(absent)}")
    return notes


def _names(names: list[str]) -> str:
    """Return the first eight names, and how many more there are."""
    return ", ".join(printable(name) for name in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def describe(corpus: Corpus, sides: Split) -> str:
    """Return the report for the console: size, classes, sample rates, the two sides, what is cut short or left out."""
    counts = class_counts(corpus)
    per_class = sorted((counts[name], name) for name in corpus.classes)
    sizes = np.array([count for count, _ in per_class])
    hours = sum(recording.duration_s for recording in corpus.recordings) / 3600
    rates = Counter(recording.sample_rate for recording in corpus.recordings)
    smallest = f"{sizes.min()} at least ({printable(per_class[0][1])})"
    largest = f"{sizes.max()} at most ({printable(per_class[-1][1])})"
    lines = [
        f"{len(corpus.recordings)} recordings, {hours:.2f} hours, {len(corpus.classes)} classes",
        f"recordings per class: {smallest}, {np.median(sizes):g} in the median, {largest}",
        "sample rates: " + ", ".join(f"{rate} Hz ({count})" for rate, count in rates.most_common(5)),
        *_background_lines(corpus),
        f"{len(sides.train)} to train on, {len(sides.valid)} held out for validation",
        *sides.notes,
    ]
    cut = [printable(path) for path, _ in corpus.cut_short]
    if cut:
        names = f"{', '.join(cut[:3])}{', ...' if len(cut) > 3 else ''}"
        lines.append(f"cut short {len(cut)}, used as far as they are there: {names}")
    for reason, count in Counter(reason for _, reason in corpus.left_out).most_common():
        files = [printable(path) for path, why in corpus.left_out if why == reason]
        lines.append(f"left out {count}, {printable(reason)}: {', '.join(files[:3])}{', ...' if count > 3 else ''}")
    return "\n".join(lines)


def _background_lines(corpus: Corpus) -> list[str]:
    if not corpus.n_unlabelled:
        return []
    name = f" ({printable(corpus.background)})" if corpus.background is not None else ""
    return [f"{corpus.n_unlabelled} recordings in which nothing is to be found{name}: they train as no class"]
