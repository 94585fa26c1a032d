"""From scores over time to events: when a class begins and ends to sound.

T frames, C classes, W windows; scores are float32 in [0, 1].
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aer.inference.results import Event

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EventRules:
    """What counts as an event. Times in seconds."""

    # share of the threshold down to which an event that has begun continues
    hysteresis: float = 0.8
    # events of a class that are less than this apart are one
    merge_gap_s: float = 0.2
    # shorter events are left out
    min_duration_s: float = 0.1


@dataclass(frozen=True)
class Span:
    """An event of a class over the frames from `begin` to before `end`."""

    class_index: int
    begin: int
    end: int
    peak: float


class FrameTimeline:
    """Joins the frames of overlapping windows; the mean where windows overlap. Holds no more than a window's."""

    def __init__(self, n_classes: int, hop_samples: int):
        self.hop_samples = hop_samples
        # index of the frame that `sums` begins with
        self.first = 0
        self.sums = np.zeros((0, n_classes), dtype=np.float64)
        self.counts = np.zeros(0, dtype=np.int64)

    def add(self, start: int, frames: Scores) -> Scores:
        """Add the frames (T, C) of a window that begins at sample `start`; return those that no later one can change.

        Windows come in the order of their starts. Frame k of a window stands k hops after its start.
        """
        begin = round(start / self.hop_samples)
        # a window that is centred over a short recording begins before it
        frames = frames[max(-begin, 0) :]
        begin = max(begin, 0)
        done = self._take(begin - self.first)
        missing = begin + len(frames) - self.first - len(self.sums)
        if missing > 0:
            self.sums = np.concatenate([self.sums, np.zeros((missing, self.sums.shape[1]))])
            self.counts = np.concatenate([self.counts, np.zeros(missing, dtype=np.int64)])
        inside = slice(begin - self.first, begin - self.first + len(frames))
        self.sums[inside] += frames
        self.counts[inside] += 1
        return done

    def finish(self, n_samples: int) -> Scores:
        """Return the frames (T, C) that are left, up to the end of a recording of `n_samples`."""
        return self._take(math.ceil(n_samples / self.hop_samples) - self.first)

    def _take(self, n_frames: int) -> Scores:
        n_frames = min(max(n_frames, 0), len(self.sums))
        done = self.sums[:n_frames] / np.maximum(self.counts[:n_frames], 1)[:, None]
        self.sums, self.counts = self.sums[n_frames:], self.counts[n_frames:]
        self.first += n_frames
        return done.astype(np.float32)


class EventTracker:
    """Finds events in frames that come piece by piece; where the pieces begin makes no difference.

    A class is on from a frame that reaches its threshold, together with the frames around it that reach `hysteresis`
    times the threshold. Gaps are closed before short events are left out.
    """

    def __init__(self, thresholds: npt.NDArray[np.float64], rules: EventRules, frame_s: float):
        self.high = thresholds
        # it stays infinite for classes that are never reported
        self.low = np.full_like(thresholds, np.inf)
        np.multiply(thresholds, rules.hysteresis, out=self.low, where=np.isfinite(thresholds))
        self.rules = rules
        self.frame_s = frame_s
        # index of the frame that comes next
        self.first = 0
        # class -> first frame and peak of a run that may continue
        self.open: dict[int, tuple[int, float]] = {}
        # class -> an event that a later one may lengthen
        self.waiting: dict[int, Span] = {}
        self.found: list[Span] = []

    def add(self, frames: Scores) -> None:
        """Take the frames (T, C) that follow those of the last call."""
        if not len(frames):
            return
        on = frames >= self.low
        for class_index in np.flatnonzero(on.any(axis=0)).tolist():
            self._add_class(class_index, on[:, class_index], frames[:, class_index])
        for class_index in [class_index for class_index in self.open if not on[:, class_index].any()]:
            self._close(class_index, self.first)
        self.first += len(frames)

    def _add_class(self, class_index: int, on: npt.NDArray[np.bool_], scores: Scores) -> None:
        if class_index in self.open and not on[0]:
            self._close(class_index, self.first)
        edges = np.diff(on.astype(np.int8), prepend=0, append=0)
        for begin, end in zip(np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist(), strict=True):
            peak = float(scores[begin:end].max())
            before = self.open.get(class_index) if begin == 0 else None
            self.open[class_index] = (self.first + begin, peak) if before is None else (before[0], max(before[1], peak))
            if end < len(on):
                self._close(class_index, self.first + end)

    def _close(self, class_index: int, end: int) -> None:
        begin, peak = self.open.pop(class_index)
        if peak < self.high[class_index]:
            return
        span = Span(class_index, begin, end, peak)
        before = self.waiting.get(class_index)
        if before is not None and (begin - before.end) * self.frame_s < self.rules.merge_gap_s:
            span = Span(class_index, before.begin, end, max(before.peak, peak))
        elif before is not None:
            self._keep(before)
        self.waiting[class_index] = span

    def _keep(self, span: Span) -> None:
        if (span.end - span.begin) * self.frame_s >= self.rules.min_duration_s:
            self.found.append(span)

    def finish(self) -> list[Span]:
        """Return all events, by their start, then by class. No frames can be added after that."""
        for class_index in list(self.open):
            self._close(class_index, self.first)
        for span in self.waiting.values():
            self._keep(span)
        self.waiting = {}
        return sorted(self.found, key=lambda span: (span.begin, span.class_index))


def window_spans(scores: Scores, thresholds: npt.NDArray[np.float64]) -> Iterator[tuple[int, int, float]]:
    """Yield (window, class, score) for each of the scores (W, C) that reaches its class's threshold, in that order."""
    for window, class_index in np.argwhere(scores >= thresholds).tolist():
        yield window, class_index, float(scores[window, class_index])


def as_events(
    spans: Sequence[tuple[float, float, int, float]],
    classes: Sequence[str],
    probabilities: Sequence[float | None],
    duration_s: float,
) -> tuple[Event, ...]:
    """Return events from spans (start in s, end in s, class, score), limited to the recording."""
    return tuple(
        Event(max(start_s, 0.0), min(end_s, duration_s), classes[class_index], score, probability)
        for (start_s, end_s, class_index, score), probability in zip(spans, probabilities, strict=True)
    )
