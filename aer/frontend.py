"""Front ends as Modules: waveforms to log-mel frames (PANNs) and to mel images (ResNeSt), always in float32.

B clips, S samples, T frames, M mel bins. Every transform is centred, so T = S // hop_samples + 1.
"""

import torch
import torch.nn.functional as F
from librosa.filters import mel as mel_filter_bank
from torch import Tensor, nn
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

from aer.settings import MelSettings

TOP_DB = 80.0  # librosa's default: what lies further below a clip's peak is raised to there
LEVELS = 255  # the original recipe keeps its images in 8 bits
POWER_FLOOR = 1e-10  # librosa's default `amin`


def build_spectrogram(mel: MelSettings) -> Spectrogram:
    """Waveforms (B, S) -> power spectrograms (B, 1, T, window_samples // 2 + 1): Hann window, mirrored at the ends."""
    return Spectrogram(
        n_fft=mel.window_samples,
        hop_length=mel.hop_samples,
        win_length=mel.window_samples,
        window="hann",
        center=True,
        pad_mode="reflect",
        freeze_parameters=True,
    )


def build_logmel(mel: MelSettings, sample_rate: int) -> LogmelFilterBank:
    """Power spectrograms (B, 1, T, F) -> log-mel frames in dB (B, 1, T, M), relative to 1 and without a lower limit."""
    return LogmelFilterBank(
        sr=sample_rate,
        n_fft=mel.window_samples,
        n_mels=mel.n_mels,
        fmin=mel.fmin_hz,
        fmax=mel.fmax_hz,
        ref=1.0,
        amin=POWER_FLOOR,
        top_db=None,
        freeze_parameters=True,
    )


def power_to_db(power: Tensor) -> Tensor:
    """10 log10 of the power (B, ...), at most 80 dB below each clip's own peak, as `librosa.power_to_db` per clip."""
    db = 10 * power.clamp(min=POWER_FLOOR).log10()
    peak = db.flatten(1).amax(dim=1).view(-1, *[1] * (db.dim() - 1))  # (B,) -> (B, 1, ...)
    return torch.maximum(db, peak - TOP_DB)


def min_max(image: Tensor) -> Tensor:
    """Scales each clip of (B, ...) to [0, 1]; one that is the same everywhere, as silence is, becomes 0."""
    flat = image.flatten(1)
    shape = (-1, *[1] * (image.dim() - 1))
    low, high = flat.amin(dim=1).view(shape), flat.amax(dim=1).view(shape)
    return (image - low) / (high - low).clamp(min=1e-6)


class MelImage(nn.Module):
    """Waveforms (B, S) -> images (B, 3, image_height, T * image_height / M) in [0, 1], low frequencies first.

    A mel power spectrogram as librosa's defaults give it (Hann, centred, zeros beyond the ends; Slaney's mel scale and
    area norm), in dB, scaled to [0, 1] in 8 bits, stretched bilinearly, as three equal channels. (The original recipe
    standardises before it scales to [0, 1]; the scaling undoes that, so it is left out.)
    """

    window: Tensor
    filter_bank: Tensor

    def __init__(self, mel: MelSettings, sample_rate: int, image_height: int, augment: nn.Module):
        """`augment` is given dB frames (B, 1, T, M) between the two halves of the work."""
        super().__init__()
        self.mel = mel
        self.image_height = image_height
        self.augment = augment
        bank = mel_filter_bank(
            sr=sample_rate, n_fft=mel.window_samples, n_mels=mel.n_mels, fmin=mel.fmin_hz, fmax=mel.fmax_hz
        )
        self.register_buffer("window", torch.hann_window(mel.window_samples))
        self.register_buffer("filter_bank", torch.from_numpy(bank).T.contiguous())  # (F, M)

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            return self.image(self.augment(self.frames(waveform.float())))

    def frames(self, waveform: Tensor) -> Tensor:
        """(B, S) -> dB frames (B, 1, T, M)."""
        spectrum = torch.stft(
            waveform,
            n_fft=self.mel.window_samples,
            hop_length=self.mel.hop_samples,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )  # (B, F, T)
        power = torch.view_as_real(spectrum).square().sum(dim=-1)
        return power_to_db(power.transpose(1, 2) @ self.filter_bank)[:, None]  # (B, T, M) -> (B, 1, T, M)

    def image(self, frames: Tensor) -> Tensor:
        """dB frames (B, 1, T, M) -> images (B, 3, H, W)."""
        picture = min_max(frames).transpose(2, 3)  # (B, 1, T, M) -> (B, 1, M, T)
        picture = (picture * LEVELS).floor() / LEVELS
        width = picture.shape[3] * self.image_height // self.mel.n_mels
        picture = F.interpolate(picture, size=(self.image_height, width), mode="bilinear", align_corners=False)
        return picture.expand(-1, 3, -1, -1)
