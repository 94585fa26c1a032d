"""Metrics over a whole validation fold, as pure functions of arrays. B recordings (or windows), C classes.

A class without any positive has no average precision, and one with neither a positive nor a prediction has no F1:
such classes are left out of the mean. When none is left the metric is NaN.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score

Array = NDArray[Any]


def clip_scores(scores: Array, clips: Array, how: Literal["mean", "max"]) -> tuple[Array, Array]:
    """Return the clips (N,), sorted, and their scores (N, C): the mean or maximum of their windows.

    `scores`: (B, C) of windows; `clips`: (B,) the clip of each.
    """
    order = np.argsort(clips, kind="stable")
    unique, starts = np.unique(clips[order], return_index=True)
    if how == "max":
        return unique, np.maximum.reduceat(scores[order], starts, axis=0)
    counts = np.diff(np.append(starts, len(clips)))
    sums = np.add.reduceat(scores[order].astype(np.float64), starts, axis=0)
    return unique, sums / counts[:, None]


def average_precisions(targets: Array, scores: Array) -> Array:
    """Return the average precision per class (C,), NaN for a class without positives. targets and scores: (B, C)."""
    return np.array(
        [
            average_precision_score(targets[:, c], scores[:, c]) if targets[:, c].any() else np.nan
            for c in range(targets.shape[1])
        ]
    )


def mean_average_precision(targets: Array, scores: Array) -> float:
    """Return the mean average precision over the classes that have positives. targets and scores: (B, C)."""
    return _mean(average_precisions(targets, scores))


def f1_scores(targets: Array, scores: Array, threshold: float) -> Array:
    """Return F1 per class (C,), with a class present where its score reaches the threshold; NaN where F1 is 0/0."""
    f1: Array = f1_score(targets, scores >= threshold, average=None, zero_division=np.nan)
    return f1


def macro_f1(targets: Array, scores: Array, threshold: float) -> float:
    """Return the mean of the classes' F1 scores. targets and scores: (B, C)."""
    return _mean(f1_scores(targets, scores, threshold))


def _mean(per_class: Array) -> float:
    """Return the mean over the classes that have a number."""
    known = per_class[~np.isnan(per_class)]
    return float(known.mean()) if known.size else float("nan")
