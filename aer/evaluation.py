"""How good scores and events are: figures per class and over all of them, with intervals, and their report.

Intervals are percentiles of the bootstrap: recordings are drawn with replacement, all rows of one together, as windows
of a recording are alike. The definitions are scikit-learn's; they are written anew here for rows that count several
times, so that a thousand draws over hundreds of classes take minutes at most.
B rows (recordings or windows), C classes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata  # type: ignore[import-untyped]

from aer.event_metrics import Criterion, Events, Overlap, event_counts, f1_of, segment_counts
from aer.results import Event
from aer.text import some

Array = NDArray[Any]
Statistics = tuple[dict[str, float], dict[str, Array]]  # over all classes; per class (C,)

PADDING_ROWS = 5  # BirdCLEF 2023's
MIN_RECORDINGS = 5  # an interval from fewer says nothing
INTERVAL_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Figure:
    """A figure and its 95% interval. NaN: nothing to count; interval None: too few recordings."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Figures:
    """What an evaluation found."""

    title: str
    classes: tuple[str, ...]
    n_recordings: int
    n_known: tuple[int, ...]  # (C,) rows or events with the class
    overall: dict[str, Figure]
    per_class: dict[str, tuple[Figure, ...]]  # by the figure's name, (C,)
    notes: tuple[str, ...]  # a line each: what did not count, and why


