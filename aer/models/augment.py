"""Augmentation of batches on their device, in training only: pure functions, then thin modules over them.

Everything is drawn from torch's global generators. The modules obey `.training`: in evaluation, and where the settings
ask for nothing, they draw nothing. None has a parameter or a buffer, so they leave no key in a state dict.

Log-mel batches are (B, 1, T, M): clips, one channel, frames, mel bins; waveforms (B, S).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from aer.settings import MixupSettings, SpecAugmentSettings, WaveformAugmentSettings


def stripe_mask(batch_size: int, length: int, stripes: int, max_width: int, device: torch.device) -> Tensor:
    """Return a mask (batch_size, length), bool, true inside one of a clip's `stripes`.

    Each is 0 to `max_width` wide, both included (at most `length`), and lies wholly on the axis. Clips get stripes
    independent of each other.
    """
    widths = torch.randint(0, min(max_width, length) + 1, (batch_size, stripes, 1), device=device)
    last_starts = length - widths
    # float32 rounding can lift rand() * (n + 1) to n + 1 itself, hence the minimum
    starts = (torch.rand(widths.shape, device=device) * (last_starts + 1)).long().minimum(last_starts)
    positions = torch.arange(length, device=device)
    return ((positions >= starts) & (positions < starts + widths)).any(dim=1)


def spec_augment(logmel: Tensor, settings: SpecAugmentSettings, fill: float | None = None) -> Tensor:
    """Mask whole frames and whole frequency bins (Park et al. 2019, arXiv 1904.08779).

    logmel (B, 1, T, M). Masked elements take the value `fill`; None: the mean of the clip.
    """
    batch_size, _, n_frames, n_mels = logmel.shape
    device = logmel.device
    masked: Tensor | None = None
    if settings.time_masks and settings.time_mask_frames:
        in_time = stripe_mask(batch_size, n_frames, settings.time_masks, settings.time_mask_frames, device)
        masked = in_time[:, None, :, None]
    if settings.frequency_masks and settings.frequency_mask_bins:
        in_mel = stripe_mask(batch_size, n_mels, settings.frequency_masks, settings.frequency_mask_bins, device)
        masked = in_mel[:, None, None, :] if masked is None else masked | in_mel[:, None, None, :]
    if masked is None:
        return logmel
    if fill is not None:
        return logmel.masked_fill(masked, fill)
    return torch.where(masked, logmel.mean(dim=(1, 2, 3), keepdim=True), logmel)


def warp_frames(logmel: Tensor, point: Tensor, shift: Tensor) -> Tensor:
    """Move frame `point` of each clip to `point + shift`, stretching both sides linearly; the ends stay.

    logmel (B, 1, T, M); point and shift (B,), with point and point + shift strictly between 0 and T - 1.
    """
    last = logmel.shape[2] - 1
    target = torch.arange(last + 1, device=logmel.device, dtype=torch.float32)[None, :]
    old = point[:, None].float()
    new = old + shift[:, None]
    before, after = target * old / new, old + (target - new) * (last - old) / (last - new)
    # (B, T): from where, between two frames, each frame of the result comes
    source = torch.where(target <= new, before, after).clamp(0, last)
    lower = source.floor().long().clamp(max=last - 1)
    # (B, T) -> (B, 1, T, 1)
    weight = (source - lower)[:, None, :, None].to(logmel.dtype)

    def frames_at(index: Tensor) -> Tensor:
        return logmel.gather(2, index[:, None, :, None].expand_as(logmel))

    return torch.lerp(frames_at(lower), frames_at(lower + 1), weight)


def time_warp(logmel: Tensor, max_frames: int) -> Tensor:
    """Warp time piecewise linearly: a random frame of each clip moves by at most `max_frames` (same paper).

    logmel (B, 1, T, M). Clips too short for the shift move by less; under 5 frames nothing moves.
    """
    batch_size, _, n_frames, _ = logmel.shape
    # leaves a frame inside on either side of point and shift
    largest = min(max_frames, (n_frames - 3) // 2)
    if largest <= 0:
        return logmel
    device = logmel.device
    point = torch.randint(largest + 1, n_frames - 1 - largest, (batch_size,), device=device)
    shift = torch.randint(-largest, largest + 1, (batch_size,), device=device)
    return warp_frames(logmel, point, shift)


def apply_gain(waveform: Tensor, gain_db: Tensor) -> Tensor:
    """Return waveform (B, S) with its amplitude times 10^(gain_db / 20), gain_db (B,)."""
    return waveform * torch.pow(10.0, gain_db / 20)[:, None].to(waveform.dtype)


def add_white_noise(waveform: Tensor, snr_db: Tensor) -> Tensor:
    """Return waveform (B, S) plus Gaussian noise of that signal-to-noise ratio, snr_db (B,). Silence stays silent."""
    signal_power = waveform.square().mean(dim=1)
    noise_rms = torch.sqrt(signal_power * torch.pow(10.0, -snr_db / 10))
    return waveform + torch.randn_like(waveform) * noise_rms[:, None].to(waveform.dtype)


def draw_mixup(batch_size: int, alpha: float, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return weight (batch_size,) from Beta(alpha, alpha) and partner (batch_size,), a permutation of the batch.

    Drawn on the CPU, then moved: there is no gamma sampler on every device, and a few numbers cost nothing.
    """
    weight = torch.distributions.Beta(alpha, alpha).sample((batch_size,))
    return weight.to(device), torch.randperm(batch_size).to(device)


def mixup(x: Tensor, weight: Tensor, partner: Tensor) -> Tensor:
    """Return weight * x + (1 - weight) * x[partner], for x (B, ...) and weight, partner (B,).

    Zhang et al. 2018, arXiv 1710.09412.
    """
    weight = weight.to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))
    return weight * x + (1 - weight) * x[partner]


class SpecAugment(nn.Module):
    """`time_warp`, then `spec_augment`: (B, 1, T, M) -> the same shape."""

    def __init__(self, settings: SpecAugmentSettings, fill: float | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.fill = fill

    def forward(self, logmel: Tensor) -> Tensor:
        if not self.training:
            return logmel
        return spec_augment(time_warp(logmel, self.settings.time_warp_frames), self.settings, self.fill)


class WaveformAugment(nn.Module):
    """`apply_gain`, then `add_white_noise`: (B, S) -> the same shape."""

    def __init__(self, settings: WaveformAugmentSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, waveform: Tensor) -> Tensor:
        if not self.training:
            return waveform
        gain_db, snr_db = self.settings.gain_db, self.settings.noise_snr_db
        if gain_db > 0:
            waveform = apply_gain(waveform, _uniform(waveform, -gain_db, gain_db))
        if snr_db is not None:
            waveform = add_white_noise(waveform, _uniform(waveform, *snr_db))
        return waveform


class Mixup(nn.Module):
    """`mixup` of one representation, waveform or spectrogram, if that is the one that the settings name.

    The training loop draws weight and partner, since it mixes the targets with them too.
    """

    def __init__(self, representation: Literal["waveform", "spectrogram"], settings: MixupSettings) -> None:
        super().__init__()
        self.active = settings.on == representation

    def forward(self, x: Tensor, weight: Tensor | None, partner: Tensor | None) -> Tensor:
        if not (self.active and self.training) or weight is None or partner is None:
            return x
        return mixup(x, weight, partner)


def _uniform(waveform: Tensor, low: float, high: float) -> Tensor:
    """Return one number per clip, (B,), from low to high, on the waveform's device."""
    return torch.empty(waveform.shape[0], device=waveform.device).uniform_(low, high)
