"""Losses by the names that config uses, each with the model output that it reads.

All take (B, C) float targets in [0, 1] and compute in float32 also under mixed precision: bf16 rounds a probability
near 1 to 1, where the gradient of cross-entropy dies.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aer.settings import LossName

OutputKey = Literal["logits", "clipwise_output"]

SMOOTHING = 0.05
FOCAL_ALPHA = 0.8
FOCAL_GAMMA = 1.5


def bce_with_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy () over clips and classes, of logits and targets (B, C)."""
    return F.binary_cross_entropy_with_logits(logits, targets)


def smooth_bce_with_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """Return `bce_with_logits` of targets moved to SMOOTHING / 2 and 1 - SMOOTHING / 2.

    Szegedy et al. 2016, arXiv 1512.00567, section 7.
    """
    return F.binary_cross_entropy_with_logits(logits, targets * (1 - SMOOTHING) + SMOOTHING / 2)


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean focal loss: FOCAL_ALPHA (1 - p)^FOCAL_GAMMA (-log p), p the probability of the right answer.

    Lin et al. 2017, arXiv 1708.02002, equation 5, but FOCAL_ALPHA weighs positives and negatives alike, as the Birdcall
    recipes have it.
    """
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # 1 - p of the right answer, exact also where p is near 1
    missed = -torch.expm1(-bce)
    return (FOCAL_ALPHA * missed**FOCAL_GAMMA * bce).mean()


def bce_on_probability(probability: Tensor, targets: Tensor) -> Tensor:
    """Return PANNs' loss: the mean binary cross-entropy () of probabilities and targets (B, C). NaN in, NaN out."""
    # binary_cross_entropy on NaN is an exception on the CPU, but on a GPU an assertion that ends the process
    is_nan = probability.isnan()
    bce = F.binary_cross_entropy(probability.masked_fill(is_nan, 0.5), targets, reduction="none")
    return bce.masked_fill(is_nan, torch.nan).mean()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy () of logits (B, C); a row of `targets` (B, C) holds the classes' probabilities."""
    return F.cross_entropy(logits, targets)


class Float32Loss(nn.Module):
    """A loss function as a module: prediction (B, C), targets (B, C) -> scalar, in float32 whatever comes in."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, prediction: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(prediction.device.type, enabled=False):
            return self.function(prediction.float(), targets.float())

    def extra_repr(self) -> str:
        return self.function.__name__


class Loss(NamedTuple):
    """A loss and the key of the model output that it reads."""

    module: nn.Module
    output_key: OutputKey


LOSSES: dict[LossName, tuple[Callable[[Tensor, Tensor], Tensor], OutputKey]] = {
    "BCEWithLogits": (bce_with_logits, "logits"),
    "BCEWithLogitsSmooth": (smooth_bce_with_logits, "logits"),
    "Focal": (focal, "logits"),
    "PANNsLoss": (bce_on_probability, "clipwise_output"),
    "CrossEntropy": (cross_entropy, "logits"),
}


def build_loss(name: LossName) -> Loss:
    """Return (module, output_key), so that `module(model(x)[output_key], targets)` is the loss."""
    function, output_key = LOSSES[name]
    return Loss(Float32Loss(function), output_key)
