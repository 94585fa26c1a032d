"""Figures against scikit-learn, brute force and numbers worked out by hand."""

import json
import math
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    label_ranking_average_precision_score,
    roc_auc_score,
)

from aer.errors import InputError
from aer.evaluation.bootstrap import Figures
from aer.evaluation.event_metrics import (
    Collar,
    Criterion,
    Overlap,
    evaluate_events,
    event_counts,
    f1_of,
    segment_counts,
)
from aer.evaluation.ground_truth import Truth, label_targets, of_recordings, read_events, window_targets
from aer.evaluation.report import report
from aer.evaluation.score_metrics import evaluate_scores, label_ranking_precisions
from aer.inference.results import Event
from aer.training.metrics import macro_f1, mean_average_precision

Array = NDArray[Any]
CLASSES = ("a", "b", "c", "d")
HEADER = "audio_id,start_s,end_s,ebird_code\n"


def _scored(seed: int, n: int, classes: int = 4, step: float = 0.05) -> tuple[Array, Array]:
    """Targets and scores with ties; each class has both kinds."""
    random = np.random.default_rng(seed)
    targets = random.random((n, classes)) < 0.3
    targets[0], targets[1] = True, False
    scores = 1 / (1 + np.exp(-random.normal(size=targets.shape) - 1.5 * targets + 1))
    return targets, np.clip((scores / step).round() * step, 0, 1)


def _events(*spans: tuple[float, float, str]) -> tuple[Event, ...]:
    return tuple(Event(start_s, end_s, label, 1.0) for start_s, end_s, label in spans)


def _value(figures: Figures, name: str) -> float:
    return figures.overall[name].value


# scores


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(4, 40))
def test_figures_are_those_of_scikit_learn(seed: int, n: int) -> None:
    targets, scores = _scored(seed, n)
    thresholds = np.array([0.3, 0.4, 0.5, 0.6])
    figures = evaluate_scores(targets, scores, thresholds, CLASSES, n_draws=0)
    found = scores >= thresholds
    assert _value(figures, "mAP") == pytest.approx(average_precision_score(targets, scores, average="macro"))
    assert _value(figures, "mAP") == pytest.approx(mean_average_precision(targets, scores))
    assert _value(figures, "ROC-AUC") == pytest.approx(roc_auc_score(targets, scores, average="macro"))
    assert _value(figures, "macro F1") == pytest.approx(f1_score(targets, found, average="macro"))
    assert _value(figures, "micro F1") == pytest.approx(f1_score(targets, found, average="micro"))
    some_label = targets.any(axis=1)
    assert _value(figures, "lwlrap") == pytest.approx(
        label_ranking_average_precision_score(
            targets[some_label], scores[some_label], sample_weight=targets[some_label].sum(axis=1)
        )
    )
    ones = np.ones((5, 4))
    assert _value(figures, "cmAP") == pytest.approx(
        average_precision_score(np.vstack([targets, ones]), np.vstack([scores, ones]), average="macro")
    )
    for name, oracle in (("AP", average_precision_score), ("ROC-AUC", roc_auc_score)):
        assert [f.value for f in figures.per_class[name]] == pytest.approx(list(oracle(targets, scores, average=None)))
    assert [f.value for f in figures.per_class["F1"]] == pytest.approx(list(f1_score(targets, found, average=None)))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_neither_the_order_of_rows_nor_of_classes_changes_a_figure(seed: int) -> None:
    targets, scores = _scored(seed, 20)
    thresholds = np.full(4, 0.4)
    first = evaluate_scores(targets, scores, thresholds, CLASSES, n_draws=0)
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(20), random.permutation(4)
    labels = [CLASSES[c] for c in columns]
    other = evaluate_scores(targets[rows][:, columns], scores[rows][:, columns], thresholds, labels, n_draws=0)
    for name in first.overall:
        assert _value(other, name) == pytest.approx(_value(first, name))
    for name, values in first.per_class.items():
        assert [f.value for f in other.per_class[name]] == pytest.approx([values[c].value for c in columns])


def test_lwlrap_by_hand() -> None:
    targets = np.array([[1, 0, 1], [0, 1, 0]], bool)
    scores = np.array([[0.9, 0.5, 0.1], [0.8, 0.4, 0.2]])
    # row 0: class 0 ranks first: 1/1, class 2 third with two labels above or at it: 2/3; row 1: class 1 second: 1/2
    np.testing.assert_allclose(label_ranking_precisions(targets, scores), [[1, 0, 2 / 3], [0, 1 / 2, 0]])
    figures = evaluate_scores(targets, scores, [0.5] * 3, "abc", n_draws=0)
    assert _value(figures, "lwlrap") == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert [f.value for f in figures.per_class["lwlrap"]] == pytest.approx([1, 1 / 2, 2 / 3])


