"""Waveform -> log-mel frames (PANNs) or mel image (ResNeSt), in batches on the model's device, always in float32.

B clips, S samples, T frames, M mel bins. Both transforms are centred: T = S // hop_samples + 1.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from aer.settings import MelSettings

# of a mel bin; keeps the logarithm finite: -100 dB
SMALLEST_POWER = 1e-10
# what lies further below a clip's peak is clipped
IMAGE_RANGE_DB = 80.0
# of an image in 8 bits
TOP_LEVEL = 255
# keep divisions finite for a clip without any contrast
SMALLEST_DEVIATION_DB, SMALLEST_CONTRAST = 1e-6, 1e-2

# Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz, then 27 steps for a factor of 6.4
LINEAR_HZ_PER_MEL = 200.0 / 3
BREAK_HZ = 1000.0
BREAK_MEL = BREAK_HZ / LINEAR_HZ_PER_MEL
LOG_STEP = float(np.log(6.4)) / 27


def build_spectrogram(mel: MelSettings) -> nn.Module:
    """Build torchlibrosa's power spectrogram: (B, S) -> (B, 1, T, window_samples // 2 + 1)."""
    # here, since it imports librosa: seconds that --help need not wait
    from torchlibrosa.stft import Spectrogram

    module: nn.Module = Spectrogram(
        n_fft=mel.window_samples,
        hop_length=mel.hop_samples,
        win_length=mel.window_samples,
        window="hann",
        center=True,
        pad_mode="reflect",
        freeze_parameters=True,
    )
    return module


def build_logmel(mel: MelSettings, sample_rate: int) -> nn.Module:
    """Build torchlibrosa's mel filter bank in dB re 1: (B, 1, T, window_samples // 2 + 1) -> (B, 1, T, M)."""
    from torchlibrosa.stft import LogmelFilterBank

    module: nn.Module = LogmelFilterBank(
        sr=sample_rate,
        n_fft=mel.window_samples,
        n_mels=mel.n_mels,
        fmin=mel.fmin_hz,
        fmax=mel.fmax_hz,
        ref=1.0,
        amin=SMALLEST_POWER,
        # torchlibrosa would take it from the peak of the whole batch: scores would depend on neighbours
        top_db=None,
        freeze_parameters=True,
    )
    return module


def hz_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return frequencies (Hz, any shape) on Slaney's mel scale."""
    logarithmic = BREAK_MEL + np.log(np.maximum(frequency_hz, BREAK_HZ) / BREAK_HZ) / LOG_STEP
    return np.where(frequency_hz < BREAK_HZ, frequency_hz / LINEAR_HZ_PER_MEL, logarithmic)


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return frequencies in Hz from Slaney's mel scale (any shape): the inverse of `hz_to_mel`."""
    logarithmic = BREAK_HZ * np.exp(LOG_STEP * (np.maximum(mel, BREAK_MEL) - BREAK_MEL))
    return np.where(mel < BREAK_MEL, mel * LINEAR_HZ_PER_MEL, logarithmic)


def mel_filter_bank(mel: MelSettings, sample_rate: int) -> Tensor:
    """Return triangles of equal area, evenly spaced in mel: (window_samples // 2 + 1, n_mels), float32, in 1/Hz.

    As `librosa.filters.mel` with norm="slaney" and htk=False.
    """
    ends = hz_to_mel(np.array([mel.fmin_hz, mel.fmax_hz]))
    edges_hz = mel_to_hz(np.linspace(ends[0], ends[1], mel.n_mels + 2))
    bins_hz = np.fft.rfftfreq(mel.window_samples, 1 / sample_rate)
    left, centre, right = (edges[:, None] for edges in (edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]))
    triangles = np.minimum((bins_hz - left) / (centre - left), (right - bins_hz) / (right - centre))
    return torch.from_numpy(np.maximum(triangles, 0) * 2 / (right - left)).float().T.contiguous()


def power_to_db(power: Tensor) -> Tensor:
    """Return power (B, ...) in dB re 1, not more than `IMAGE_RANGE_DB` below the peak of its own clip."""
    level_db = 10 * torch.log10(power.clamp(min=SMALLEST_POWER))
    return torch.maximum(level_db, level_db.flatten(1).amax(1).view(-1, *[1] * (power.dim() - 1)) - IMAGE_RANGE_DB)


class MelImage(nn.Module):
    """(B, S) -> image (B, 3, image_height, T * image_height // M) in [0, 1], low frequencies on top.

    `augment` maps dB frames (B, 1, T, M) to the same shape. A clip without any contrast (silence) is all 0. The image
    has 256 levels, since the Birdcall recipe kept it in 8 bits.
    """

    filter_bank: Tensor
    window: Tensor

    def __init__(self, mel: MelSettings, sample_rate: int, image_height: int, augment: nn.Module | None = None) -> None:
        super().__init__()
        self.hop_samples = mel.hop_samples
        self.image_height = image_height
        self.augment = nn.Identity() if augment is None else augment
        self.register_buffer("filter_bank", mel_filter_bank(mel, sample_rate))
        self.register_buffer("window", torch.hann_window(mel.window_samples, periodic=True))

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            return self.image(self.augment(self.frames(waveform.float())))

    def frames(self, waveform: Tensor) -> Tensor:
        """Return dB frames (B, 1, T, M) of a waveform (B, S), as librosa's defaults give them."""
        spectrum = torch.stft(
            waveform,
            n_fft=len(self.window),
            hop_length=self.hop_samples,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return power_to_db(power.transpose(1, 2) @ self.filter_bank)[:, None]

    def image(self, frames: Tensor) -> Tensor:
        """Return images (B, 3, H, W) of dB frames (B, 1, T, M): each clip standardised, scaled to [0, 1], resized."""
        n_frames, n_mels = frames.shape[2:]
        variance, mean = torch.var_mean(frames, dim=(1, 2, 3), correction=0, keepdim=True)
        # (B, 1, M, T)
        x = ((frames - mean) / (variance.sqrt() + SMALLEST_DEVIATION_DB)).transpose(2, 3)
        low, high = x.amin(dim=(1, 2, 3), keepdim=True), x.amax(dim=(1, 2, 3), keepdim=True)
        # standardised, any clip with contrast spans at least 2, one without exactly 0: so only silence is clamped
        x = (x - low) / (high - low).clamp(min=SMALLEST_CONTRAST)
        x = (x * TOP_LEVEL).floor() / TOP_LEVEL
        size = (self.image_height, max(1, n_frames * self.image_height // n_mels))
        image = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return image.expand(-1, 3, -1, -1)
