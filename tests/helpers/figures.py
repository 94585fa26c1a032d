"""Scores, events and figures that the tests of evaluation share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aer.evaluation.bootstrap import Figures
from aer.inference.results import Event

Array = NDArray[Any]
CLASSES = ("a", "b", "c", "d")


def scored(seed: int, n: int, classes: int = 4, step: float = 0.05) -> tuple[Array, Array]:
    """Return targets (n, classes) and scores with ties; each class has both kinds."""
    random = np.random.default_rng(seed)
    targets = random.random((n, classes)) < 0.3
    targets[0], targets[1] = True, False
    scores = 1 / (1 + np.exp(-random.normal(size=targets.shape) - 1.5 * targets + 1))
    return targets, np.clip((scores / step).round() * step, 0, 1)


def events(*spans: tuple[float, float, str]) -> tuple[Event, ...]:
    return tuple(Event(start_s, end_s, label, 1.0) for start_s, end_s, label in spans)


def value(figures: Figures, name: str) -> float:
    return figures.overall[name].value
