"""Figures of scores against scikit-learn and numbers worked out by hand."""

import doctest
import json
import math
from typing import Any

import numpy as np
import pytest
from helpers.figures import CLASSES, scored, value
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    label_ranking_average_precision_score,
    roc_auc_score,
)

from aer.evaluation import score_metrics
from aer.evaluation.report import report
from aer.evaluation.score_metrics import evaluate_scores, label_ranking_precisions
from aer.training.metrics import macro_f1, mean_average_precision


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(4, 40))
def test_figures_are_those_of_scikit_learn(seed: int, n: int) -> None:
    targets, scores = scored(seed, n)
    thresholds = np.array([0.3, 0.4, 0.5, 0.6])
    figures = evaluate_scores(targets, scores, thresholds, CLASSES, n_draws=0)
    found = scores >= thresholds
    assert value(figures, "mAP") == pytest.approx(average_precision_score(targets, scores, average="macro"))
    assert value(figures, "mAP") == pytest.approx(mean_average_precision(targets, scores))
    assert value(figures, "ROC-AUC") == pytest.approx(roc_auc_score(targets, scores, average="macro"))
    assert value(figures, "macro F1") == pytest.approx(f1_score(targets, found, average="macro"))
    assert value(figures, "micro F1") == pytest.approx(f1_score(targets, found, average="micro"))
    some_label = targets.any(axis=1)
    assert value(figures, "lwlrap") == pytest.approx(
        label_ranking_average_precision_score(
            targets[some_label], scores[some_label], sample_weight=targets[some_label].sum(axis=1)
        )
    )
    ones = np.ones((5, 4))
    assert value(figures, "cmAP") == pytest.approx(
        average_precision_score(np.vstack([targets, ones]), np.vstack([scores, ones]), average="macro")
    )
    for name, oracle in (("AP", average_precision_score), ("ROC-AUC", roc_auc_score)):
        assert [f.value for f in figures.per_class[name]] == pytest.approx(list(oracle(targets, scores, average=None)))
    assert [f.value for f in figures.per_class["F1"]] == pytest.approx(list(f1_score(targets, found, average=None)))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_neither_the_order_of_rows_nor_of_classes_changes_a_figure(seed: int) -> None:
    targets, scores = scored(seed, 20)
    thresholds = np.full(4, 0.4)
    first = evaluate_scores(targets, scores, thresholds, CLASSES, n_draws=0)
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(20), random.permutation(4)
    labels = [CLASSES[c] for c in columns]
    other = evaluate_scores(targets[rows][:, columns], scores[rows][:, columns], thresholds, labels, n_draws=0)
    for name in first.overall:
        assert value(other, name) == pytest.approx(value(first, name))
    for name, values in first.per_class.items():
        assert [f.value for f in other.per_class[name]] == pytest.approx([values[c].value for c in columns])


def test_lwlrap_by_hand() -> None:
    targets = np.array([[1, 0, 1], [0, 1, 0]], bool)
    scores = np.array([[0.9, 0.5, 0.1], [0.8, 0.4, 0.2]])
    # row 0: class 0 ranks first: 1/1, class 2 third with two labels above or at it: 2/3; row 1: class 1 second: 1/2
    np.testing.assert_allclose(label_ranking_precisions(targets, scores), [[1, 0, 2 / 3], [0, 1 / 2, 0]])
    figures = evaluate_scores(targets, scores, [0.5] * 3, "abc", n_draws=0)
    assert value(figures, "lwlrap") == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert [f.value for f in figures.per_class["lwlrap"]] == pytest.approx([1, 1 / 2, 2 / 3])


def test_padding_by_hand() -> None:
    targets = np.array([[0, 1], [0, 0], [0, 0]], bool)
    scores = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    # class 0: five positives at the top: 1. class 1: five at the top, and the sixth is found in place eight of eight
    figures = evaluate_scores(targets, scores, [0.5, 0.5], "ab", n_draws=0)
    assert value(figures, "cmAP") == pytest.approx((1 + (5 + 6 / 8) / 6) / 2)
    # what scores 1 shares the place of the padding: of these six rows five are right
    scores[0, 0] = 1
    figures = evaluate_scores(targets, scores, [0.5, 0.5], "ab", n_draws=0)
    assert value(figures, "cmAP") == pytest.approx((5 / 6 + (5 + 6 / 8) / 6) / 2)


def test_a_class_without_positives_is_left_out_and_named() -> None:
    targets, scores = scored(0, 20)
    targets[:, 2] = False
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, n_draws=50)
    rest = [0, 1, 3]
    assert value(figures, "mAP") == pytest.approx(average_precision_score(targets[:, rest], scores[:, rest]))
    assert value(figures, "ROC-AUC") == pytest.approx(roc_auc_score(targets[:, rest], scores[:, rest]))
    assert value(figures, "macro F1") == pytest.approx(macro_f1(targets, scores, 0.4))
    assert math.isnan(figures.per_class["AP"][2].value)
    assert figures.per_class["AP"][2].interval is None
    assert any("for 1 of 4 classes" in note and note.endswith(": c") for note in figures.notes)
    nothing = evaluate_scores(np.zeros((6, 2)), np.full((6, 2), 0.1), [0.5, 0.5], "ab", n_draws=3)
    assert math.isnan(value(nothing, "mAP"))
    assert math.isnan(value(nothing, "macro F1"))
    json.dumps(report(nothing)[1], allow_nan=False)


def test_arrays_that_do_not_match_or_hold_no_scores() -> None:
    targets, scores = scored(0, 20)
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


def test_the_worked_example_of_the_ranking_holds() -> None:
    result = doctest.testmod(score_metrics)
    assert result.attempted > 0
    assert result.failed == 0
