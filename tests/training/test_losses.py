"""Losses against hand-derived numbers and scikit-learn."""

import math
from typing import get_args

import pytest
import torch
from sklearn.metrics import log_loss

from aer.settings import LossName
from aer.training.losses import LOSSES, build_loss

LOGITS = torch.tensor([[0.3, -1.2, 2.0], [-0.7, 0.0, 4.0]])
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def test_there_is_a_loss_for_every_name_in_the_settings() -> None:
    assert set(LOSSES) == set(get_args(LossName))


@pytest.mark.parametrize("name", get_args(LossName))
def test_output_key(name: LossName) -> None:
    assert build_loss(name)[1] == ("clipwise_output" if name == "PANNsLoss" else "logits")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BCEWithLogits", math.log(4)),  # -ln 0.25
        ("BCEWithLogitsSmooth", 0.975 * math.log(4) + 0.025 * math.log(4 / 3)),  # target 1 becomes 0.975
        ("Focal", 0.8 * 0.75**1.5 * math.log(4)),
    ],
)
def test_by_hand_for_one_positive_at_a_quarter(name: LossName, expected: float) -> None:
    logit = torch.tensor([[math.log(0.25 / 0.75)]])
    assert build_loss(name)[0](logit, torch.ones(1, 1)).item() == pytest.approx(expected, rel=1e-6)


def test_panns_loss_by_hand() -> None:
    loss = build_loss("PANNsLoss")[0](torch.tensor([[0.25, 0.25]]), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, rel=1e-6)


def test_cross_entropy_by_hand_with_shared_targets() -> None:
    logits = torch.tensor([[math.log(0.2), math.log(0.3), math.log(0.5)]])
    loss = build_loss("CrossEntropy")[0](logits, torch.tensor([[0.4, 0.6, 0.0]]))
    assert loss.item() == pytest.approx(-0.4 * math.log(0.2) - 0.6 * math.log(0.3), rel=1e-6)


def test_binary_losses_agree_with_scikit_learn() -> None:
    probability = LOGITS.sigmoid()
    expected = log_loss(TARGETS.flatten().numpy(), probability.double().flatten().numpy())
    assert build_loss("BCEWithLogits")[0](LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-5)
    assert build_loss("PANNsLoss")[0](probability, TARGETS).item() == pytest.approx(expected, rel=1e-5)


def test_focal_weighs_an_easy_example_down_and_keeps_its_gradient_finite() -> None:
    logits = torch.tensor([[30.0, -30.0, 0.0]], requires_grad=True)
    loss = build_loss("Focal")[0](logits, torch.tensor([[1.0, 0.0, 1.0]]))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, :2].abs().max() < 1e-6 < logits.grad[0, 2].abs()


@pytest.mark.parametrize("name", get_args(LossName))
def test_nan_is_never_hidden(name: LossName) -> None:
    prediction = torch.tensor([[0.5, float("nan"), 0.5]])
    assert build_loss(name)[0](prediction, torch.tensor([[0.0, 1.0, 0.0]])).isnan()


@pytest.mark.parametrize("name", get_args(LossName))
def test_float32_under_mixed_precision(name: LossName) -> None:
    module, output_key = build_loss(name)
    prediction = LOGITS.sigmoid() if output_key == "clipwise_output" else LOGITS
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module(prediction, TARGETS)
    assert loss.dtype == torch.float32
    assert loss.item() == module(prediction, TARGETS).item()


def test_panns_loss_at_the_ends_is_finite_with_its_gradient() -> None:
    probability = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = build_loss("PANNsLoss")[0](probability, torch.tensor([[1.0, 0.0]]))
    loss.backward()
    assert probability.grad is not None
    assert loss.isfinite()
    assert probability.grad.isfinite().all()
