"""Crops against soxr on the whole file, and every way in which a file can be bad."""

import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from aer.audio.info import AudioInfo
from aer.audio.io import open_stream, place, probe, read_crop
from aer.errors import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def noise(n_samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, channels)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def whole(path: Path, rate: int) -> np.ndarray:
    """The oracle: libsndfile on the whole file, soxr on the whole waveform."""
    samples, rate_in = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return mono if rate_in == rate else soxr.resample(mono, rate_in, rate, quality="VHQ")


def ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("rate_in", "rate_out"), [(8000, 32000), (44100, 32000), (48000, 32000), (32000, 16000), (22050, 32000)]
)
def test_crop_is_a_slice_of_the_whole_recording_resampled(tmp_path: Path, rate_in: int, rate_out: int) -> None:
    path = write(tmp_path / "a.wav", noise(4 * rate_in + 7, 2), rate_in, "FLOAT")
    expected = whole(path, rate_out)
    for start_s in (0.0, 0.0123, 0.5, 1.2345, 2.0, 3.0, 3.4):
        crop = read_crop(path, start_s, 1.0, rate_out)
        first = round(start_s * rate_out)
        reference = expected[first : first + rate_out]
        assert crop.shape == reference.shape and crop.dtype == np.float32
        assert np.abs(crop - reference).max() <= 1e-4


