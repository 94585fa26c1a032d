"""Several channels to one, and what is odd about them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from aer.audio.channels import LevelMeter, channel_levels, channel_notes
from aer.audio.io import open_stream, read_crop
from aer.errors import AudioError

RATE = 8000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three channels; the second is loudest in the whole, though not at the start."""
    random = np.random.default_rng(0)
    samples = 0.1 * random.standard_normal((3 * RATE, 3))
    samples[RATE:, 1] *= 3
    samples[:RATE, 1] *= 0.1
    soundfile.write(tmp_path / "a.wav", samples, RATE, "FLOAT")
    return tmp_path / "a.wav"


@pytest.mark.parametrize(("channels", "index"), [("first", 0), (1, 0), (2, 1), (3, 2), ("loudest", 1), ("mix", None)])
def test_the_channel_that_is_asked_for(path: Path, channels: str | int, index: int | None) -> None:
    samples, _ = soundfile.read(path, dtype="float32")
    expected = samples.mean(axis=1) if index is None else samples[:, index]
    np.testing.assert_array_equal(read_crop(path, 0, None, RATE, channels=channels), expected)
    np.testing.assert_array_equal(read_crop(path, 0.25, 0.5, RATE, channels=channels), expected[2000:6000])
    with open_stream(path, channels=channels) as (_, blocks):
        np.testing.assert_array_equal(np.concatenate(list(blocks)), expected)


@pytest.mark.parametrize("channels", [0, 4, -1])
def test_a_channel_that_is_not_there(path: Path, channels: int) -> None:
    with pytest.raises(AudioError, match=rf"a\.wav: has no channel {channels}: there are 3"):
        read_crop(path, 0, 1, RATE, channels=channels)
    with pytest.raises(AudioError, match="has no channel"), open_stream(path, channels=channels):
        pass


@pytest.mark.parametrize("channels", ["mix", "first", "loudest", 1])
def test_mono_is_what_it_is(tmp_path: Path, channels: str | int) -> None:
    samples = np.linspace(-0.5, 0.5, RATE, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, "FLOAT")
    np.testing.assert_array_equal(read_crop(tmp_path / "a.wav", 0, None, RATE, channels=channels), samples)


def test_levels_are_those_of_numpy_whatever_the_blocks() -> None:
    random = np.random.default_rng(1)
    mixing = random.standard_normal((3, 3))
    samples = (random.standard_normal((5000, 3)) @ mixing + [0.5, 0, -2]).astype(np.float32)
    for ends in ([], [1], [0, 10, 4000], list(range(0, 5000, 7))):
        levels = channel_levels(np.split(samples, ends))
        np.testing.assert_allclose(levels.power, samples.astype(np.float64).var(axis=0), rtol=1e-6)
        np.testing.assert_allclose(levels.correlation, np.corrcoef(samples.T.astype(np.float64)), atol=1e-9)
    assert levels.loudest == int(samples.var(axis=0).argmax())
    assert channel_levels([]).power.size == 0


def test_what_is_odd_is_noted() -> None:
    noise = np.random.default_rng(2).standard_normal(5000).astype(np.float32)
    silence, faint = np.zeros(5000, np.float32), 0.1 * np.random.default_rng(3).standard_normal(5000).astype(np.float32)

    def notes(*channels: np.ndarray) -> tuple[str, ...]:
        return channel_notes(channel_levels([np.stack(channels, axis=1)]))

    assert notes(noise, -noise) == ("channels 1 and 2 are in opposite phase: their mean cancels the sound",)
    assert notes(noise, -0.3 * noise + 0.1 * faint)[0].startswith("channels 1 and 2 are in opposite phase")
    assert notes(noise, silence) == ("channel 2 is dead",)
    assert notes(silence + 0.25, noise, -noise)[0] == "channel 1 is dead", "an offset is no sound"
    assert notes(noise, noise) == notes(noise, faint) == notes(silence, silence) == notes(noise) == ()


def test_an_observer_sees_all_channels_of_every_block(path: Path) -> None:
    samples, _ = soundfile.read(path, dtype="float32")
    meter = LevelMeter()
    with open_stream(path, observe=meter.add) as (_, blocks):
        mono = np.concatenate(list(blocks))
    np.testing.assert_array_equal(mono, samples.mean(axis=1))
    assert meter.n_samples == len(samples) and meter.peak == np.abs(samples).max()
    np.testing.assert_allclose(meter.levels().power, samples.astype(np.float64).var(axis=0), rtol=1e-6)


def test_the_loudest_channel_is_found_again_when_the_file_changes(path: Path) -> None:
    samples, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(read_crop(path, 0, 1, RATE, channels="loudest"), samples[:RATE, 1])
    soundfile.write(path, np.concatenate([samples[:, ::-1] * [1, 0.1, 1], 2 * samples[:5, ::-1]]), RATE, "FLOAT")
    changed, _ = soundfile.read(path, dtype="float32")
    loudest = int(changed.var(axis=0).argmax())
    assert loudest != 1
    np.testing.assert_array_equal(read_crop(path, 0, 1, RATE, channels="loudest"), changed[:RATE, loudest])
