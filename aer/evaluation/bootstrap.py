"""Figures with the intervals that resampling the recordings gives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aer.utils.text import counted

Array = NDArray[Any]
# by the figure's name: over all classes; per class (C,)
Statistics = tuple[dict[str, float], dict[str, Array]]

# an interval from fewer says nothing
MIN_RECORDINGS = 5
INTERVAL_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Figure:
    """A figure and its 95% interval. NaN: nothing to count; interval None: too few recordings."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Figures:
    """What an evaluation found. C classes."""

    title: str
    classes: tuple[str, ...]
    n_recordings: int
    # (C,) rows or events with the class
    n_known: tuple[int, ...]
    overall: dict[str, Figure]
    # by the figure's name, (C,)
    per_class: dict[str, tuple[Figure, ...]]
    # a line each: what did not count, and why
    notes: tuple[str, ...]


def with_intervals(
    title: str,
    classes: Sequence[str],
    n_known: Array,
    statistics: Callable[[Array], Statistics],
    n_recordings: int,
    n_draws: int,
    seed: int,
    notes: Sequence[str],
) -> Figures:
    """Return the figures of N = `n_recordings` recordings, with percentile intervals of the bootstrap (Efron 1979).

    `statistics` gives figures of recordings that count so many times each: weights (N,). They are asked for once with
    ones, and for `n_draws` draws of N recordings with replacement. `n_known`: rows or events with each class, (C,).
    """
    overall, per_class = statistics(np.ones(n_recordings))
    drawn: list[Statistics] = []
    lines = list(notes)
    if n_recordings < MIN_RECORDINGS:
        lines.append(f"no intervals: {counted(n_recordings, 'recording')}, {MIN_RECORDINGS} are needed")
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
    """Yield how often each recording is drawn, (N,), when N are drawn with replacement."""
    random = np.random.default_rng(seed)
    for _ in range(n_draws):
        yield np.bincount(random.integers(n_recordings, size=n_recordings), minlength=n_recordings).astype(float)


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval of the draws in which the figure is defined (not NaN); None without any."""
    defined = np.array([value for value in values if not np.isnan(value)])
    if not defined.size:
        return None
    low, high = np.percentile(defined, INTERVAL_PERCENTILES)
    return float(low), float(high)


def mean_of_defined(values: Array) -> float:
    """Return the mean of the values, of any shape, that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def ratio(parts: Any, wholes: Any) -> Array:
    """Return parts / wholes, arrays of the same shape; NaN where the whole is 0."""
    whole = np.asarray(wholes, np.float64)
    quotient: Array = np.divide(parts, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return quotient
