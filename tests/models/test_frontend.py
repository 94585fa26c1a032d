"""Front ends against librosa, and the resize against a bilinear reference of half-pixel centres."""

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aer.models.frontend import MelImage, build_logmel, build_spectrogram
from aer.settings import MelSettings

pytestmark = pytest.mark.xdist_group("librosa")  # which is imported once, for seconds

SAMPLE_RATE = 32000
PANNS_MEL = MelSettings(window_samples=1024, hop_samples=320, n_mels=64, fmin_hz=50, fmax_hz=14000)
IMAGE_MEL = MelSettings(window_samples=2048, hop_samples=512, n_mels=128, fmin_hz=20, fmax_hz=16000)


def chirps(seconds: float = 1.0) -> Tensor:
    """Two clips of very different level, (2, S)."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(0).standard_normal((2, t.size))
    x = np.sin(2 * np.pi * (900 * t + 2000 * t**2)) + 0.05 * noise
    return torch.from_numpy((x * [[0.5], [0.002]]).astype(np.float32))


def librosa_mel(clip: Tensor, mel: MelSettings, pad_mode: str) -> NDArray[np.float32]:
    power: NDArray[np.float32] = librosa.feature.melspectrogram(
        y=clip.numpy(), sr=SAMPLE_RATE, n_fft=mel.window_samples, hop_length=mel.hop_samples, n_mels=mel.n_mels,
        fmin=mel.fmin_hz, fmax=mel.fmax_hz, pad_mode=pad_mode,
    )  # fmt: skip
    return power


def bilinear(image: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Bilinear resize, pixel centres at half integers, edges repeated."""

    def resize_rows(x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        source = (np.arange(size) + 0.5) * len(x) / size - 0.5
        return np.stack([np.interp(source, np.arange(len(x)), column) for column in x.T], axis=1)

    return resize_rows(resize_rows(image, height).T, width).T


def test_panns_log_mel_is_librosas() -> None:
    waveform = chirps()
    logmel = build_logmel(PANNS_MEL, SAMPLE_RATE)(build_spectrogram(PANNS_MEL)(waveform))
    assert logmel.shape == (2, 1, 101, 64)
    for clip, mine in zip(waveform, logmel, strict=True):
        expected = librosa.power_to_db(librosa_mel(clip, PANNS_MEL, "reflect"), ref=1.0, amin=1e-10, top_db=None)
        np.testing.assert_allclose(mine[0].numpy().T, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("sample_rate", "mel"),
    [
        (SAMPLE_RATE, IMAGE_MEL),
        (22050, MelSettings(window_samples=512, hop_samples=128, n_mels=40, fmin_hz=0, fmax_hz=11025)),
        (48000, MelSettings(window_samples=1024, hop_samples=256, n_mels=64, fmin_hz=1500, fmax_hz=15000)),
    ],
)
def test_filter_bank_is_librosas(sample_rate: int, mel: MelSettings) -> None:
    bank = MelImage(mel, sample_rate, 224, nn.Identity()).filter_bank
    expected = librosa.filters.mel(
        sr=sample_rate, n_fft=mel.window_samples, n_mels=mel.n_mels, fmin=mel.fmin_hz, fmax=mel.fmax_hz
    )
    np.testing.assert_allclose(bank.numpy().T, expected, atol=1e-7)


def test_image_frames_are_librosas_per_clip() -> None:
    waveform = chirps()
    frames = MelImage(IMAGE_MEL, SAMPLE_RATE, 224, nn.Identity()).frames(waveform)
    assert frames.shape == (2, 1, 63, 128)
    for clip, mine in zip(waveform, frames, strict=True):
        expected = librosa.power_to_db(librosa_mel(clip, IMAGE_MEL, "constant"))
        np.testing.assert_allclose(mine[0].numpy().T, expected, atol=2e-3)


@pytest.mark.parametrize("height", [224, 96])
def test_image_is_the_scaled_and_resized_log_mel(height: int) -> None:
    waveform = chirps()
    image = MelImage(IMAGE_MEL, SAMPLE_RATE, height, nn.Identity())(waveform)
    width = int(63 * height / 128)
    assert image.shape == (2, 3, height, width)
    assert torch.equal(image[:, 0], image[:, 1]) and torch.equal(image[:, 0], image[:, 2])
    for clip, mine in zip(waveform, image, strict=True):
        level_db = librosa.power_to_db(librosa_mel(clip, IMAGE_MEL, "constant")).astype(np.float64)
        scaled = (level_db - level_db.min()) / np.ptp(level_db)
        np.testing.assert_allclose(mine[0].numpy(), bilinear(scaled, height, width), atol=1.5 / 255)


def test_image_of_a_clip_depends_on_that_clip_alone() -> None:
    make_image = MelImage(IMAGE_MEL, SAMPLE_RATE, 224, nn.Identity())
    waveform = chirps()
    torch.testing.assert_close(make_image(waveform)[1:], make_image(waveform[1:]), atol=1.01 / 255, rtol=0)
    # the recorder's gain is no feature: it shifts all decibels alike
    torch.testing.assert_close(make_image(waveform), make_image(waveform * 0.25), atol=1.01 / 255, rtol=0)


def test_image_without_contrast_is_black_and_has_no_nan() -> None:
    waveform = torch.stack([torch.zeros(SAMPLE_RATE), chirps()[0]])
    image = MelImage(IMAGE_MEL, SAMPLE_RATE, 224, nn.Identity())(waveform)
    assert image[0].abs().max() == 0
    assert image[1].min() < 0.1 and image[1].max() > 0.9
    assert image.isfinite().all()


def test_nan_in_a_waveform_is_not_painted_over() -> None:
    waveform = chirps()
    waveform[0, 5000] = torch.nan
    image = MelImage(IMAGE_MEL, SAMPLE_RATE, 224, nn.Identity())(waveform)
    assert image[0].isnan().any()
    assert image[1].isfinite().all()


def test_image_shows_the_frames_after_augmentation() -> None:
    class Blank(nn.Module):
        def forward(self, frames: Tensor) -> Tensor:
            return frames.mean(dim=(1, 2, 3), keepdim=True).expand_as(frames)

    assert MelImage(IMAGE_MEL, SAMPLE_RATE, 224, Blank())(chirps()).abs().max() == 0


def test_image_is_float32_under_mixed_precision() -> None:
    make_image = MelImage(IMAGE_MEL, SAMPLE_RATE, 224, nn.Identity())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = make_image(chirps())
    assert image.dtype == torch.float32
    assert torch.equal(image, make_image(chirps()))


def test_low_notes_are_in_the_first_rows() -> None:
    t = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    tones = torch.stack([torch.sin(2 * torch.pi * hz * t) for hz in (300.0, 3000.0, 12000.0)])
    rows = MelImage(IMAGE_MEL, SAMPLE_RATE, 224, nn.Identity())(tones)[:, 0].mean(dim=2).argmax(dim=1)
    assert rows.tolist() == sorted(rows.tolist())
    assert rows[0] < 40 < 180 < rows[2]
