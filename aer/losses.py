"""Losses over batches, by the names that the settings use. B clips, C classes; targets (B, C) in 0..1."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmoothedBCEWithLogits(nn.Module):
    """Binary cross-entropy on logits with targets drawn towards 1/2: target * (1 - s) + s / 2."""

    def __init__(self, smoothing: float = 0.05):
        super().__init__()
        self.smoothing = smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        smoothed = targets * (1 - self.smoothing) + self.smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smoothed)


class FocalLoss(nn.Module):
    """Element-wise focal loss on logits: alpha * (1 - p)^gamma * BCE with p = exp(-BCE), the probability of the target.

    After Lin et al. 2017 (arXiv 1708.02002), with one alpha for positives and negatives alike.
    """

    def __init__(self, alpha: float = 0.8, gamma: float = 1.5):
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (self.alpha * (1 - torch.exp(-bce)) ** self.gamma * bce).mean()


class PANNsLoss(nn.Module):
    """Binary cross-entropy on the clip-wise probability (Kong et al. 2020), in float32.

    In bfloat16 a probability near 1 would become 1, where the gradient dies.
    """

    def forward(self, clipwise_output: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(clipwise_output.device.type, enabled=False):
            probability = clipwise_output.float()
            # torch's loss aborts on NaN (on a GPU the whole process); here NaN goes in and comes out
            loss = F.binary_cross_entropy(probability.nan_to_num(nan=0.5), targets.float())
            return loss + 0 * probability.sum()


class CrossEntropy(nn.Module):
    """Cross-entropy on logits, for one class per clip: targets (B, C) are one-hot, or probabilities."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets)


# name in the settings: the loss, and the model's output that it reads
LOSSES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "BCEWithLogits": (nn.BCEWithLogitsLoss, "logits"),
    "BCEWithLogitsSmooth": (SmoothedBCEWithLogits, "logits"),
    "Focal": (FocalLoss, "logits"),
    "PANNsLoss": (PANNsLoss, "clipwise_output"),
    "CrossEntropy": (CrossEntropy, "logits"),
}


def build_loss(name: str) -> tuple[nn.Module, str]:
    """The loss of that name and the key of the model's output that it reads."""
    build, output_key = LOSSES[name]
    return build(), output_key
