"""Per class: the score from which it counts as present, and the probability that a score stands for.

Both come from the scores of windows that the model was not trained on. Pure functions of arrays: no randomness, the
order of the rows does not matter. N windows, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field, TypeAdapter
from scipy.special import expit, logit  # type: ignore[import-untyped]
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

Array = NDArray[Any]
Unit = Annotated[float, Field(ge=0, le=1)]

# with the class, and without it: below that nothing is fitted
MIN_RECORDINGS = 5
# with the class: isotonic regression has too much freedom for fewer
MIN_RECORDINGS_ISOTONIC = 50
# of the cross-validation that chooses a calibration
N_FOLDS = 5
# scores are taken as this far from 0 and 1 at least: float32 sigmoids reach both, logits can't
SATURATED = 1e-7
PERCENTS = np.arange(1, 101) / 100


@dataclass(frozen=True)
class Platt:
    """The probability is sigmoid(slope * logit(score) + intercept) (Platt 1999)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False, extra="forbid")
    slope: Annotated[float, Field(ge=0)]
    intercept: float
    kind: Literal["platt"] = "platt"


@dataclass(frozen=True)
class Isotonic:
    """The probability is that of the neighbouring points, on the line between them, and of the last one beyond."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False, extra="forbid")
    scores: tuple[Unit, ...]
    probabilities: tuple[Unit, ...]
    kind: Literal["isotonic"] = "isotonic"

    def __post_init__(self) -> None:
        if not self.scores or len(self.scores) != len(self.probabilities):
            raise ValueError(f"{len(self.scores)} scores for {len(self.probabilities)} probabilities")
        if np.any(np.diff(self.scores) <= 0) or np.any(np.diff(self.probabilities) < 0):
            raise ValueError("the scores or the probabilities do not rise")


@dataclass(frozen=True)
class ClassThresholds:
    """What validation says about one class. A class is present in a window whose score is >= the threshold."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False, extra="forbid")
    # recordings with the class
    n_positive: Annotated[int, Field(ge=0)]
    # the threshold with the best F1 of windows; None: `note` says why
    best_f1: Unit | None
    # at that threshold
    f1: Unit | None
    # (threshold, precision, recall) of windows by rising threshold: for each precision in whole percents that is
    # reached at all, the lowest threshold that reaches it
    curve: tuple[tuple[Unit, Unit, Unit], ...]
    # None: `note` says why
    calibration: Annotated[Platt | Isotonic, Field(discriminator="kind")] | None
    note: str


_ADAPTER = TypeAdapter(ClassThresholds)


def fit(targets: ArrayLike, scores: ArrayLike, recordings: ArrayLike) -> list[ClassThresholds]:
    """Return the thresholds of the C classes, from targets (N, C) bool, scores (N, C) in [0, 1], recordings (N,) int.

    `recordings` says which windows belong together: those of one are no independent evidence, so they count once where
    it matters whether there is enough, and are in the same fold of the calibration's cross-validation.
    Raise ValueError for NaN, for scores outside of [0, 1] and for shapes that do not match.
    """
    present, values, groups = np.asarray(targets, bool), _checked(scores), np.asarray(recordings)
    if values.ndim != 2 or present.shape != values.shape or groups.shape != values.shape[:1]:
        raise ValueError(f"targets {present.shape}, scores {values.shape} and recordings {groups.shape} do not match")
    return [_fit_class(present[:, c], values[:, c], groups) for c in range(values.shape[1])]


def at_precision(entry: ClassThresholds, precision: float) -> float | None:
    """Return the lowest threshold at which `precision` (0 to 1) is reached, so the one with the highest recall.

    Exact for whole percents; between them it may be the one for the next percent. None if no threshold reaches it.
    """
    return next((threshold for threshold, reached, _ in entry.curve if reached >= precision), None)


def probability(entry: ClassThresholds, scores: ArrayLike) -> NDArray[np.float64] | None:
    """Return how probable the class is at scores in [0, 1] (any shape); None without a calibration.

    Never falls where the score rises. Raise ValueError for NaN and for scores outside of [0, 1].
    """
    values = _checked(scores)
    return None if entry.calibration is None else _calibrated(entry.calibration, values)


def to_dict(entry: ClassThresholds) -> dict[str, Any]:
    """Return the entry as JSON can hold it."""
    dumped: dict[str, Any] = _ADAPTER.dump_python(entry, mode="json")
    return dumped


def from_dict(data: Mapping[str, Any]) -> ClassThresholds:
    """Return the entry that `to_dict` was given. Raise ValueError (pydantic's, several lines) for anything else."""
    return _ADAPTER.validate_python(dict(data))


