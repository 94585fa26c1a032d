"""Front ends against librosa, and what must hold for any clip."""

import librosa
import numpy as np
import pytest
import torch

import config
from aer.frontend import MelImage, build_logmel, build_spectrogram, min_max, power_to_db
from aer.settings import MelSettings

MEL = MelSettings(window_samples=512, hop_samples=160, n_mels=40, fmin_hz=100, fmax_hz=7000)
RATE = 16000


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    random = np.random.default_rng(3)
    chirp = librosa.chirp(fmin=300, fmax=6000, sr=RATE, duration=1.0)
    quiet = 0.001 * random.standard_normal(RATE)
    return torch.from_numpy(np.stack([0.5 * chirp + quiet, quiet]).astype(np.float32))


def librosa_db(waveform: np.ndarray, pad_mode: str, top_db: float | None) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=waveform, sr=RATE, n_fft=512, hop_length=160, n_mels=40, fmin=100, fmax=7000, pad_mode=pad_mode
    )
    return librosa.power_to_db(power, top_db=top_db)


def image_module(height: int = 40) -> MelImage:
    return MelImage(MEL, RATE, height, torch.nn.Identity())


def test_panns_logmel_is_librosas(batch: torch.Tensor) -> None:
    logmel = build_logmel(MEL, RATE)(build_spectrogram(MEL)(batch))
    assert logmel.shape == (2, 1, 101, 40)
    for clip, waveform in zip(logmel, batch, strict=True):
        np.testing.assert_allclose(clip[0].T, librosa_db(waveform.numpy(), "reflect", None), atol=2e-3)


def test_resnest_frames_are_librosas_with_the_limit_of_80_db_for_each_clip_alone(batch: torch.Tensor) -> None:
    frames = image_module().frames(batch)
    for clip, waveform in zip(frames, batch, strict=True):
        np.testing.assert_allclose(clip[0].T, librosa_db(waveform.numpy(), "constant", 80), atol=2e-3)


def test_the_image_is_the_scaled_spectrogram_in_8_bits(batch: torch.Tensor) -> None:
    image = image_module()(batch)
    for clip, waveform in zip(image, batch, strict=True):
        db = librosa_db(waveform.numpy(), "constant", 80)
        expected = (db - db.min()) / (db.max() - db.min())
        np.testing.assert_allclose(clip[0], expected, atol=1.1 / 255)
        assert torch.equal(clip[0], clip[1])
        assert torch.equal(clip[0], clip[2])


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation between pixel centres, written out."""

    def axis(size: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        place = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
        low = np.floor(place).astype(int)
        return low, np.minimum(low + 1, size - 1), place - low

    (top, bottom, dy), (left, right, dx) = axis(image.shape[0], height), axis(image.shape[1], width)
    rows = image[top] * (1 - dy)[:, None] + image[bottom] * dy[:, None]
    return rows[:, left] * (1 - dx) + rows[:, right] * dx


def test_the_image_is_stretched_bilinearly(batch: torch.Tensor) -> None:
    small, large = image_module(40)(batch), image_module(70)(batch)
    assert large.shape == (2, 3, 70, 101 * 70 // 40)
    np.testing.assert_allclose(large[0, 0], bilinear(small[0, 0].numpy(), 70, 176), atol=1e-5)


@pytest.mark.parametrize("clip", [torch.zeros(1, RATE), torch.full((1, RATE), 0.3), 1e-20 * torch.ones(1, RATE)])
def test_silence_gives_numbers(clip: torch.Tensor) -> None:
    image = image_module()(clip)
    assert torch.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


def test_a_clip_does_not_depend_on_its_batch(batch: torch.Tensor) -> None:
    torch.testing.assert_close(image_module()(batch)[1:], image_module()(batch[1:]))


def test_loudness_changes_nothing_above_the_floor(batch: torch.Tensor) -> None:
    torch.testing.assert_close(image_module()(batch[:1]), image_module()(0.25 * batch[:1]), atol=1.1 / 255, rtol=0)


def test_float32_under_mixed_precision(batch: torch.Tensor) -> None:
    plain = image_module()(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(image_module()(batch), plain)


def test_by_hand() -> None:
    assert power_to_db(torch.tensor([[1.0, 100.0, 1e-12], [1e-20, 1e-9, 0.0]])).tolist() == [
        [0.0, 20.0, -60.0],
        [-100.0, -90.0, -100.0],
    ]
    assert min_max(torch.tensor([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]])).tolist() == [[0, 1, 0.5], [0, 0, 0]]


def test_the_birdcall_image_is_224_by_547() -> None:
    settings = config.RESNEST["birdcall"]
    assert settings.clip_frames * settings.image_height // settings.mel.n_mels == 547
