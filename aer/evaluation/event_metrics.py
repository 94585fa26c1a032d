"""How many of the known events of recordings are found. N recordings, C classes, R known events, F found ones.

Why not `sed_eval` or `psds_eval`: the last release of `sed_eval` is of 2018, has no wheel and brings dcase_util with
some forty packages (librosa, numba, pydot-ng, python-magic); that of `psds_eval` is of 2022, brings pytest and answers
another question (a curve over thresholds). What is needed of them is below; `Collar` is the rule of `sed_eval`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import csr_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import maximum_bipartite_matching  # type: ignore[import-untyped]

from aer.evaluation.bootstrap import Array, Figures, Statistics, mean_of_defined, ratio, with_intervals
from aer.inference.results import Event
from aer.utils.text import counted, some

# events by the name of their recording
Events = Mapping[str, Sequence[Event]]

# tolerance: 2.2 - 2 is more than 0.2 in floating point
ROUNDING_S = 1e-9
# how far a known event may end after its recording: listeners round
BEYOND_S = 1.0


class Criterion(Protocol):
    """Which found events may stand for which known ones of the same class."""

    def __str__(self) -> str:
        """Return the rule in words, for the notes."""

    def pairs(self, known: Array, found: Array) -> Array:
        """Return which may be a pair, bool (R, F), from starts and ends in s, (R, 2) and (F, 2)."""


@dataclass(frozen=True)
class Overlap:
    """The time that both share is at least `iou` of the time that either covers.

    This with 0.3 is how DCASE's task on bioacoustic events (task 5, from 2021 on) counts, and the default here: a
    frame of PANNs is 0.32 s long, so that the usual 0.2 s collar would ask for more than the model can say.
    """

    iou: float = 0.3

    def __str__(self) -> str:
        return f"an overlap of at least {self.iou:g} of the time that either covers"

    def pairs(self, known: Array, found: Array) -> Array:
        """Return which may be a pair by the time they share: bool (R, F)."""
        starts, ends = np.maximum(known[:, None, 0], found[:, 0]), np.minimum(known[:, None, 1], found[:, 1])
        shared = np.maximum(ends - starts, 0)
        union = (known[:, 1] - known[:, 0])[:, None] + (found[:, 1] - found[:, 0]) - shared
        matched: Array = (shared > 0) & (shared >= self.iou * union - ROUNDING_S)
        return matched


@dataclass(frozen=True)
class Collar:
    """The starts are at most `collar_s` apart, and the ends at most that or `length_share` of the known event's length.

    `sed_eval`'s rule and its defaults.
    """

    collar_s: float = 0.2
    length_share: float = 0.5

    def __str__(self) -> str:
        return f"a start within {self.collar_s:g} s, end within that or {self.length_share:g} of the length"

    def pairs(self, known: Array, found: Array) -> Array:
        """Return which may be a pair by their starts and ends: bool (R, F)."""
        # (R, F, 2)
        apart = np.abs(known[:, None] - found)
        for_end = np.maximum(self.collar_s, self.length_share * (known[:, 1] - known[:, 0]))
        matched: Array = (apart[..., 0] <= self.collar_s + ROUNDING_S) & (
            apart[..., 1] <= for_end[:, None] + ROUNDING_S
        )
        return matched


BY_OVERLAP = Overlap()


def event_counts(
    known: Events,
    found: Events,
    durations_s: Mapping[str, float],
    classes: Sequence[str],
    criterion: Criterion = BY_OVERLAP,
) -> Array:
    """Return events per recording of `durations_s` and class, int (N, C, 3): found and known (hits), found, known.

    The hits are the largest number of pairs in which every event stands once (maximum matching: what is counted does
    not depend on the order of the events). Known events of other classes are not counted. Raise ValueError for found
    ones of other classes, and for recordings without duration.
    """
    counts = np.zeros((len(durations_s), len(classes), 3), np.int64)
    for n, c, spans, found_spans in _by_class(known, found, durations_s, classes):
        hits = 0
        if len(spans) and len(found_spans):
            pairs = csr_array(criterion.pairs(spans, found_spans))
            hits = int((maximum_bipartite_matching(pairs) >= 0).sum())
        counts[n, c] = hits, len(found_spans), len(spans)
    return counts


def segment_counts(
    known: Events, found: Events, durations_s: Mapping[str, float], classes: Sequence[str], segment_s: float = 1.0
) -> Array:
    """Return segments per recording of `durations_s` and class, int (N, C, 3): found and known (hits), found, known.

    A recording is cut into segments of `segment_s` from 0 on; a class is in all segments that one of its events
    touches (`sed_eval`'s segment-based metrics). Otherwise as `event_counts`.
    """
    counts = np.zeros((len(durations_s), len(classes), 3), np.int64)
    for n, c, spans, found_spans in _by_class(known, found, durations_s, classes):
        wanted, given = _segments(spans, segment_s), _segments(found_spans, segment_s)
        counts[n, c] = len(wanted & given), len(given), len(wanted)
    return counts


def f1_of(counts: Array) -> Array:
    """Return F1 (...) of counts (..., 3): hits, found, known. NaN where nothing is known nor found."""
    sizes = counts[..., 1] + counts[..., 2]
    f1: Array = np.divide(2 * counts[..., 0], sizes, out=np.full(sizes.shape, np.nan), where=sizes > 0)
    return f1


def _by_class(
    known: Events, found: Events, durations_s: Mapping[str, float], classes: Sequence[str]
) -> Iterable[tuple[int, int, Array, Array]]:
    """Yield (recording, class, known spans (R, 2), found spans (F, 2)), in s, where there are any.

    Spans are limited to the recording where its length is known: padded windows reach beyond it, and so do some known
    events; those that begin after its end stay as they are, and are missed.
    """
    strange = sorted({event.label for events in found.values() for event in events} - set(classes))
    lost = sorted({*known, *found} - set(durations_s))
    if strange or lost:
        raise ValueError(f"found events of other classes ({strange}) or recordings without a duration ({lost})")
    for n, (name, duration_s) in enumerate(durations_s.items()):
        wanted, given = _spans(known.get(name, ())), _spans(found.get(name, ()))
        for c, label in enumerate(classes):
            if label in wanted or label in given:
                spans, found_spans = (events.get(label, np.zeros((0, 2))) for events in (wanted, given))
                if duration_s > 0:
                    found_spans = np.clip(found_spans, 0, duration_s)
                    inside = spans[:, :1] < duration_s
                    spans = np.where(inside, np.minimum(spans, duration_s), spans)
                yield n, c, spans, found_spans


def _spans(events: Sequence[Event]) -> dict[str, Array]:
    """Return starts and ends in s (events, 2) by label."""
    labels = {event.label for event in events}
    return {label: np.array([(e.start_s, e.end_s) for e in events if e.label == label]) for label in labels}


def _segments(spans: Array, segment_s: float) -> set[int]:
    """Return the indices of the segments that the spans touch."""
    firsts = np.floor((spans[:, 0] + ROUNDING_S) / segment_s).astype(int)
    ends = np.ceil((spans[:, 1] - ROUNDING_S) / segment_s).astype(int)
    return {segment for first, end in zip(firsts, ends, strict=True) for segment in range(first, end)}


def evaluate_events(
    known: Events,
    found: Events,
    durations_s: Mapping[str, float],
    classes: Sequence[str],
    criterion: Criterion = BY_OVERLAP,
    segment_s: float = 1.0,
    n_draws: int = 1000,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> Figures:
    """Return event-based and segment-based F1 over the recordings of `durations_s`.

    A duration of 0 s is one that is not known: of a recording that can't be read, whose known events are then missed.
    Overall and per class: "event F1", "segment F1" and what they are made of, "event precision", "event recall";
    overall, these are of all classes' events together (micro), and "macro ..." are means over classes.
    Raise ValueError as `event_counts` does.
    """
    events = event_counts(known, found, durations_s, classes, criterion)
    segments = segment_counts(known, found, durations_s, classes, segment_s)
    beyond = [_beyond(event, durations_s[name]) for name, listed in known.items() for event in listed]
    late, long = beyond.count("starts"), beyond.count("ends")
    strange = sorted({event.label for listed in known.values() for event in listed} - set(classes))
    lines = [f"an event is found by {criterion} (largest number of pairs); segments of {segment_s:g} s", *notes]
    if late:
        lines.append(f"known events after the end of their recording, which count as missed: {late}")
    if long:
        lines.append(f"known events that end more than {BEYOND_S:g} s after their recording, and are cut there: {long}")
    if strange:
        lines.append(f"known events of other classes, not counted: {some(strange)}")

    def statistics(weights: Array) -> Statistics:
        by_events = np.tensordot(weights, events, 1)
        by_segments = np.tensordot(weights, segments, 1)
        return _f1_statistics(by_events, by_segments)

    title = f"events in {counted(len(durations_s), 'recording')}"
    n_known = events[..., 2].sum(axis=0)
    return with_intervals(title, classes, n_known, statistics, len(durations_s), n_draws, seed, lines)


def _f1_statistics(events: Array, segments: Array) -> Statistics:
    """Return the figures of counts (C, 3) of events and of segments."""

    def of(counts: Array, segment: Array) -> dict[str, Array]:
        return {
            "event F1": f1_of(counts),
            "event precision": ratio(counts[..., 0], counts[..., 1]),
            "event recall": ratio(counts[..., 0], counts[..., 2]),
            "segment F1": f1_of(segment),
        }

    per_class = of(events, segments)
    overall = {name: float(value) for name, value in of(events.sum(axis=0), segments.sum(axis=0)).items()}
    macro = {f"macro {name}": mean_of_defined(per_class[name]) for name in ("event F1", "segment F1")}
    return overall | macro, per_class


def _beyond(event: Event, duration_s: float) -> str:
    """Return what of an event lies after the recording's end: "starts", "ends" or ""; "" where that is not known."""
    if not duration_s:
        return ""
    return "starts" if event.start_s >= duration_s else "ends" if event.end_s > duration_s + BEYOND_S else ""
