"""Augmentation of batches on their device: pure functions, and Modules over them that act in training only.

Log-mel batches are (B, 1, T, M): clips, one channel, frames, mel bins. Random numbers come from torch's generator of
the tensor's device, which the training loop seeds.
"""

import torch
from torch import Tensor, nn

from aer.settings import SpecAugmentSettings, WaveformAugmentSettings


def draw_mixup(batch_size: int, alpha: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each of B clips a weight (B,) from Beta(alpha, alpha) and a partner (B,), a permutation of the batch."""
    concentration = torch.full((batch_size,), alpha, device=device)
    weight = torch.distributions.Beta(concentration, concentration).sample()
    return weight, torch.randperm(batch_size, device=device)


def mixup(batch: Tensor, weight: Tensor, partner: Tensor) -> Tensor:
    """weight * x + (1 - weight) * x[partner]; batch (B, ...), weight (B,), partner (B,) (arXiv 1710.09412, eq. 1)."""
    weight = weight.view(-1, *[1] * (batch.dim() - 1))  # (B,) -> (B, 1, ...)
    return weight * batch + (1 - weight) * batch[partner]


def stripe_mask(batch_size: int, length: int, stripes: int, max_width: int, device: torch.device) -> Tensor:
    """True inside the stripes: (B, length). Each is 0 to max_width wide and lies wholly on the axis."""
    max_width = min(max_width, length)
    width = torch.randint(0, max_width + 1, (batch_size, stripes, 1), device=device)
    # a float in [0, 1) per stripe, scaled to the starts that its width allows
    start = (torch.rand(batch_size, stripes, 1, device=device) * (length - width + 1)).floor()
    position = torch.arange(length, device=device)
    return ((position >= start) & (position < start + width)).any(dim=1)  # (B, stripes, length) -> (B, length)


def time_warp(logmel: Tensor, max_frames: int) -> Tensor:
    """Moves a random frame of each clip by up to `max_frames`, and the others linearly with it; the ends stay.

    logmel (B, 1, T, M) -> the same shape. The one-dimensional form of SpecAugment's time warping (arXiv 1904.08779).
    """
    n_clips, _, n_frames, _ = logmel.shape
    max_frames = min(max_frames, (n_frames - 1) // 2 - 1)
    if max_frames < 1:
        return logmel
    last = n_frames - 1
    device = logmel.device
    # the anchor keeps max_frames + 1 frames away from both ends, so that no side is squeezed to nothing
    anchor = max_frames + 1 + torch.rand(n_clips, 1, device=device) * (last - 2 * max_frames - 2)
    moved = anchor + (2 * torch.rand(n_clips, 1, device=device) - 1) * max_frames
    frame = torch.arange(n_frames, device=device, dtype=logmel.dtype)
    left = frame * anchor / moved
    right = anchor + (frame - moved) * (last - anchor) / (last - moved)
    source = torch.where(frame < moved, left, right).clamp(0, last)  # (B, T): where each frame is taken from
    below = source.floor().long().clamp(max=last - 1)
    weight = (source - below)[:, None, :, None]  # (B, T) -> (B, 1, T, 1)
    index = below[:, None, :, None].expand_as(logmel)
    return torch.lerp(logmel.gather(2, index), logmel.gather(2, index + 1), weight)


class SpecAugment(nn.Module):
    """Time warp, then time and frequency masks, other ones for each clip, in training only (arXiv 1904.08779)."""

    def __init__(self, settings: SpecAugmentSettings):
        super().__init__()
        self.settings = settings

    def forward(self, logmel: Tensor) -> Tensor:
        """(B, 1, T, M) -> the same shape; what is masked becomes the clip's mean."""
        if not self.training:
            return logmel
        chosen = self.settings
        logmel = time_warp(logmel, chosen.time_warp_frames)
        n_clips, _, n_frames, n_mels = logmel.shape
        mean = logmel.mean(dim=(1, 2, 3), keepdim=True)
        frames = stripe_mask(n_clips, n_frames, chosen.time_masks, chosen.time_mask_frames, logmel.device)
        bins = stripe_mask(n_clips, n_mels, chosen.frequency_masks, chosen.frequency_mask_bins, logmel.device)
        masked = frames[:, None, :, None] | bins[:, None, None, :]  # (B, T), (B, M) -> (B, 1, T, M)
        return torch.where(masked, mean, logmel)


class WaveformAugment(nn.Module):
    """Random gain and white noise, other ones for each clip, in training only."""

    def __init__(self, settings: WaveformAugmentSettings):
        super().__init__()
        self.settings = settings

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> (B, S). A silent clip stays silent: it has no level that a noise could be relative to."""
        if not self.training:
            return waveform
        n_clips, device = len(waveform), waveform.device
        if self.settings.noise_snr_db is not None:
            low, high = self.settings.noise_snr_db
            snr_db = low + (high - low) * torch.rand(n_clips, 1, device=device)
            level = waveform.square().mean(dim=1, keepdim=True).sqrt()
            waveform = waveform + torch.randn_like(waveform) * level * 10 ** (-snr_db / 20)
        if self.settings.gain_db > 0:
            gain_db = self.settings.gain_db * (2 * torch.rand(n_clips, 1, device=device) - 1)
            waveform = waveform * 10 ** (gain_db / 20)
        return waveform