def test_padding_by_hand() -> None:
    targets = np.array([[0, 1], [0, 0], [0, 0]], bool)
    scores = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    # class 0: five positives at the top: 1. class 1: five at the top, and the sixth is found in place eight of eight
    figures = evaluate_scores(targets, scores, [0.5, 0.5], "ab", n_draws=0)
    assert _value(figures, "cmAP") == pytest.approx((1 + (5 + 6 / 8) / 6) / 2)
    # what scores 1 shares the place of the padding: of these six rows five are right
    scores[0, 0] = 1
    figures = evaluate_scores(targets, scores, [0.5, 0.5], "ab", n_draws=0)
    assert _value(figures, "cmAP") == pytest.approx((5 / 6 + (5 + 6 / 8) / 6) / 2)


def test_a_class_without_positives_is_left_out_and_named() -> None:
    targets, scores = _scored(0, 20)
    targets[:, 2] = False
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, n_draws=50)
    rest = [0, 1, 3]
    assert _value(figures, "mAP") == pytest.approx(average_precision_score(targets[:, rest], scores[:, rest]))
    assert _value(figures, "ROC-AUC") == pytest.approx(roc_auc_score(targets[:, rest], scores[:, rest]))
    assert _value(figures, "macro F1") == pytest.approx(macro_f1(targets, scores, 0.4))
    assert math.isnan(figures.per_class["AP"][2].value)
    assert figures.per_class["AP"][2].interval is None
    assert any("for 1 of 4 classes" in note and note.endswith(": c") for note in figures.notes)
    nothing = evaluate_scores(np.zeros((6, 2)), np.full((6, 2), 0.1), [0.5, 0.5], "ab", n_draws=3)
    assert math.isnan(_value(nothing, "mAP"))
    assert math.isnan(_value(nothing, "macro F1"))
    json.dumps(report(nothing)[1], allow_nan=False)


def test_intervals_are_those_of_drawing_the_rows() -> None:
    """Draws done the plain way: rows taken as often as drawn, scikit-learn on them."""
    targets, scores = _scored(1, 60)
    scores = np.repeat(scores, 2, axis=0)
    targets = np.repeat(targets, 2, axis=0)
    recordings = np.repeat(np.arange(60), 2)
    scores[1::2] = 1 - np.random.default_rng(1).random(scores[1::2].shape)
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, recordings, n_draws=200, seed=3)
    random = np.random.default_rng(99)
    drawn = []
    for _ in range(200):
        rows = np.concatenate([[2 * r, 2 * r + 1] for r in random.integers(60, size=60)])
        drawn.append(average_precision_score(targets[rows], scores[rows]))
    found = figures.overall["mAP"]
    assert found.interval is not None
    np.testing.assert_allclose(found.interval, np.percentile(drawn, [2.5, 97.5]), atol=0.03)
    assert found.interval[0] < found.value < found.interval[1]
    again = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, recordings, n_draws=200, seed=3)
    assert again == figures
    other = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, recordings, n_draws=200, seed=4)
    assert other.overall["mAP"].interval != found.interval


def test_a_class_that_draws_lack_has_an_interval_of_the_others() -> None:
    targets, scores = _scored(0, 12)
    targets[:, 0] = np.arange(12) == 0  # a third of the draws lack its only recording
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, n_draws=100)
    interval = figures.per_class["AP"][0].interval
    assert interval is not None
    assert 0 < interval[0] <= interval[1] <= 1


def test_few_recordings_get_no_interval() -> None:
    targets, scores = _scored(0, 20)
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, np.arange(20) % 4)
    assert all(figure.interval is None for figure in figures.overall.values())
    assert "no intervals: 4 recordings, 5 are needed" in figures.notes


def test_arrays_that_do_not_match_or_hold_no_scores() -> None:
    targets, scores = _scored(0, 20)
    wrong: list[tuple[Any, ...]] = [
        (targets[1:], scores, np.full(4, 0.4), CLASSES),
        (targets, scores, np.full(3, 0.4), CLASSES),
        (targets, scores, np.full(4, 0.4), CLASSES[1:]),
        (targets, scores, np.full(4, 0.4), CLASSES, np.arange(19)),
        (targets, np.where(scores == scores[3, 2], np.nan, scores), np.full(4, 0.4), CLASSES),
        (targets, scores * 3, np.full(4, 0.4), CLASSES),
        (targets[:0], scores[:0], np.full(4, 0.4), CLASSES),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"match|scores"):
            evaluate_scores(*arguments)


