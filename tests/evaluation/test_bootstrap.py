"""Intervals against draws done the plain way."""

import numpy as np
from helpers.figures import CLASSES, scored
from sklearn.metrics import average_precision_score

from aer.evaluation.score_metrics import evaluate_scores


def test_intervals_are_those_of_drawing_the_rows() -> None:
    """Draws done the plain way: rows taken as often as drawn, scikit-learn on them."""
    targets, scores = scored(1, 60)
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
    targets, scores = scored(0, 12)
    targets[:, 0] = np.arange(12) == 0  # a third of the draws lack its only recording
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, n_draws=100)
    interval = figures.per_class["AP"][0].interval
    assert interval is not None
    assert 0 < interval[0] <= interval[1] <= 1


def test_few_recordings_get_no_interval() -> None:
    targets, scores = scored(0, 20)
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), CLASSES, np.arange(20) % 4)
    assert all(figure.interval is None for figure in figures.overall.values())
    assert "no intervals: 4 recordings, 5 are needed" in figures.notes