def _checked(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the scores as float64; raise ValueError for those outside of [0, 1] and for NaN, which is neither."""
    values = np.asarray(scores, np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("scores must lie between 0 and 1, and some are NaN or beyond")
    return values


def _fit_class(targets: Array, scores: Array, recordings: Array) -> ClassThresholds:
    """Return the thresholds of one class, from targets, scores and recordings (N,)."""
    n_positive, n_negative = len(np.unique(recordings[targets])), len(np.unique(recordings[~targets]))
    reason = _why_not(n_positive, n_negative) or _why_useless(targets, scores)
    if reason:
        return ClassThresholds(n_positive, None, None, (), None, reason)
    # sums are then the same whatever the order of the rows was
    order = np.lexsort((scores, targets, recordings))
    targets, scores, recordings = targets[order], scores[order], recordings[order]
    thresholds, precision, recall, f1 = _staircase(targets, scores)
    # of equal ones the highest threshold
    best = int(f1.argmax())
    # the last point that reaches it is the one with the lowest threshold
    reached = {int(np.flatnonzero(precision >= wanted)[-1]) for wanted in PERCENTS if (precision >= wanted).any()}
    curve = tuple((float(thresholds[k]), float(precision[k]), float(recall[k])) for k in sorted(reached, reverse=True))
    calibration = _calibrate(targets, scores, recordings, n_positive)
    note = "" if calibration else "no probability: its logits are on average no higher in windows with it"
    return ClassThresholds(n_positive, float(thresholds[best]), float(f1[best]), curve, calibration, note)


def _why_not(n_positive: int, n_negative: int) -> str:
    """Return why there is too little for a threshold; "" if there is enough."""
    for count, kind in ((n_positive, "with"), (n_negative, "without")):
        if count < MIN_RECORDINGS:
            return f"{count} validation recordings {kind} it, {MIN_RECORDINGS} are needed for a threshold"
    return ""


def _why_useless(targets: Array, scores: Array) -> str:
    """Return why scores say nothing about a class (the best F1 would be that of finding it everywhere), else ""."""
    if scores.min() == scores.max():
        return "all its scores are the same"
    if roc_auc_score(targets, scores) <= 0.5:
        return "its scores are no higher in windows with it than in those without"
    return ""


def _staircase(targets: Array, scores: Array) -> tuple[Array, Array, Array, Array]:
    """Return falling thresholds (D,) between the D distinct scores, with precision, recall and F1 (D,) at each."""
    distinct, index = np.unique(scores, return_inverse=True)
    n_found = np.cumsum(np.bincount(index)[::-1])
    n_hits = np.cumsum(np.bincount(index, weights=targets)[::-1])
    n_targets = targets.sum()
    f1 = 2 * n_hits / (n_found + n_targets)
    return _midway(distinct)[::-1], n_hits / n_found, n_hits / n_targets, f1


def _midway(distinct: Array) -> Array:
    """Return a threshold below each of the rising scores (D,) and above the one before (0 for the first): midway.

    A threshold that equals a score would be brittle: another batch size or processor moves scores by 1e-7, and those
    windows change sides.
    """
    below = np.concatenate([[0.0], distinct[:-1]])
    # numpy compares float32 scores with the threshold's nearest float32: that is taken, so that all compare alike
    middle = (below + (distinct - below) / 2).astype(np.float32).astype(np.float64)
    return np.where((middle > below) & (middle <= distinct), middle, distinct)


def _calibrate(targets: Array, scores: Array, recordings: Array, n_positive: int) -> Platt | Isotonic | None:
    """Return the calibration with the lower cross-validated log loss; None if Platt's slope would be negative.

    `n_positive`: recordings with the class.
    """
    platt = _fit_platt(targets, scores)
    if platt is None or n_positive < MIN_RECORDINGS_ISOTONIC:
        return platt
    folds = _folds(targets, recordings)
    losses = {"platt": 0.0, "isotonic": 0.0}
    for fold in range(N_FOLDS):
        inside, outside = folds != fold, folds == fold
        fitted = _fit_platt(targets[inside], scores[inside])
        for calibration in (fitted or platt, _fit_isotonic(targets[inside], scores[inside])):
            predicted = _calibrated(calibration, scores[outside])
            losses[calibration.kind] += float(
                log_loss(targets[outside], predicted, normalize=False, labels=[False, True])
            )
    return _fit_isotonic(targets, scores) if losses["isotonic"] < losses["platt"] else platt


def _folds(targets: Array, recordings: Array) -> Array:
    """Return the fold (N,) of each window: recordings are dealt out in turn by number, those with the class first."""
    positive = np.unique(recordings[targets])
    negative = np.setdiff1d(recordings, positive)
    dealt = np.concatenate([positive, negative])
    by_number = np.argsort(dealt)
    folds: Array = by_number[np.searchsorted(dealt[by_number], recordings)] % N_FOLDS
    return folds


def _logits(scores: Array) -> Array:
    values: Array = logit(np.clip(scores, SATURATED, 1 - SATURATED))
    return values


def _fit_platt(targets: Array, scores: Array) -> Platt | None:
    """Fit logistic regression on the logit of the score, with scikit-learn's weak L2 term, which bounds the slope.

    Return None if the slope is negative.
    """
    model = LogisticRegression(solver="newton-cholesky").fit(_logits(scores)[:, None], targets)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return Platt(slope, intercept) if slope > 0 else None


def _fit_isotonic(targets: Array, scores: Array) -> Isotonic:
    """Fit isotonic regression that is never more certain than its number of windows allows (Laplace's rule)."""
    rest = 1 / (len(scores) + 2)
    model = IsotonicRegression(y_min=rest, y_max=1 - rest).fit(scores, targets)
    return Isotonic(tuple(model.X_thresholds_.tolist()), tuple(model.y_thresholds_.tolist()))


def _calibrated(calibration: Platt | Isotonic, scores: Array) -> NDArray[np.float64]:
    """Return the probabilities of scores."""
    if isinstance(calibration, Isotonic):
        values: NDArray[np.float64] = np.interp(scores, calibration.scores, calibration.probabilities)
    else:
        values = expit(calibration.slope * _logits(scores) + calibration.intercept)
    return np.clip(values, 0, 1)