def evaluate_scores(
    targets: ArrayLike,
    scores: ArrayLike,
    thresholds: ArrayLike,
    classes: Sequence[str],
    recordings: ArrayLike | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> Figures:
    """Figures of targets (B, C) bool and scores (B, C) in [0, 1], at thresholds (C,).

    `recordings` (B,) says which rows belong together; None: each is a recording. Overall: "mAP", "cmAP" (see
    `padded_average_precision`), "ROC-AUC", "lwlrap", "macro F1", "micro F1"; per class: "AP", "ROC-AUC", "lwlrap",
    "F1". Means leave out classes for which a figure is not defined: no positive (AP, lwlrap), not both kinds
    (ROC-AUC), neither known nor found (F1). Raises ValueError for shapes that do not match, NaN and scores beyond.
    """
    rows = _Rows(np.asarray(targets, bool), np.asarray(scores, np.float64), np.asarray(thresholds, np.float64))
    n_rows, n_classes = rows.scores.shape
    if n_classes != len(classes):
        raise ValueError(f"{len(classes)} classes for scores {rows.scores.shape}")
    names, group = np.unique(np.arange(n_rows) if recordings is None else np.asarray(recordings), return_inverse=True)
    if group.shape != (n_rows,):
        raise ValueError(f"recordings {group.shape} for scores {rows.scores.shape}")
    n_known: Array = rows.targets.sum(axis=0)
    unseen = [label for label, count in zip(classes, n_known.tolist(), strict=True) if not count]
    lines = list(notes)
    if unseen:
        lines.append(f"no positive for {len(unseen)} of {n_classes} classes, so no AP, ROC-AUC, lwlrap: {some(unseen)}")
    return _figures(
        f"scores of {n_rows} {'recordings' if recordings is None else f'windows of {len(names)} recordings'}",
        classes,
        n_known,
        lambda weights: rows.statistics(weights[group]),
        len(names),
        n_draws,
        seed,
        lines,
    )


def evaluate_events(
    known: Events,
    found: Events,
    durations_s: Mapping[str, float],
    classes: Sequence[str],
    criterion: Criterion | None = None,
    segment_s: float = 1.0,
    n_draws: int = 1000,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> Figures:
    """Event-based and segment-based F1 (`aer.event_metrics`) over the recordings of `durations_s`.

    A duration of 0 s is one that is not known: of a recording that can't be read, whose known events are then missed.
    Overall and per class: "event F1", "segment F1" and what they are made of, "event precision", "event recall";
    overall, these are of all classes' events together (micro), and "macro ..." are means over classes.
    """
    chosen = criterion or Overlap()
    events = event_counts(known, found, durations_s, classes, chosen)
    segments = segment_counts(known, found, durations_s, classes, segment_s)
    late = sum(_late(event, durations_s[name]) for name, listed in known.items() for event in listed)
    strange = sorted({event.label for listed in known.values() for event in listed} - set(classes))
    lines = [f"an event is found by {chosen} (largest number of pairs); segments of {segment_s:g} s", *notes]
    if late:
        lines.append(f"{late} known events start after the end of their recording: they count as missed")
    if strange:
        lines.append(f"known events of other classes, not counted: {some(strange)}")

    def statistics(weights: Array) -> Statistics:
        by_events = np.tensordot(weights, events, 1)
        by_segments = np.tensordot(weights, segments, 1)
        return _f1_statistics(by_events, by_segments)

    title = f"events in {len(durations_s)} recordings"
    n_known = events[..., 2].sum(axis=0)
    return _figures(title, classes, n_known, statistics, len(durations_s), n_draws, seed, lines)


def padded_average_precision(targets: Array, scores: Array) -> Array:
    """BirdCLEF 2023's average precision (C,): five rows more, in which each class is present with score 1.

    Classes without positives then have one too, instead of none; its mean over all classes is cmAP.
    """
    return _Rows(targets, scores, np.zeros(targets.shape[1])).padded.average_precision(np.ones(len(targets)))


def label_ranking_precisions(targets: Array, scores: Array) -> Array:
    """For each label of each row, the share of labels among the classes that score as high: (B, C), 0 for no label.

    lwlrap (DCASE 2019, task 2) is their mean over all labels; a class's is the mean over its labels.
    """
    rank = rankdata(-scores, "max", axis=1)
    among = np.where(targets, -scores, np.inf)  # labels first: their ranks are those among labels
    hits = rankdata(among, "max", axis=1)
    return np.where(targets, hits / rank, 0)


class _Ranking:
    """Rows ordered by score, class by class, for rows that count several times. Equal scores are one step."""

    def __init__(self, targets: Array, scores: Array):
        order = np.argsort(-scores, axis=0, kind="stable")
        ranked = np.take_along_axis(scores, order, axis=0)
        place = np.arange(len(scores))[:, None]
        new = np.ones(ranked.shape, bool)
        new[1:] = ranked[1:] != ranked[:-1]
        last = np.ones(ranked.shape, bool)
        last[:-1] = new[1:]
        self.order = order
        self.present = np.take_along_axis(targets, order, axis=0)
        self.first = np.maximum.accumulate(np.where(new, place, 0), axis=0)  # of the rows with an equal score
        self.last = np.minimum.accumulate(np.where(last, place, len(scores))[::-1], axis=0)[::-1]

    def curves(self, weights: Array) -> tuple[Array, Array, Array]:
        """Weights of the positives in order (B, C), and cumulated ones of positives and all (B + 1, C), from 0 on."""
        ordered = weights[self.order]
        hits = ordered * self.present
        start = np.zeros((1, hits.shape[1]))
        return hits, np.vstack([start, hits.cumsum(axis=0)]), np.vstack([start, ordered.cumsum(axis=0)])

    def average_precision(self, weights: Array) -> Array:
        """(C,), NaN without positives."""
        hits, positives, found = self.curves(weights)
        precision = _ratio(positives, found)
        reached = np.take_along_axis(precision, self.last + 1, axis=0)
        return _ratio((hits * np.where(hits > 0, reached, 0)).sum(axis=0), positives[-1])

    def roc_auc(self, weights: Array) -> Array:
        """(C,), NaN without positives or without negatives."""
        hits, positives, found = self.curves(weights)
        negatives = found - positives
        # negatives of the same score are half below
        above = (np.take_along_axis(negatives, self.first, 0) + np.take_along_axis(negatives, self.last + 1, 0)) / 2
        return _ratio((hits * (negatives[-1] - above)).sum(axis=0), positives[-1] * negatives[-1])


class _Rows:
    """Everything about rows that does not depend on how often each counts."""

    def __init__(self, targets: Array, scores: Array, thresholds: Array):
        if scores.ndim != 2 or targets.shape != scores.shape or thresholds.shape != scores.shape[1:]:
            shapes = f"targets {targets.shape}, scores {scores.shape} and thresholds {thresholds.shape}"
            raise ValueError(f"{shapes} do not match")
        if not (len(scores) and np.all((scores >= 0) & (scores <= 1))):
            raise ValueError("scores must lie between 0 and 1, and there are none, or some are NaN or beyond")
        self.targets, self.scores = targets, scores
        self.found = scores >= thresholds
        self.ranking = _Ranking(targets, scores)
        padding = np.ones((PADDING_ROWS, scores.shape[1]))
        self.padded = _Padded(np.vstack([targets, padding > 0]), np.vstack([scores, padding]))
        self.label_precisions = label_ranking_precisions(targets, scores)

    def statistics(self, weights: Array) -> Statistics:
        """Of rows that count so many times: weights (B,)."""
        hits, found, known = (weights @ counted for counted in (self.targets & self.found, self.found, self.targets))
        counts = np.stack([hits, found, known], axis=-1)
        precisions = self.ranking.average_precision(weights)
        aucs = self.ranking.roc_auc(weights)
        label_sums = weights @ self.label_precisions
        overall = {
            "mAP": _mean(precisions),
            "cmAP": _mean(self.padded.average_precision(weights)),
            "ROC-AUC": _mean(aucs),
            "lwlrap": float(_ratio(label_sums.sum(), known.sum())),
            "macro F1": _mean(f1_of(counts)),
            "micro F1": float(f1_of(counts.sum(axis=0))),
        }
        per_class = {"AP": precisions, "ROC-AUC": aucs, "lwlrap": _ratio(label_sums, known), "F1": f1_of(counts)}
        return overall, per_class


class _Padded(_Ranking):
    """With the padding as the last rows, each of which counts once."""

    def average_precision(self, weights: Array) -> Array:
        return super().average_precision(np.concatenate([weights, np.ones(PADDING_ROWS)]))


def _f1_statistics(events: Array, segments: Array) -> Statistics:
    """From counts (C, 3) of events and of segments."""

    def of(counts: Array, segment: Array) -> dict[str, Array]:
        return {
            "event F1": f1_of(counts),
            "event precision": _ratio(counts[..., 0], counts[..., 1]),
            "event recall": _ratio(counts[..., 0], counts[..., 2]),
            "segment F1": f1_of(segment),
        }

    per_class = of(events, segments)
    overall = {name: float(value) for name, value in of(events.sum(axis=0), segments.sum(axis=0)).items()}
    macro = {f"macro {name}": _mean(per_class[name]) for name in ("event F1", "segment F1")}
    return overall | macro, per_class


def _figures(
    title: str,
    classes: Sequence[str],
    n_known: Array,
    statistics: Callable[[Array], Statistics],
    n_recordings: int,
    n_draws: int,
    seed: int,
    notes: Sequence[str],
) -> Figures:
    """`statistics` of all recordings, with the intervals that draws from them give."""
    overall, per_class = statistics(np.ones(n_recordings))
    drawn: list[Statistics] = []
    lines = list(notes)
    if n_recordings < MIN_RECORDINGS:
        lines.append(f"no intervals: {n_recordings} recordings, {MIN_RECORDINGS} are needed")
    else:
        drawn = [statistics(weights) for weights in _draws(n_recordings, n_draws, seed)]
    return Figures(
        title,
        tuple(classes),
        n_recordings,
        tuple(int(count) for count in n_known),
        {name: Figure(value, _interval([draw[0][name] for draw in drawn])) for name, value in overall.items()},
        {
            name: tuple(
                Figure(float(value), _interval([draw[1][name][c] for draw in drawn])) for c, value in enumerate(values)
            )
            for name, values in per_class.items()
        },
        tuple(lines),
    )


def _draws(n_recordings: int, n_draws: int, seed: int) -> Iterator[Array]:
    """How often each recording is drawn, (N,), when N are drawn with replacement."""
    random = np.random.default_rng(seed)
    for _ in range(n_draws):
        yield np.bincount(random.integers(n_recordings, size=n_recordings), minlength=n_recordings).astype(float)


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Of the draws in which the figure is defined; None without any."""
    defined = np.array([value for value in values if not np.isnan(value)])
    if not defined.size:
        return None
    low, high = np.percentile(defined, INTERVAL_PERCENTILES)
    return float(low), float(high)


def _late(event: Event, duration_s: float) -> bool:
    return 0 < duration_s <= event.start_s


def _mean(values: Array) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _ratio(parts: Any, wholes: Any) -> Array:
    """NaN where the whole is 0."""
    whole = np.asarray(wholes, np.float64)
    ratio: Array = np.divide(parts, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio
