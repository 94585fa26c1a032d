"""Events against brute force on all frames at once; how the frames are cut and batched must not matter."""

import warnings

import numpy as np
import numpy.typing as npt
import pytest
from helpers.event_oracle import FRAME_S, all_at_once
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aer.inference.events import EventRules, EventTracker, FrameTimeline, as_events, window_spans
from aer.inference.results import Event

LEVELS = [0.0, 0.2, 0.4, 0.5, 0.75, 1.0]  # many scores that just reach a threshold


def tracked(
    pieces: list[npt.NDArray[np.float32]], thresholds: npt.NDArray[np.float64], rules: EventRules
) -> list[tuple[int, int, int, float]]:
    tracker = EventTracker(thresholds, rules, FRAME_S)
    for piece in pieces:
        tracker.add(piece)
    return [(span.begin, span.class_index, span.end, span.peak) for span in tracker.finish()]


@given(
    frames=arrays(np.float32, st.tuples(st.integers(0, 60), st.integers(1, 4)), elements=st.sampled_from(LEVELS)),
    thresholds=st.lists(st.sampled_from([0.2, 0.5, 0.8, np.inf]), min_size=4, max_size=4),
    hysteresis=st.sampled_from([0.25, 0.5, 0.8, 1.0]),
    merge_gap_s=st.sampled_from([0.0, 0.03, 0.07, 0.3]),
    min_duration_s=st.sampled_from([0.0, 0.05, 0.11]),
    places=st.lists(st.integers(0, 60), max_size=10),
)
def test_events_are_those_of_all_frames_at_once_however_they_are_cut(
    frames: npt.NDArray[np.float32],
    thresholds: list[float],
    hysteresis: float,
    merge_gap_s: float,
    min_duration_s: float,
    places: list[int],
) -> None:
    rules = EventRules(hysteresis, merge_gap_s, min_duration_s)
    high = np.array(thresholds[: frames.shape[1]])
    pieces = np.split(frames, sorted(place % (len(frames) + 1) for place in places))
    assert tracked(pieces, high, rules) == all_at_once(frames, high, rules)


def test_events_by_hand() -> None:
    #                 0    1    2    3    4    5    6    7    8    9   10   11
    first = np.array([0.3, 0.5, 0.9, 0.4, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1, 0.4, 0.4], dtype=np.float32)
    frames = np.stack([first, np.zeros(12, np.float32)], axis=1)
    high = np.array([0.5, 0.5])
    peak, later = float(np.float32(0.9)), float(np.float32(0.6))
    # from 0.4 on (0.8 x 0.5): 1 to 4 and 5; 10 and 11 never reach 0.5
    assert tracked([frames], high, EventRules(0.8, 0.0, 0.0)) == [(1, 0, 4, peak), (5, 0, 6, later)]
    assert tracked([frames], high, EventRules(0.8, 0.03, 0.0)) == [(1, 0, 6, peak)]  # a gap of 0.02 s is closed
    assert tracked([frames], high, EventRules(0.8, 0.02, 0.0)) == [(1, 0, 4, peak), (5, 0, 6, later)]  # of less only
    assert tracked([frames], high, EventRules(0.8, 0.0, 0.04)) == [(1, 0, 4, peak)]
    assert tracked([frames], high, EventRules(0.8, 0.03, 0.1)) == [(1, 0, 6, peak)]  # closed first: 0.1 s long
    assert tracked([frames], high, EventRules(0.5, 0.0, 0.0)) == [(0, 0, 4, peak), (5, 0, 6, later)]


def test_a_class_that_is_never_reported_is_not_even_without_hysteresis() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # infinity times 0
        found = tracked([np.ones((3, 2), np.float32)], np.array([np.inf, 0.5]), EventRules(hysteresis=0.0))
    assert found == []  # 0.06 s
    found = tracked([np.ones((9, 2), np.float32)], np.array([np.inf, 0.5]), EventRules(hysteresis=0.0))
    assert found == [(0, 1, 9, 1.0)]


def test_scores_that_are_no_number_are_no_events() -> None:
    frames = np.full((20, 1), np.nan, dtype=np.float32)
    frames[:10] = 0.9
    assert tracked([frames], np.array([0.5]), EventRules()) == [(0, 0, 10, float(np.float32(0.9)))]


@given(
    starts=st.lists(st.integers(1, 100), max_size=12),
    n_frames=st.integers(11, 20),
    n_beyond=st.integers(0, 60),
    seed=st.integers(0, 9),
)
def test_the_timeline_is_the_mean_of_the_windows(starts: list[int], n_frames: int, n_beyond: int, seed: int) -> None:
    hop = 10
    windows = np.cumsum([0, *starts])  # each within the one before
    scores = np.random.default_rng(seed).random((len(windows), n_frames, 2), dtype=np.float32)
    n_samples = int(windows[-1]) + (n_frames - 1) * hop - n_beyond % 50
    timeline = FrameTimeline(2, hop)
    pieces = [timeline.add(int(start), frames) for start, frames in zip(windows, scores, strict=True)]
    held = len(timeline.sums)
    found = np.concatenate([*pieces, timeline.finish(n_samples)])

    covering: dict[int, list[npt.NDArray[np.float32]]] = {}
    for start, frames in zip(windows.tolist(), scores, strict=True):
        for k, frame in enumerate(frames):
            covering.setdefault(round(start / hop) + k, []).append(frame)
    expected = [np.mean(covering[k], axis=0) for k in range(-(-n_samples // hop))]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert held <= n_frames + 1  # no more than a window is kept


@pytest.mark.parametrize("before", [0, 3, 30, 36, 75])
def test_the_timeline_of_a_short_recording_begins_with_it(before: int) -> None:
    """Centred in a window of 11 frames: frames that stand before it or after it are none of its own."""
    hop, n_samples = 10, 30
    frames = np.arange(11, dtype=np.float32)[:, None]
    timeline = FrameTimeline(1, hop)
    assert len(timeline.add(-before, frames)) == 0
    found = timeline.finish(n_samples)[:, 0].tolist()
    first = round(before / hop)
    assert found == [first, first + 1, first + 2]


def test_window_spans() -> None:
    scores = np.array([[0.5, 0.1], [0.49, 0.9], [0.6, 0.8]], dtype=np.float32)
    expected = [(0, 0, 0.5), (1, 1, 0.9), (2, 0, 0.6), (2, 1, 0.8)]
    found = list(window_spans(scores, np.array([0.5, 0.8], dtype=np.float32).astype(np.float64)))
    assert [span[:2] for span in found] == [span[:2] for span in expected]
    assert [span[2] for span in found] == pytest.approx([span[2] for span in expected])
    assert list(window_spans(np.zeros((0, 2), np.float32), np.zeros(2))) == []


def test_events_lie_within_the_recording() -> None:
    spans = [(-0.5, 1.5, 1, 0.9), (0.25, 0.5, 0, 0.8)]
    found = as_events(spans, ("robin", "wren"), [0.7, None], 1.0)
    assert found == (Event(0.0, 1.0, "wren", 0.9, 0.7), Event(0.25, 0.5, "robin", 0.8, None))
