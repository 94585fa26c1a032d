"""Thresholds and probabilities against scikit-learn, a search over all thresholds, and numbers worked out by hand."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import f1_score, precision_score, recall_score

from aer.models.thresholds import ClassThresholds, Isotonic, Platt, at_precision, fit, from_dict, probability, to_dict

Array = NDArray[Any]


def _validation(seed: int, n: int, step: float | None = None, share: float = 0.3) -> tuple[Array, Array, Array]:
    """(targets (N, 1), scores (N, 1), recordings (N,)) of n recordings with 1 to 3 windows; scores in steps: ties."""
    random = np.random.default_rng(seed)
    recordings = np.repeat(np.arange(n), random.integers(1, 4, n))
    present = np.arange(n) < round(share * n)
    targets = present[recordings][:, None]
    scores = 1 / (1 + np.exp(-random.normal(size=targets.shape) - 2 * targets + 1))
    return targets, scores if step is None else (scores / step).round() * step, recordings


def _one_per_recording(positive: list[float], negative: list[float]) -> ClassThresholds:
    scores = np.array([*positive, *negative])[:, None]
    targets = (np.arange(len(scores)) < len(positive))[:, None]
    return fit(targets, scores, np.arange(len(scores)))[0]


def test_by_hand() -> None:
    entry = _one_per_recording([0.9, 0.8, 0.8, 0.6, 0.3], [0.7, 0.4, 0.2, 0.1, 0.1])
    # from 0.6 on 4 of 5 found are right and 1 is missed: 8/10; from 0.3 on 5 of 7: 10/12, the best; from 0.8 on 6/8
    assert entry.n_positive == 5
    assert entry.best_f1 == pytest.approx(0.25)  # midway between 0.2 and 0.3
    assert entry.f1 == pytest.approx(10 / 12)
    assert at_precision(entry, 0.9) == at_precision(entry, 1.0) == pytest.approx(0.75)  # midway between 0.7 and 0.8
    assert at_precision(entry, 0.8) == pytest.approx(0.5)  # 4 of 5
    assert at_precision(entry, 0.5) == pytest.approx(0.05)  # all that there is: midway between 0 and 0.1


def test_of_equal_f1_the_higher_threshold() -> None:
    # from 0.8 on: 5 of 5, and 1 missed: 10/11; from 0.3 on: 6 of 7 with all found: 12/13, more
    assert _one_per_recording([0.8] * 5 + [0.3], [0.4, 0.1, 0.1, 0.1, 0.1]).best_f1 == pytest.approx(0.2)
    # from 0.9 on: 4 of 4, and 2 missed: 8/10; from 0.3 on: 6 of 9: 12/15, as much
    assert _one_per_recording([0.9] * 4 + [0.3] * 2, [0.4] * 3 + [0.1] * 5).best_f1 == pytest.approx(0.65)


def test_a_precision_that_is_not_reached() -> None:
    entry = _one_per_recording([0.9, 0.8, 0.7, 0.6, 0.5], [0.95, 0.2, 0.1, 0.1, 0.1])
    assert at_precision(entry, 5 / 6) == pytest.approx(0.35)
    assert at_precision(entry, 0.84) is None


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(20, 60), st.sampled_from([None, 0.1, 0.02]))
def test_equals_a_search_over_all_thresholds(seed: int, n: int, step: float | None) -> None:
    targets, scores, recordings = _validation(seed, n, step)
    entry = fit(targets, scores, recordings)[0]
    if entry.best_f1 is None:
        assert entry.note
        return
    truth, values = targets[:, 0], scores[:, 0]

    def count(threshold: float) -> tuple[float, float, float]:
        """Precision, recall and F1 from this threshold on, one window after the other."""
        hits = sum(1 for t, v in zip(truth, values, strict=True) if t and v >= threshold)
        found, wanted = int((values >= threshold).sum()), int(truth.sum())
        return hits / found, hits / wanted, 2 * hits / (found + wanted)

    at_scores = np.array([count(level) for level in np.unique(values)])
    assert entry.f1 == count(entry.best_f1)[2] == at_scores[:, 2].max()
    for wanted in np.arange(1, 101) / 100:
        found = at_precision(entry, wanted)
        enough = at_scores[:, 0] >= wanted
        assert (found is not None) == enough.any()
        if found is not None:
            precision, recall, _ = count(found)
            assert precision >= wanted
            assert recall == at_scores[enough, 1].max()
    assert len(entry.curve) <= 100
    for threshold, precision, recall in entry.curve:
        assert (precision, recall) == count(threshold)[:2]


def test_equals_scikit_learn() -> None:
    targets, scores, recordings = _validation(3, 60)
    entry = fit(targets, scores, recordings)[0]
    truth, values = targets[:, 0], scores[:, 0]
    assert entry.best_f1 is not None
    assert entry.f1 == pytest.approx(max(f1_score(truth, values >= level) for level in np.unique(values)))
    assert entry.f1 == pytest.approx(f1_score(truth, values >= entry.best_f1))
    for threshold, precision, recall in entry.curve[::5]:
        assert precision == pytest.approx(precision_score(truth, values >= threshold))
        assert recall == pytest.approx(recall_score(truth, values >= threshold))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([40, 180]))
def test_neither_the_order_of_rows_nor_a_second_call_change_anything(seed: int, n: int) -> None:
    targets, scores, recordings = _validation(seed, n, 0.05)
    first = fit(targets, scores, recordings)
    assert fit(targets, scores, recordings) == first
    order = np.random.default_rng(seed).permutation(len(recordings))
    assert fit(targets[order], scores[order], recordings[order]) == first


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([30, 180]))
def test_probabilities_rise_with_the_score(seed: int, n: int) -> None:
    entry = fit(*_validation(seed, n))[0]
    values = probability(entry, np.linspace(0, 1, 500).reshape(5, 100))
    if values is not None:
        assert values.shape == (5, 100)
        assert ((values >= 0) & (values <= 1)).all()
        assert (np.diff(values.ravel()) >= -1e-12).all()


def test_probabilities_are_right_for_sigmoid_scores() -> None:
    """Scores that are off by a slope and a shift on the logit scale, by a known amount."""
    random = np.random.default_rng(0)
    true_logits = random.normal(size=20_000) * 2
    targets = random.random(20_000) < 1 / (1 + np.exp(-true_logits))
    scores = 1 / (1 + np.exp(-(0.5 * true_logits - 1)))
    entry = fit(targets[:, None], scores[:, None], np.arange(20_000))[0]
    for level in (-2.0, 0.0, 2.0):
        found = probability(entry, [1 / (1 + np.exp(-(0.5 * level - 1)))])
        assert found is not None
        assert found[0] == pytest.approx(1 / (1 + np.exp(-level)), abs=0.02)


def test_a_step_that_no_sigmoid_follows_takes_isotonic_regression() -> None:
    random = np.random.default_rng(0)
    scores = random.random(4000)
    targets = random.random(4000) < np.where(scores < 0.3, 0.1, np.where(scores < 0.9, 0.5, 0.9))
    entry = fit(targets[:, None], scores[:, None], np.arange(4000))[0]
    assert isinstance(entry.calibration, Isotonic)
    found = probability(entry, [0.15, 0.6, 0.95])
    assert found is not None
    np.testing.assert_allclose(found, [0.1, 0.5, 0.9], atol=0.08)
    reference = IsotonicRegression(out_of_bounds="clip").fit(scores, targets).predict(scores)
    mine = probability(entry, scores)
    assert mine is not None
    np.testing.assert_allclose(mine, np.clip(reference, 1 / 4002, 1 - 1 / 4002), atol=1e-6)


def test_isotonic_regression_is_not_for_few_recordings() -> None:
    random = np.random.default_rng(0)
    for n_positive, kinds in ((49, (Platt,)), (50, (Platt, Isotonic))):
        scores = random.random(2000)
        targets = np.zeros(2000, bool)
        targets[np.flatnonzero(scores > 0.5)[:n_positive]] = True
        assert isinstance(fit(targets[:, None], scores[:, None], np.arange(2000))[0].calibration, kinds)
    # 60 windows of 6 recordings are no more evidence than 6
    windows = np.repeat(np.arange(206), 10)
    targets = windows < 6
    entry = fit(targets[:, None], np.where(targets, 0.8, 0.2)[:, None] + windows[:, None] / 2000, windows)[0]
    assert entry.n_positive == 6
    assert isinstance(entry.calibration, Platt)


def test_scores_that_tell_nothing_get_no_threshold() -> None:
    few = _one_per_recording([0.9] * 4, [0.1] * 20)
    assert (few.n_positive, few.best_f1, few.f1, few.curve, few.calibration) == (4, None, None, (), None)
    assert few.note == "4 validation recordings with it, 5 are needed for a threshold"
    assert at_precision(few, 0.5) is None
    assert probability(few, [0.5]) is None
    assert "without" in _one_per_recording([0.9] * 20, [0.1] * 2).note
    assert "the same" in _one_per_recording([0.5] * 9, [0.5] * 9).note
    turned = _one_per_recording([0.1, 0.2, 0.3, 0.1, 0.2], [0.9, 0.8, 0.7, 0.9, 0.8])
    assert turned.best_f1 is None
    assert "no higher" in turned.note


def test_saturated_scores_and_neighbouring_floats() -> None:
    saturated = _one_per_recording([1.0] * 6, [0.0] * 6)
    assert saturated.best_f1 == 0.5
    certain = probability(saturated, [0.0, 1.0])
    assert certain is not None
    assert np.isfinite(certain).all()
    low = float(np.float32(0.5))
    high = float(np.nextafter(np.float32(0.5), np.float32(1)))
    entry = _one_per_recording([high] * 6, [low] * 6)
    assert entry.best_f1 is not None
    for kind in (np.float32, np.float64):  # numpy compares float32 in float32
        assert (np.array([low, high], kind) >= entry.best_f1).tolist() == [False, True]


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1, np.inf])
def test_scores_that_are_none(bad: float) -> None:
    targets, scores, recordings = _validation(0, 30)
    entry = fit(targets, scores, recordings)[0]
    scores[3] = bad
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit(targets, scores, recordings)
    with pytest.raises(ValueError, match="between 0 and 1"):
        probability(entry, scores)


def test_shapes_that_do_not_match() -> None:
    targets, scores, recordings = _validation(0, 30)
    with pytest.raises(ValueError, match="do not match"):
        fit(targets, scores, recordings[1:])
    with pytest.raises(ValueError, match="do not match"):
        fit(targets[:, 0], scores[:, 0], recordings)


@pytest.mark.parametrize(("n", "share"), [(10, 0.1), (40, 0.3), (400, 0.4)])
def test_json_and_back(n: int, share: float) -> None:
    for seed in range(5):
        entry = fit(*_validation(seed, n, share=share))[0]
        assert from_dict(json.loads(json.dumps(to_dict(entry), allow_nan=False))) == entry


@pytest.mark.parametrize(
    "change",
    [
        {"best_f1": 1.5},
        {"best_f1": "0.5x"},
        {"f1": float("nan")},
        {"n_positive": -1},
        {"curve": [[0.5, 0.5]]},
        {"calibration": {"kind": "other"}},
        {"calibration": {"kind": "platt", "slope": -1, "intercept": 0}},
        {"calibration": {"kind": "platt", "slope": 1, "intercept": float("inf")}},
        {"calibration": {"kind": "isotonic", "scores": [0, 1], "probabilities": [1, 0]}},
        {"calibration": {"kind": "isotonic", "scores": [1, 0], "probabilities": [0, 1]}},
        {"calibration": {"kind": "isotonic", "scores": [0, 1], "probabilities": [0]}},
        {"calibration": {"kind": "isotonic", "scores": [], "probabilities": []}},
        {"more": 1},
    ],
)
def test_what_no_fit_gives_is_not_read(change: dict[str, Any]) -> None:
    good = to_dict(fit(*_validation(0, 40))[0])
    with pytest.raises(ValueError, match="ClassThresholds"):
        from_dict(good | change)
    with pytest.raises(ValueError, match="Field required"):
        from_dict({key: value for key, value in good.items() if key != "note"})


def test_entries_can_be_made_by_hand() -> None:
    entry = ClassThresholds(7, 0.4, 0.8, (), Platt(1.0, 0.0), "")
    found = probability(entry, [0.25])
    assert found is not None
    assert found[0] == pytest.approx(0.25)
    assert asdict(replace(entry, calibration=None))["calibration"] is None
