"""How good scores are: figures per class and over all classes, with intervals.

Intervals are percentiles of the bootstrap: recordings are drawn with replacement, all rows of one together, as windows
of a recording are alike. The definitions are scikit-learn's; they are written anew here for rows that count several
times, so that a thousand draws over hundreds of classes take minutes at most.
B rows (recordings or windows), C classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata  # type: ignore[import-untyped]

from aer.evaluation.bootstrap import Array, Figures, Statistics, mean_of_defined, ratio, with_intervals
from aer.evaluation.event_metrics import f1_of
from aer.utils.text import counted, some

# as in BirdCLEF 2023
PADDING_ROWS = 5


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
    """Return figures of targets (B, C) bool and scores (B, C) in [0, 1], at thresholds (C,).

    `recordings` (B,) says which rows belong together; None: each is a recording. Overall: "mAP", "cmAP" (BirdCLEF
    2023's: five rows more, in which every class is present with score 1, so that each has a positive), "ROC-AUC",
    "lwlrap", "macro F1", "micro F1"; per class: "AP", "ROC-AUC", "lwlrap", "F1". Means leave out classes for which a
    figure is not defined: no positive (AP, lwlrap), not both kinds (ROC-AUC), neither known nor found (F1).
    Intervals come from `n_draws` draws of the recordings, by `seed`; `notes` are lines to begin those of the figures.
    Raise ValueError for shapes that do not match, for NaN, and for scores outside [0, 1].
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
    of = counted(len(names), "recording")
    return with_intervals(
        f"scores of {of}" if recordings is None else f"scores of {counted(n_rows, 'window')} of {of}",
        classes,
        n_known,
        lambda weights: rows.statistics(weights[group]),
        len(names),
        n_draws,
        seed,
        lines,
    )


def label_ranking_precisions(targets: Array, scores: Array) -> Array:
    """Return for each label of each row the share of labels among the classes that score as high: (B, C), else 0.

    Targets are bool (B, C). Label-weighted label-ranking average precision (lwlrap; DCASE 2019, task 2) is the mean of
    the shares over all labels; that of a class is the mean over its labels.
    """
    rank = rankdata(-scores, "max", axis=1)
    # labels first: their ranks are those among labels
    among = np.where(targets, -scores, np.inf)
    hits = rankdata(among, "max", axis=1)
    return np.where(targets, hits / rank, 0)


class _Ranking:
    """Rows ordered by score, class by class, for rows that count several times.

    Rows with the same score are one step of the ranking: a threshold finds all of them or none. The K positives of all
    classes stand one after the other, by class and then from the highest score down; of each is kept at which position
    of its class's ranking its step begins (`first`) and ends (`end`, exclusive), and the same among the K positives.
    What depends on how often rows count is then a difference of cumulative sums. Three rows of one class, of which the
    first two are positives:

    >>> targets, scores = np.array([[True], [True], [False]]), np.array([[0.5], [0.9], [0.5]])
    >>> ranking = _Ranking(targets, scores)
    >>> ranking.order.tolist(), ranking.rows.tolist()  # all rows from the highest score down; the positives
    ([[1, 0, 2]], [1, 0])
    >>> ranking.first.tolist(), ranking.end.tolist()  # row 1 is a step of its own, row 0 shares one with row 2
    ([0, 1], [1, 3])
    >>> ranking.first_positive.tolist(), ranking.end_positive.tolist()
    ([0, 1], [1, 2])

    Precision is 1 of 1 at row 1 and 2 of 3 at row 0: on average 5/6; padded with 5 rows on top, (1 + 5) / (1 + 5) and
    (2 + 5) / (3 + 5) together. Of the pairs of a positive with the negative row 2, row 1 is above it, and row 0 ties:

    >>> precision, padded, auc = ranking.of(np.array([1, 1, 1]))
    >>> precision.round(3).tolist(), padded.tolist(), auc.tolist()
    ([0.833], [1.875], [0.75])

    A draw that has row 0 twice and row 2 never has three positives and no negative:

    >>> precision, padded, auc = ranking.of(np.array([2, 1, 0]))
    >>> precision.tolist(), padded.tolist(), auc.tolist()
    ([1.0], [3.0], [nan])
    """

    def __init__(self, targets: Array, scores: Array):
        n_rows, self.n_classes = scores.shape
        # (C, B): rows from the highest score down
        self.order = np.argsort(-scores.T, axis=1, kind="stable")
        ranked = np.take_along_axis(scores.T, self.order, axis=1)
        # (K,): class, position in the ranking of the class, and row of each positive
        self.classes, positions = np.nonzero(np.take_along_axis(targets.T, self.order, axis=1))
        self.rows = self.order[self.classes, positions]
        # (C, B + 1): where a step begins; the end counts as a begin
        begins = np.ones((self.n_classes, n_rows + 1), bool)
        begins[:, 1:-1] = ranked[:, 1:] != ranked[:, :-1]
        every = np.arange(n_rows + 1)
        # the last begin at or before each position, and the first at or after it
        first = np.maximum.accumulate(np.where(begins, every, 0), axis=1)
        end = np.minimum.accumulate(np.where(begins, every, n_rows)[:, ::-1], axis=1)[:, ::-1]
        self.first, self.end = first[self.classes, positions], end[self.classes, positions + 1]
        # the same among the positives, which are ordered by class and step
        steps = self.classes * (n_rows + 1) + self.first
        self.first_positive, self.end_positive = (np.searchsorted(steps, steps, side) for side in ("left", "right"))
        self.class_start = np.searchsorted(self.classes, np.arange(self.n_classes))[self.classes]

    def of(self, weights: Array) -> tuple[Array, Array, Array]:
        """Return figures of rows that count so many times: weights (B,).

        They are average precision, the sum of the positives' precisions with the padding of BirdCLEF (but for those of
        its own rows), and ROC-AUC, each (C,). NaN without positives (for ROC-AUC also without negatives); the sum is 0
        then.
        """
        found = np.zeros((self.n_classes, len(weights) + 1))
        np.cumsum(weights[self.order], axis=1, out=found[:, 1:])
        weight = weights[self.rows]
        positives = np.concatenate([[0.0], np.cumsum(weight)])
        hits_before = positives[self.first_positive] - positives[self.class_start]
        hits = positives[self.end_positive] - positives[self.class_start]
        found_before, found_till = found[self.classes, self.first], found[self.classes, self.end]
        total = self._sum(weight)
        negatives = weights.sum() - total
        # negatives above each positive; of those with the same score, half
        above = (found_before - hits_before + found_till - hits) / 2
        precision = np.divide(hits, found_till, out=np.zeros_like(hits), where=found_till > 0)
        padded = (hits + PADDING_ROWS) / (found_till + PADDING_ROWS)
        pairs = self._sum(weight * (negatives[self.classes] - above))
        return ratio(self._sum(weight * precision), total), self._sum(weight * padded), ratio(pairs, total * negatives)

    def _sum(self, values: Array) -> Array:
        """Return the sum of the positives' values (K,) for each class (C,)."""
        return np.bincount(self.classes, values, self.n_classes)


class _Rows:
    """What does not depend on how often each row counts. Raise ValueError as `evaluate_scores` does."""

    def __init__(self, targets: Array, scores: Array, thresholds: Array):
        if scores.ndim != 2 or targets.shape != scores.shape or thresholds.shape != scores.shape[1:]:
            shapes = f"targets {targets.shape}, scores {scores.shape} and thresholds {thresholds.shape}"
            raise ValueError(f"{shapes} do not match")
        if not (len(scores) and np.all((scores >= 0) & (scores <= 1))):
            raise ValueError("scores must lie between 0 and 1, and there are none, or some are NaN or beyond")
        self.targets, self.scores = targets, scores
        self.ranking = _Ranking(targets, scores)
        found, top = scores >= thresholds, scores == 1
        columns = [targets & found, found, targets, label_ranking_precisions(targets, scores), targets & top, top]
        # (B, 6 C): what is summed over rows
        self.columns = np.stack(columns, axis=1).astype(np.float64).reshape(len(scores), -1)

    def statistics(self, weights: Array) -> Statistics:
        """Return the figures of rows that count so many times: weights (B,)."""
        sums = (weights @ self.columns).reshape(6, -1)
        known, labels, top_hits, top = sums[2:]
        f1 = f1_of(np.moveaxis(sums[:3], 0, -1))
        precisions, padded, aucs = self.ranking.of(weights)
        # the rows of the padding themselves share the top with what scores 1
        padding = PADDING_ROWS * (top_hits + PADDING_ROWS) / (top + PADDING_ROWS)
        overall = {
            "mAP": mean_of_defined(precisions),
            "cmAP": mean_of_defined((padded + padding) / (known + PADDING_ROWS)),
            "ROC-AUC": mean_of_defined(aucs),
            "lwlrap": float(ratio(labels.sum(), known.sum())),
            "macro F1": mean_of_defined(f1),
            "micro F1": float(f1_of(sums[:3].sum(axis=1))),
        }
        return overall, {"AP": precisions, "ROC-AUC": aucs, "lwlrap": ratio(labels, known), "F1": f1}
