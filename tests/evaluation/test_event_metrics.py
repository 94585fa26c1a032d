"""Figures of events against brute force and numbers worked out by hand."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from helpers.figures import events, value
from hypothesis import given, settings
from hypothesis import strategies as st

from aer.evaluation.event_metrics import (
    Collar,
    Criterion,
    Overlap,
    evaluate_events,
    event_counts,
    f1_of,
    segment_counts,
)
from aer.evaluation.report import report


def test_events_by_hand() -> None:
    known = {"x": events((0, 2, "a"), (5, 6, "a"), (1, 3, "b")), "y": events((0, 1, "a"))}
    found = {"x": events((0.5, 2, "a"), (0, 1, "b"), (5.9, 9, "a")), "z": events((1, 2, "a"))}
    durations_s = {"x": 10.0, "y": 10.0, "z": 10.0}
    counts = event_counts(known, found, durations_s, "ab")
    # x: only the first a overlaps enough (1.5 of 2; 0.1 of 4); b only touches; y is missed; z is a false alarm
    assert counts.tolist() == [[[1, 2, 2], [0, 1, 1]], [[0, 0, 1], [0, 0, 0]], [[0, 1, 0], [0, 0, 0]]]
    np.testing.assert_allclose(f1_of(counts.sum(axis=0)), [2 / 6, 0])
    figures = evaluate_events(known, found, durations_s, "ab")
    assert value(figures, "event F1") == pytest.approx(2 / 8)
    assert value(figures, "event precision") == pytest.approx(1 / 4)
    assert value(figures, "event recall") == pytest.approx(1 / 4)
    assert value(figures, "macro event F1") == pytest.approx((2 / 6 + 0) / 2)
    assert figures.n_known == (3, 1)


def test_segments_by_hand() -> None:
    known = {"x": events((0.5, 2.0, "a"), (4.2, 4.3, "a"))}  # in the segments 0, 1 and 4
    found = {"x": events((1.9, 3.1, "a"))}  # in 1, 2 and 3
    assert segment_counts(known, found, {"x": 10.0}, ["a"]).tolist() == [[[1, 3, 3]]]
    # segments of 0.1 s, on their grid: 1.9 s begins the twentieth
    assert segment_counts(known, found, {"x": 10.0}, ["a"], 0.1).tolist() == [[[1, 12, 16]]]
    assert value(evaluate_events(known, found, {"x": 10.0}, ["a"]), "segment F1") == pytest.approx(2 / 6)


def test_padded_windows_end_with_the_recording() -> None:
    known, found = {"x": events((0, 1, "a"))}, {"x": events((-2, 3, "a"))}
    assert event_counts(known, found, {"x": 1.0}, ["a"], Overlap(0.9)).tolist() == [[[1, 1, 1]]]
    assert segment_counts(known, found, {"x": 1.0}, ["a"]).tolist() == [[[1, 1, 1]]]


def test_overlap_and_collar_at_their_limits() -> None:
    def hits(criterion: Criterion, known: tuple[float, float], found: tuple[float, float]) -> int:
        counts = event_counts({"x": events((*known, "a"))}, {"x": events((*found, "a"))}, {"x": 99}, "a", criterion)
        return int(counts[0, 0, 0])

    assert hits(Overlap(0.3), (0, 10), (0, 3)) == 1
    assert hits(Overlap(0.3), (0, 10), (0, 2.9)) == 0
    assert hits(Overlap(0.0), (0, 1), (1, 2)) == 0  # touching is no overlap
    assert hits(Collar(), (2, 3), (2.2, 3.5)) == 1  # 2.2 - 2 > 0.2 in floating point
    assert hits(Collar(), (2, 3), (2.21, 3)) == 0
    assert hits(Collar(), (2, 3), (2, 3.51)) == 0
    assert hits(Collar(), (2, 2.1), (2, 2.3)) == 1  # the collar is more than half of its length
    assert hits(Collar(), (2, 2.1), (2, 2.31)) == 0


def test_one_event_does_not_stand_for_two() -> None:
    # taking the first that fits would give 0-4 to 0-5, and leave nothing for 2-4
    known = {"x": events((0, 5, "a"), (0, 2, "a"))}
    found = {"x": events((0, 4, "a"), (3, 5, "a"))}
    assert event_counts(known, found, {"x": 9.0}, "a").tolist() == [[[2, 2, 2]]]
    once = {"x": events((0, 5, "a"))}
    assert event_counts(known, once, {"x": 9.0}, "a").tolist() == [[[1, 1, 2]]]


_spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=5)


@settings(deadline=None, max_examples=60)
@given(_spans, _spans, st.sampled_from([Overlap(), Overlap(0.6), Collar(), Collar(0.5, 0.2)]), st.randoms())
def test_the_largest_number_of_pairs(
    known: list[tuple[int, int]], found: list[tuple[int, int]], criterion: Criterion, random: Any
) -> None:
    spans, others = ([(s / 5, (s + n) / 5) for s, n in listed] for listed in (known, found))

    def fits(a: tuple[float, float], b: tuple[float, float]) -> bool:
        shared = min(a[1], b[1]) - max(a[0], b[0])
        if isinstance(criterion, Overlap):
            return shared > 1e-6 and shared / (a[1] - a[0] + b[1] - b[0] - shared) >= criterion.iou - 1e-6
        assert isinstance(criterion, Collar)
        for_end = max(criterion.collar_s, criterion.length_share * (a[1] - a[0]))
        return abs(a[0] - b[0]) <= criterion.collar_s + 1e-6 and abs(a[1] - b[1]) <= for_end + 1e-6

    short, long = (spans, others) if len(spans) <= len(others) else (others, spans)
    swap = short is others
    best = max(
        sum(fits(b, a) if swap else fits(a, b) for a, b in zip(short, order, strict=True))
        for order in permutations(long, len(short))
    )

    def count(first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]]) -> list[Any]:
        known_events = {"x": events(*((*span, "a") for span in first))}
        found_events = {"x": events(*((*span, "a") for span in second))}
        counted: list[Any] = event_counts(known_events, found_events, {"x": 0.0}, "a", criterion).tolist()
        return counted

    assert count(spans, others) == [[[best, len(others), len(spans)]]]
    random.shuffle(spans)
    random.shuffle(others)
    assert count(spans, others) == [[[best, len(others), len(spans)]]]


def test_what_does_not_count_is_said() -> None:
    known = {"x": events((0, 1, "a"), (0, 1, "other")), "y": events((50, 51, "a"), (8, 10.5, "b"), (8, 9.5, "b"))}
    figures = evaluate_events(known, {"x": events((0, 1, "a"))}, {"x": 9.0, "y": 9.0}, "ab", notes=["first"])
    text, data = report(figures)
    assert value(figures, "event recall") == 0.25
    for words in (
        "after the end of their recording, which count as missed: 1",
        "more than 1 s after their recording, and are cut there: 1",
        "not counted: other",
        "overlap of at least 0.3",
        "first",
    ):
        assert words in text
        assert any(words in note for note in data["notes"])
    for found, durations_s in (({"x": events((0, 1, "other"))}, {"x": 1.0, "y": 1.0}), ({}, {"x": 1.0})):
        with pytest.raises(ValueError, match="other classes"):
            evaluate_events(known, found, durations_s, "ab")
