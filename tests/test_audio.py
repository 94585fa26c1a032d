"""Reading recordings, against soxr on the whole file and against what was written."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aer.audio import AudioInfo, place, probe, read_crop
from aer.errors import AudioError

FFMPEG = shutil.which("ffmpeg")


def noise(n_samples: int, channels: int, seed: int = 0) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).uniform(-1, 1, (n_samples, channels))


def tones(n_samples: int, rate: int) -> np.ndarray:
    time_s = np.arange(n_samples) / rate
    return (0.4 * np.sin(2 * np.pi * 440 * time_s) + 0.3 * np.sin(2 * np.pi * 3100 * time_s))[:, None]


@given(
    rate=st.sampled_from([8000, 11025, 22050, 44100, 48000, 192000]),
    channels=st.integers(1, 8),
    n_samples=st.sampled_from([1, 2, 3, 997, 4096]),
    subtype=st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_wav_becomes_the_mean_of_its_channels(
    tmp_path: Path, rate: int, channels: int, n_samples: int, subtype: str
) -> None:
    path = tmp_path / "a.wav"
    written = noise(n_samples, channels)
    soundfile.write(path, written, rate, subtype=subtype)
    assert probe(path) == AudioInfo(rate, channels, n_samples)
    step = 2**-7 if subtype == "PCM_U8" else 2**-15 if subtype == "PCM_16" else 2**-22
    read = read_crop(path, 0, None, rate)
    assert read.dtype == np.float32
    assert read.shape == (n_samples,)
    np.testing.assert_allclose(read, written.mean(axis=1), atol=step)


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 32000), (44100, 32000), (48000, 32000), (32000, 16000)])
@pytest.mark.parametrize("start_s", [0.0, 0.1234, 1.5, 2.7])
def test_a_crop_is_the_slice_of_the_whole_file_resampled(
    tmp_path: Path, rate: int, wanted: int, start_s: float
) -> None:
    path = tmp_path / "a.flac"
    written = 0.5 * tones(3 * rate, rate) + 0.3 * noise(3 * rate, 1)
    soundfile.write(path, written, rate, subtype="PCM_24")
    whole = soxr.resample(soundfile.read(path, dtype="float32")[0], rate, wanted, quality="VHQ")
    crop = read_crop(path, start_s, 0.3, wanted)
    assert len(crop) == round(0.3 * wanted)
    first = round(start_s * wanted)
    np.testing.assert_allclose(crop, whole[first : first + len(crop)], atol=1e-4)


def test_the_whole_file_is_what_soxr_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tones(44101, 44100), 44100, subtype="FLOAT")
    whole = soxr.resample(soundfile.read(path, dtype="float32")[0], 44100, 32000, quality="VHQ")
    np.testing.assert_allclose(read_crop(path, 0, None, 32000), whole, atol=1e-6)


def test_a_crop_beyond_the_end_is_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tones(8000, 8000), 8000)
    assert len(read_crop(path, 0.75, 1.0, 8000)) == 2000
    assert len(read_crop(path, 0.75, 1.0, 16000)) == 4000
    with pytest.raises(AudioError, match=r"a.wav: no samples at 1 s; it is 1 s long"):
        read_crop(path, 1.0, 1.0, 8000)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_formats_that_soundfile_writes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    written = tones(32000, 16000)
    soundfile.write(path, np.repeat(written, 2, axis=1), 16000)
    info = probe(path)
    assert (info.sample_rate, info.channels) == (16000, 2)
    assert info.duration_s == pytest.approx(2.0, abs=0.1)
    crop = read_crop(path, 0.5, 1.0, 16000)
    expected = written[8000:24000, 0]
    assert len(crop) == 16000
    assert np.corrcoef(crop, expected)[0, 1] > 0.95  # lossy ones too, and in time


@pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not on the PATH")
def test_m4a_through_ffmpeg(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tones(32000, 16000), 16000)
    command = [str(FFMPEG), "-loglevel", "error", "-i", tmp_path / "a.wav", tmp_path / "a.m4a"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    info = probe(tmp_path / "a.m4a")
    assert info.sample_rate == 16000
    assert info.duration_s == pytest.approx(2.0, abs=0.15)
    crop = read_crop(tmp_path / "a.m4a", 0.5, 1.0, 16000)
    lags = np.correlate(crop[4000:12000], tones(32000, 16000)[8000:24000, 0], "full")
    assert len(crop) == 16000
    assert np.abs(lags).max() > 0.9 * np.sum(crop[4000:12000] ** 2)


def broken(folder: Path) -> dict[str, tuple[Path, str]]:
    soundfile.write(folder / "whole.flac", noise(40000, 1), 16000)
    whole = (folder / "whole.flac").read_bytes()
    files = {
        "missing.wav": (None, "not there"),
        "text.wav": (b"this is no sound", "no other decoder"),
        "empty.wav": (b"", "no other decoder"),
        "cut.flac": (whole[: len(whole) // 2], ""),
    }
    for name, (content, _) in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
    (folder / "folder.wav").mkdir()
    soundfile.write(folder / "none.wav", np.zeros((0, 1)), 16000)
    soundfile.write(folder / "nan.wav", np.full((100, 1), np.nan), 16000, subtype="FLOAT")
    more = {"folder.wav": "not a file", "none.wav": "no samples", "nan.wav": "NaN or infinite samples"}
    return {name: (folder / name, reason) for name, (_, reason) in files.items()} | {
        name: (folder / name, reason) for name, reason in more.items()
    }


def test_what_can_not_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    for path, reason in broken(tmp_path).values():
        with pytest.raises(AudioError) as caught:
            read_crop(path, 0, None, 16000)
        assert str(caught.value).startswith(f"{path}: ")
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)


def test_place() -> None:
    assert place(np.float32([1, 2]), 5, 2).tolist() == [0, 0, 1, 2, 0]
    assert place(np.float32([1, 2]), 2, 0).tolist() == [1, 2]
