"""Metrics against scikit-learn's definitions and numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from aer.training.metrics import clip_scores, macro_f1, mean_average_precision


def test_by_hand() -> None:
    targets = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    scores = np.array([[0.9, 0.8, 0.1], [0.6, 0.4, 0.2], [0.3, 0.1, 0.3]])
    # class 0 ranks + - +: (1/1 + 2/3) / 2; class 1 ranks - +: 1/2; class 2 has no positive and is left out
    assert mean_average_precision(targets, scores) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    # at 0.5: class 0 has 1 hit, 1 false alarm, 1 miss: 2/4; class 1 no hit: 0; class 2 is 0/0 and left out
    assert macro_f1(targets, scores, 0.5) == pytest.approx((0.5 + 0) / 2)


def test_a_false_alarm_of_a_class_without_positives_counts_in_f1() -> None:
    targets = np.array([[1, 0], [1, 0]])
    assert macro_f1(targets, np.array([[0.9, 0.9], [0.9, 0.1]]), 0.5) == pytest.approx((1 + 0) / 2)


def test_without_any_positive_the_metrics_are_nan() -> None:
    nothing = np.zeros((3, 2))
    assert math.isnan(mean_average_precision(nothing, nothing))
    assert math.isnan(macro_f1(nothing, nothing, 0.5))


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6))
def test_equals_scikit_learn_where_every_class_has_positives(seed: int, n: int, n_classes: int) -> None:
    random = np.random.default_rng(seed)
    targets = random.integers(0, 2, (n, n_classes))
    targets[0] = 1
    scores = random.random((n, n_classes)).round(1)  # with ties
    assert mean_average_precision(targets, scores) == pytest.approx(
        average_precision_score(targets, scores, average="macro")
    )
    assert macro_f1(targets, scores, 0.3) == pytest.approx(f1_score(targets, scores >= 0.3, average="macro"))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_window_scores_become_those_of_recordings(clips: list[int], seed: int) -> None:
    ids = np.array(clips)
    scores = np.random.default_rng(seed).random((len(ids), 3)).astype(np.float32)
    for how, reduce in (("mean", np.mean), ("max", np.max)):
        unique, reduced = clip_scores(scores, ids, how)
        assert unique.tolist() == sorted(set(clips))
        for clip, row in zip(unique, reduced, strict=True):
            np.testing.assert_allclose(row, reduce(scores[ids == clip], axis=0), rtol=1e-6)
