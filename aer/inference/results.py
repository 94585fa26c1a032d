"""What recognition gives for one recording. W windows, C classes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Status = Literal["ok", "partial", "failed", "empty"]


@dataclass(frozen=True)
class Event:
    """A class that is heard, from when to when."""

    start_s: float
    end_s: float
    label: str
    score: float  # the model's, 0 to 1
    probability: float | None = None  # calibrated; None where the class had too few examples for that


@dataclass(frozen=True)
class FileResult:
    """A recording's events and the scores of all its windows."""

    name: str  # as the outputs name it: below the folder that was given, with slashes
    path: str
    status: Status
    reason: str  # why it is not "ok", or what is odd about it; "" for most
    duration_s: float  # 0 where that is not known
    events: tuple[Event, ...]  # by start, then class
    classes: tuple[str, ...]
    window_s: float
    starts_s: npt.NDArray[np.float64]  # (W,) of the windows; below 0 where a recording shorter than a window is centred
    scores: npt.NDArray[np.float32]  # (W, C)
    embeddings: npt.NDArray[np.float32] | None = None  # (W, 2048)


def span(result: FileResult, event: Event) -> tuple[float, float]:
    """Return start and end in seconds, limited to the recording: a window may reach beyond its ends."""
    end_s = min(float(event.end_s), float(result.duration_s)) if result.duration_s > 0 else float(event.end_s)
    return max(0.0, float(event.start_s)), end_s