@settings(max_examples=60, deadline=None)
@given(
    rate_in=st.sampled_from([8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 44101]),
    rate_out=st.sampled_from([8000, 16000, 22050, 32000, 48000]),
    channels=st.integers(1, 3),
    n_samples=st.sampled_from([0, 1, 2, 3, 127, 1009, 7919, 30011]),
    kind=st.sampled_from(
        [("wav", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")] + [("flac", "PCM_24")]
    ),
    start=st.floats(0, 1.1),
    length=st.floats(0.01, 1.2),
)
def test_crop_property(
    rate_in: int, rate_out: int, channels: int, n_samples: int, kind: tuple[str, str], start: float, length: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"a.{kind[0]}", noise(n_samples, channels), rate_in, kind[1])
        if n_samples == 0:
            with pytest.raises(AudioError, match=r"no samples|is empty"):
                probe(path)
            return
        assert probe(path) == AudioInfo(rate_in, channels, n_samples)
        start_s = start * n_samples / rate_in
        duration_s = max(1, round(length * n_samples / rate_in * rate_out)) / rate_out
        first = round(start_s * rate_out)
        expected = whole(path, rate_out)[first : first + round(duration_s * rate_out)]
        if start_s >= n_samples / rate_in or not len(expected):
            with pytest.raises(AudioError, match=r"nothing to read|too short"):
                read_crop(path, start_s, duration_s, rate_out)
        else:
            crop = read_crop(path, start_s, duration_s, rate_out)
            assert crop.shape == expected.shape and crop.dtype == np.float32
            assert np.abs(crop - expected).max() <= 1e-4


@pytest.mark.parametrize("suffix", ["ogg", "mp3", "flac", "aiff"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_seek_is_exact_in_every_format(tmp_path: Path, suffix: str, rate: int) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(5 * rate, 2), rate)
    expected = whole(path, 32000)
    for start_s in np.random.default_rng(1).uniform(0, 4.8, 12):
        first = round(start_s * 32000)
        crop = read_crop(path, start_s, 0.5, 32000)
        assert np.abs(crop - expected[first : first + 16000]).max() <= 1e-4
    assert len(read_crop(path, 0, None, 32000)) == len(expected) == pytest.approx(5 * 32000, abs=1)


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = np.stack([np.full(800, 0.5), np.full(800, -0.25)], axis=1)
    path = write(tmp_path / "a.wav", stereo, 8000, "FLOAT")
    np.testing.assert_array_equal(read_crop(path, 0, None, 8000), np.full(800, 0.125, np.float32))


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    try:
        write(tmp_path / "a.wav", noise(800), 8000).rename(path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert probe(path).n_samples == 800
    path.write_bytes(b"nothing")
    with pytest.raises(AudioError) as caught:
        probe(path)
    str(caught.value).encode()  # can be printed


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "mp3"])
def test_truncated_says_so(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(32000), 32000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=rf"a\.{suffix}: cut short"):
        read_crop(path, 0, None, 32000)


def test_half_a_truncated_flac_can_still_be_heard(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(64000), 32000)
    expected = read_crop(path, 0.1, 0.2, 32000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    np.testing.assert_array_equal(read_crop(path, 0.1, 0.2, 32000), expected)


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_what_is_there_of_half_a_recording(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(32000), 32000)
    whole = read_crop(path, 0, None, 32000)
    n_header = path.stat().st_size - 2 * len(whole)
    path.write_bytes(path.read_bytes()[: n_header + 2 * 10_000])
    kept_blocks: list[np.ndarray] = []
    with pytest.raises(AudioError, match="cut short"), open_stream(path) as (info, blocks):
        assert info.n_samples == 10_000
        kept_blocks.extend(blocks)
    np.testing.assert_array_equal(np.concatenate(kept_blocks), whole[:10_000])
    assert probe(path, allow_cut_short=True).n_samples == 10_000
    np.testing.assert_array_equal(read_crop(path, 0.25, 1.0, 32000, allow_cut_short=True), whole[8000:10_000])
    for read in (lambda: probe(path), lambda: read_crop(path, 0.25, 1.0, 32000)):
        with pytest.raises(AudioError, match="cut short"):
            read()
    np.testing.assert_array_equal(read_crop(path, 0, 0.1, 32000), whole[:3200])  # sound up to the cut


def test_sizes_that_a_pipe_could_not_know_are_no_truncation(tmp_path: Path) -> None:
    wav = write(tmp_path / "a.wav", noise(3200), 32000)
    content = bytearray(wav.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    wav.write_bytes(content)
    assert probe(wav).n_samples == 3200


@needs_ffmpeg
def test_flac_from_a_pipe_has_no_length_in_its_header(tmp_path: Path) -> None:
    flac = write(tmp_path / "a.flac", noise(3200), 32000)
    expected = read_crop(flac, 0.05, 0.02, 32000)
    content = bytearray(flac.read_bytes())
    content[21] &= 0xF0  # STREAMINFO: 36 bits of total samples, 0 for unknown
    content[22:26] = bytes(4)
    flac.write_bytes(content)
    assert probe(flac).n_samples == 3200
    np.testing.assert_array_equal(read_crop(flac, 0.05, 0.02, 32000), expected)
    assert len(read_crop(flac, 0, None, 32000)) == 3200


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_nan_and_infinity_are_refused(tmp_path: Path, bad: float, channels: int) -> None:
    samples = noise(3200, channels)
    samples[1600, 0] = bad
    path = write(tmp_path / "a.wav", samples, 32000, "FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        read_crop(path, 0, None, 32000)
    assert len(read_crop(path, 0, 0.01, 32000)) == 320  # elsewhere it is sound


def test_values_beyond_any_scale_are_refused(tmp_path: Path) -> None:
    """Finite, but their squares are not: they would reach the model as NaN."""
    samples = noise(3200)
    samples[1600] = 3e38
    path = write(tmp_path / "a.wav", samples, 44100, "FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: has samples of 3\.0e\+38, where full scale is 1"):
        read_crop(path, 0, None, 32000)
    path = write(tmp_path / "b.wav", samples.clip(-1, 2.0**31), 32000, "FLOAT")  # integers that were stored as floats
    assert read_crop(path, 0, None, 32000).max() == 2.0**31


@pytest.mark.parametrize("rate", [1, 99, 10_000_001, 2**31 - 1])
def test_sample_rates_that_no_recording_has_are_refused(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", noise(800), 8000)
    content = bytearray(path.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(AudioError, match=f"a sample rate of {rate} Hz"):
        probe(path)


def test_a_header_that_promises_years_is_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(32000), 32000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # STREAMINFO: the upper 4 of 36 bits of total samples
    path.write_bytes(content)
    assert probe(path).n_samples == 32000  # all that its checksum speaks of
    assert probe(path).notes == ("its header promises 64424541440 samples, 32000 are there",)
    content[26:42] = bytes(16)  # without that it may be the half of what was there
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"cut short: its header promises 2013266\.920 s, it ends at 1\.000 s"):
        probe(path)
    silence = write(tmp_path / "b.flac", np.zeros((3_000_000, 1)), 32000)  # few bytes for many samples, and true
    assert silence.stat().st_size < 30_000
    assert probe(silence).n_samples == 3_000_000
    assert len(read_crop(silence, 60, 1, 32000)) == 32000


def test_decoders_do_not_write_to_the_console(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.mp3", noise(32000), 32000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for _ in range(2):
        with pytest.raises(AudioError, match="cut short"):
            read_crop(path, 0, None, 32000)
    os.write(2, b"mine")
    assert capfd.readouterr().err == "mine"


def test_bad_files_are_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello " * 100)
    (tmp_path / "text.m4a").write_text("hello " * 100)
    (tmp_path / "zero.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")  # a decoder would wait for ever
    for name, reason in {
        "missing.wav": "no such file",
        "text.wav": "not audio",
        "text.m4a": "not audio",
        "zero.wav": "empty",
        "folder.wav": "not a file",
        "pipe.wav": "not a file",
    }.items():
        for read in (probe, lambda path: read_crop(path, 0, None, 16000)):
            with pytest.raises(AudioError, match=reason) as caught:
                read(tmp_path / name)
            assert str(caught.value).startswith(str(tmp_path / name))
            assert "\n" not in str(caught.value)


def test_control_characters_in_a_name_are_not_printed(tmp_path: Path) -> None:
    with pytest.raises(AudioError) as caught:
        probe(tmp_path / "\x1b[2Jx.wav")
    assert "\x1b" not in str(caught.value) and "\\x1b[2J" in str(caught.value)


def test_start_after_the_end_and_crops_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(8000), 8000)
    with pytest.raises(AudioError, match="ends at 1 s"):
        read_crop(path, 1.0, 0.5, 8000)
    for start_s, duration_s in ((-0.1, 1.0), (0.0, 0.0)):
        with pytest.raises(ValueError, match="not a crop"):
            read_crop(path, start_s, duration_s, 8000)


@needs_ffmpeg
def test_m4a_goes_through_audioread(tmp_path: Path) -> None:
    rate = 32000
    tone = np.sin(np.arange(2 * rate) * (2 * math.pi * 1000 / rate)) * np.linspace(0, 0.5, 2 * rate)
    wav = write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), rate)
    m4a = tmp_path / "a.M4A"
    ffmpeg("-i", wav, "-movflags", "+faststart", "-b:a", "192k", m4a)
    info = probe(m4a)
    assert (info.sample_rate, info.channels) == (rate, 2) and info.duration_s == pytest.approx(2, abs=0.1)
    everything = read_crop(m4a, 0, None, rate)
    assert np.abs(everything[rate : rate + 8000] - tone[rate : rate + 8000]).max() < 0.05
    for target in (rate, 16000):
        mono = everything if target == rate else soxr.resample(everything, rate, target, quality="VHQ")
        crop = read_crop(m4a, 0.7, 0.5, target)
        first = round(0.7 * target)
        assert np.abs(crop - mono[first : first + target // 2]).max() <= 1e-4
    m4a.write_bytes(m4a.read_bytes()[: m4a.stat().st_size // 2])
    with pytest.raises(AudioError, match="cut short"):
        read_crop(m4a, 0, None, rate)


@needs_ffmpeg
def test_mp3_without_a_length_in_its_header(tmp_path: Path) -> None:
    wav = write(tmp_path / "a.wav", noise(3 * 44100), 44100)
    ffmpeg("-i", wav, "-write_xing", "0", "-b:a", "64k", tmp_path / "a.mp3")
    n_samples = len(read_crop(tmp_path / "a.mp3", 0, None, 44100))
    assert n_samples == pytest.approx(3 * 44100, abs=3 * 1152)
    assert probe(tmp_path / "a.mp3").n_samples == pytest.approx(n_samples, abs=2 * 1152)


def test_place() -> None:
    np.testing.assert_array_equal(place(np.ones(2, np.float32), 5, 2), np.array([0, 0, 1, 1, 0], np.float32))
    assert place(np.ones(5, np.float32), 5, 0).dtype == np.float32
    for offset in (-1, 4):
        with pytest.raises(ValueError, match="fit"):
            place(np.ones(2, np.float32), 5, offset)