# events


def test_events_by_hand() -> None:
    known = {"x": _events((0, 2, "a"), (5, 6, "a"), (1, 3, "b")), "y": _events((0, 1, "a"))}
    found = {"x": _events((0.5, 2, "a"), (0, 1, "b"), (5.9, 9, "a")), "z": _events((1, 2, "a"))}
    durations_s = {"x": 10.0, "y": 10.0, "z": 10.0}
    counts = event_counts(known, found, durations_s, "ab")
    # x: only the first a overlaps enough (1.5 of 2; 0.1 of 4); b only touches; y is missed; z is a false alarm
    assert counts.tolist() == [[[1, 2, 2], [0, 1, 1]], [[0, 0, 1], [0, 0, 0]], [[0, 1, 0], [0, 0, 0]]]
    np.testing.assert_allclose(f1_of(counts.sum(axis=0)), [2 / 6, 0])
    figures = evaluate_events(known, found, durations_s, "ab")
    assert _value(figures, "event F1") == pytest.approx(2 / 8)
    assert _value(figures, "event precision") == pytest.approx(1 / 4)
    assert _value(figures, "event recall") == pytest.approx(1 / 4)
    assert _value(figures, "macro event F1") == pytest.approx((2 / 6 + 0) / 2)
    assert figures.n_known == (3, 1)


def test_segments_by_hand() -> None:
    known = {"x": _events((0.5, 2.0, "a"), (4.2, 4.3, "a"))}  # in the segments 0, 1 and 4
    found = {"x": _events((1.9, 3.1, "a"))}  # in 1, 2 and 3
    assert segment_counts(known, found, {"x": 10.0}, ["a"]).tolist() == [[[1, 3, 3]]]
    # segments of 0.1 s, on their grid: 1.9 s begins the twentieth
    assert segment_counts(known, found, {"x": 10.0}, ["a"], 0.1).tolist() == [[[1, 12, 16]]]
    assert _value(evaluate_events(known, found, {"x": 10.0}, ["a"]), "segment F1") == pytest.approx(2 / 6)


def test_padded_windows_end_with_the_recording() -> None:
    known, found = {"x": _events((0, 1, "a"))}, {"x": _events((-2, 3, "a"))}
    assert event_counts(known, found, {"x": 1.0}, ["a"], Overlap(0.9)).tolist() == [[[1, 1, 1]]]
    assert segment_counts(known, found, {"x": 1.0}, ["a"]).tolist() == [[[1, 1, 1]]]


def test_overlap_and_collar_at_their_limits() -> None:
    def hits(criterion: Criterion, known: tuple[float, float], found: tuple[float, float]) -> int:
        counts = event_counts({"x": _events((*known, "a"))}, {"x": _events((*found, "a"))}, {"x": 99}, "a", criterion)
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
    known = {"x": _events((0, 5, "a"), (0, 2, "a"))}
    found = {"x": _events((0, 4, "a"), (3, 5, "a"))}
    assert event_counts(known, found, {"x": 9.0}, "a").tolist() == [[[2, 2, 2]]]
    once = {"x": _events((0, 5, "a"))}
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
        known_events = {"x": _events(*((*span, "a") for span in first))}
        found_events = {"x": _events(*((*span, "a") for span in second))}
        counted: list[Any] = event_counts(known_events, found_events, {"x": 0.0}, "a", criterion).tolist()
        return counted

    assert count(spans, others) == [[[best, len(others), len(spans)]]]
    random.shuffle(spans)
    random.shuffle(others)
    assert count(spans, others) == [[[best, len(others), len(spans)]]]


def test_what_does_not_count_is_said() -> None:
    known = {"x": _events((0, 1, "a"), (0, 1, "other")), "y": _events((50, 51, "a"), (8, 10.5, "b"), (8, 9.5, "b"))}
    figures = evaluate_events(known, {"x": _events((0, 1, "a"))}, {"x": 9.0, "y": 9.0}, "ab", notes=["first"])
    text, data = report(figures)
    assert _value(figures, "event recall") == 0.25
    for words in (
        "after the end of their recording, which count as missed: 1",
        "more than 1 s after their recording, and are cut there: 1",
        "not counted: other",
        "overlap of at least 0.3",
        "first",
    ):
        assert words in text
        assert any(words in note for note in data["notes"])
    for found, durations_s in (({"x": _events((0, 1, "other"))}, {"x": 1.0, "y": 1.0}), ({}, {"x": 1.0})):
        with pytest.raises(ValueError, match="other classes"):
            evaluate_events(known, found, durations_s, "ab")


