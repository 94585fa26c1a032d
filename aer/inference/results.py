"""The result of recognition for one recording. W windows, C classes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Status = Literal["ok", "partial", "failed", "empty"]


@dataclass(frozen=True)
class Event:
    """A class that sounds in a recording, from when to when."""

    start_s: float
    end_s: float
    label: str
    # the model's, 0 to 1
    score: float
    # calibrated; None where the class had too few examples for that
    probability: float | None = None


@dataclass(frozen=True)
class FileResult:
    """A recording's events and the scores of all its windows."""

    # as the outputs name it: below the folder that was given, with slashes
    name: str
    path: str
    status: Status
    # why it is not "ok", or what is odd about it; "" for most
    reason: str
    # 0 where that is not known
    duration_s: float
    # by start, then class
    events: tuple[Event, ...]
    classes: tuple[str, ...]
    window_s: float
    # (W,) starts of the windows; below 0 where a recording shorter than a window is centred
    starts_s: npt.NDArray[np.float64]
    # (W, C)
    scores: npt.NDArray[np.float32]
    # (W, 2048 x models)
    embeddings: npt.NDArray[np.float32] | None = None


def span(result: FileResult, event: Event) -> tuple[float, float]:
    """Return start and end in seconds, limited to the recording: a window may reach beyond its ends."""
    end_s = min(float(event.end_s), float(result.duration_s)) if result.duration_s > 0 else float(event.end_s)
    return max(0.0, float(event.start_s)), end_s
