"""Losses against numbers worked out by hand."""

import math

import pytest
import torch

from aer.losses import build_loss

LN = math.log


def test_bce_and_smoothing() -> None:
    logits, targets = torch.tensor([[0.0, LN(3)]]), torch.tensor([[1.0, 0.0]])
    # probabilities 1/2 and 3/4
    plain, key = build_loss("BCEWithLogits")
    assert key == "logits"
    assert plain(logits, targets).item() == pytest.approx((LN(2) + LN(4)) / 2)
    smooth, _ = build_loss("BCEWithLogitsSmooth")
    # targets become 0.975 and 0.025
    by_hand = (LN(2) + 0.025 * LN(4 / 3) + 0.975 * LN(4)) / 2
    assert smooth(logits, targets).item() == pytest.approx(by_hand)


def test_focal() -> None:
    focal, key = build_loss("Focal")
    assert key == "logits"
    # probability of the target: 1/2 and 1/4
    by_hand = 0.8 * (0.5**1.5 * LN(2) + 0.75**1.5 * LN(4)) / 2
    assert focal(torch.tensor([[0.0, LN(3)]]), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(by_hand)


def test_panns_loss_is_float32_under_mixed_precision() -> None:
    loss, key = build_loss("PANNsLoss")
    assert key == "clipwise_output"
    probability = torch.tensor([[0.5, 0.9990]], requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(probability, torch.tensor([[1.0, 0.0]]))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx((LN(2) - LN(1 - 0.9990)) / 2, rel=1e-4)
    value.backward()
    assert probability.grad is not None
    assert probability.grad[0, 1].item() == pytest.approx(1 / (1 - 0.9990) / 2, rel=1e-3)


@pytest.mark.parametrize("name", ["BCEWithLogits", "BCEWithLogitsSmooth", "Focal", "PANNsLoss", "CrossEntropy"])
def test_nan_is_not_hidden(name: str) -> None:
    loss, _ = build_loss(name)
    assert math.isnan(loss(torch.tensor([[0.3, float("nan")]]), torch.tensor([[1.0, 0.0]])).item())


def test_cross_entropy() -> None:
    loss, _ = build_loss("CrossEntropy")
    assert loss(torch.tensor([[0.0, LN(3)]]), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(LN(4))


def test_without_positives_or_at_the_edges_losses_are_finite() -> None:
    for name in ("PANNsLoss",):
        loss, _ = build_loss(name)
        assert torch.isfinite(loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])))