def test_report() -> None:
    targets, scores = _scored(0, 20)
    targets[:, 1] = False
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), ["a", "b\x1b[31m", "c", "d"], n_draws=20)
    text, data = report(figures)
    assert "\x1b" not in text
    assert f"{_value(figures, 'mAP'):.3f} (" in text
    assert data["classes"]["b\x1b[31m"]["AP"] == {"value": None, "interval": None}
    assert data["overall"]["mAP"]["value"] == _value(figures, "mAP")
    assert data["recordings"] == 20
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["a"], ["c"], ["d"])]
    precisions = [float(row[2]) for row in rows]
    assert precisions == sorted(precisions)  # the worst first


# truth


def _csv(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "events.csv"
    path.write_text(header + rows)
    return path


def test_events_are_read(tmp_path: Path) -> None:
    csv = _csv(tmp_path, "s2,3,4.5,a\ns1,1,2,b\ns2,0.25,1,b\ns2,7,8,strange\ns3,0,1,strange\n")
    truth = read_events(csv, CLASSES)
    assert truth.events == {"s1": _events((1, 2, "b")), "s2": _events((0.25, 1, "b"), (3, 4.5, "a")), "s3": ()}
    assert truth.unknown == {"strange": 2}
    assert truth.note == "2 known events of no class of the model's, not counted: strange"


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("audio_id,start_s,end_s,label\n", "s,0,1,a\n", "needs the columns audio_id, start_s, end_s, ebird_code"),
        (HEADER, "", "has no rows"),
        (HEADER, "s,0,1,a\ns,-1,2,a\n", "1 of 2 events starts before 0 s; the first in line 3"),
        (HEADER, "s,2,1,a\n", "does not end after its start"),
        (HEADER, "s,1,1,a\n", "does not end after its start"),
        (HEADER, "s,x,1,a\n", "is no number"),
        (HEADER, "s,0,nan,a\n", "is no number"),
        (HEADER, "s,0,inf,a\n", "is no number"),
        (HEADER, "s,0,,a\n", "is no number"),
        (HEADER, ",0,1,a\n", "has no audio_id"),
        (HEADER, "s,0,1, \n", "no ebird_code"),
        (HEADER, "s,0,1,p\ns,0,1,q\n", "has no class of the model's (a, b, c and 1 more); it has p, q"),
    ],
)
def test_events_that_can_not_be_used(tmp_path: Path, header: str, rows: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_events(_csv(tmp_path, rows, header), CLASSES)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_csv_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        read_events(tmp_path / "events.csv", CLASSES)


def test_recordings_are_named_as_people_do(tmp_path: Path) -> None:
    truth = Truth({"one": _events((0, 1, "a")), "b/two.wav": _events((2, 3, "a")), "a/three": ()}, {"z": 1})
    csv = tmp_path / "events.csv"
    names = ["a/one.wav", "b/two.wav", "a/three.flac", "a/four.wav"]
    named = of_recordings(truth, names, csv)
    assert named.events == {
        "a/one.wav": truth.events["one"],
        "b/two.wav": truth.events["b/two.wav"],
        "a/three.flac": (),
    }
    assert named.unknown == {"z": 1}
    with pytest.raises(InputError, match=r"1 recording that can't be found: one"):
        of_recordings(truth, names[1:], csv)
    with pytest.raises(InputError, match=r"one may be one of several: a/one.wav, b/one.wav"):
        of_recordings(truth, [*names, "b/one.wav"], csv)
    with pytest.raises(InputError, match="may be one of several"):
        of_recordings(Truth({"one": (), "one.wav": ()}, {}), names, csv)


def test_targets_of_windows_and_recordings() -> None:
    events = {"x": _events((0, 1.05, "a"), (1.97, 2.02, "b"))}
    windows = [("x", 0.0, 1.0), ("x", 1.0, 2.0), ("x", 2.0, 3.0), ("y", 0.0, 1.0)]
    assert window_targets(events, windows, "ab").tolist() == [
        [True, False],
        [False, False],
        [False, False],
        [False] * 2,
    ]
    assert window_targets(events, windows, "ab", 0.02).tolist()[1:3] == [[True, True], [False, True]]
    targets, unknown = label_targets([["a", "z"], [], ["b", "a"], ["z", "z"]], "ab")
    assert targets.tolist() == [[True, False], [False, False], [True, True], [False, False]]
    assert unknown == {"z": 2}
