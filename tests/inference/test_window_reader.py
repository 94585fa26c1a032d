"""Windows of recordings that threads decode, against those over which training validates."""

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import config
from aer.corpus.discovery import Recording as CorpusRecording
from aer.inference.recordings import Recording
from aer.inference.window_reader import End, WindowSizes, read_windows
from aer.settings import PannsSettings
from aer.training.datasets import ValidationWindows

RATE = 16000
SETTINGS = PannsSettings.model_validate(
    config.PANNS["sample"].model_dump() | {"clip_duration_s": 1.0, "sample_rate": RATE}
)


def noise(path: Path, n_samples: int, rate: int, channels: int = 1) -> Path:
    random = np.random.default_rng(n_samples)
    soundfile.write(path, random.uniform(-0.5, 0.5, (n_samples, channels)), rate, subtype="PCM_16")
    return path


def read(paths: list[Path], threads: int = 2, n_held: int = 8) -> tuple[dict[int, dict[int, object]], list[End]]:
    """{recording: {start: waveform}} of windows without overlap, and how each recording ended."""
    recordings = [Recording(path, path.name, 0, 0) for path in paths]
    sizes = WindowSizes(RATE, SETTINGS.clip_samples, SETTINGS.clip_samples)
    found: dict[int, dict[int, object]] = {i: {} for i in range(len(paths))}
    ends = []
    with read_windows(recordings, sizes, threads, n_held) as stream:
        for window in stream:
            assert window.recording == len(ends)  # in the order of the recordings
            if window.end is not None:
                ends.append(window.end)
            else:
                assert window.start not in found[window.recording]
                found[window.recording][window.start] = window.waveform
    return found, ends


@pytest.mark.parametrize("threads", [1, 3])
def test_windows_are_those_of_validation(tmp_path: Path, threads: int) -> None:
    """At other rates too, at which a recording's length is no whole number of samples of the model's."""
    sizes = [
        (RATE, 3 * SETTINGS.clip_samples, 1),
        (RATE, 40_001, 1),
        (RATE, 2_000, 1),
        (32000, 80_001, 1),  # half a sample more than 40,000
        (44100, 144_099, 2),
        (48000, 120_002, 8),
        (192_000, 500_009, 1),
        (22050, 1_501, 1),  # shorter than a window
        (8000, 39_999, 1),
    ]
    paths = [noise(tmp_path / f"{i}.wav", n, rate, channels) for i, (rate, n, channels) in enumerate(sizes)]
    known = [
        CorpusRecording(path, (), soundfile.info(path).duration, rate)
        for path, (rate, *_) in zip(paths, sizes, strict=True)
    ]
    validation = ValidationWindows(known, (), SETTINGS)
    found, ends = read(paths, threads)
    assert [end.status for end in ends] == ["ok"] * len(paths)
    for number, (index, start) in enumerate(validation.windows):
        item = validation[number]
        assert item["unreadable"] == -1
        n_samples = ends[index].n_samples
        own_start = start if n_samples >= SETTINGS.clip_samples else -((SETTINGS.clip_samples - n_samples) // 2)
        np.testing.assert_allclose(found[index].pop(own_start), item["waveform"].numpy(), atol=2e-7)
    assert not any(found.values())


def test_what_comes_before_a_break_has_windows_to_its_end(tmp_path: Path) -> None:
    whole = noise(tmp_path / "whole.flac", 40 * RATE, RATE)
    broken, early = tmp_path / "broken.flac", tmp_path / "early.flac"
    content = bytearray(whole.read_bytes())
    content[-2000:] = bytes(2000)
    broken.write_bytes(content)
    early.write_bytes(content[:200])
    (start, *_), ends = read([broken, early, whole])
    assert [end.status for end in ends] == ["partial", "failed", "ok"]
    found, _ = read([broken, whole])
    n_samples = ends[0].n_samples
    assert 0 < n_samples < 40 * RATE
    assert max(found[0]) == n_samples - SETTINGS.clip_samples  # the last one ends where the reading did
    sound, _ = soundfile.read(whole, dtype="float32")
    for start, waveform in found[0].items():
        np.testing.assert_array_equal(waveform, sound[start : start + SETTINGS.clip_samples])


def test_a_break_within_the_first_window(tmp_path: Path) -> None:
    """NaN stops the reading where it is."""
    samples = np.full(600_000, 0.25, dtype=np.float32)
    samples[590_000] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 6_400_000, subtype="FLOAT")  # 0.09 s
    found, ends = read([tmp_path / "nan.wav"])
    assert (ends[0].status, ends[0].n_samples) == ("partial", 590_000 * RATE // 6_400_000)
    assert "NaN" in ends[0].reason
    assert list(found[0]) == [-((SETTINGS.clip_samples - ends[0].n_samples) // 2)]


def test_recordings_of_one_sample(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.full(1, 0.5), RATE)
    soundfile.write(tmp_path / "nothing_left.wav", np.full(1, 0.5), 48000)
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    found, ends = read([tmp_path / name for name in ("one.wav", "nothing_left.wav", "none.wav")])
    assert [end.status for end in ends] == ["ok", "empty", "empty"]
    assert [len(windows) for windows in found.values()] == [1, 0, 0]
    assert "nothing is left of it at 16000 Hz" in ends[1].reason
    assert "has no samples" in ends[2].reason


def test_a_bug_in_a_thread_surfaces(tmp_path: Path) -> None:
    class OddPath(type(Path())):  # type: ignore[misc]
        def stat(self, **_: object) -> object:
            raise RuntimeError("a bug")

    paths = [noise(tmp_path / f"{i}.wav", 50_000, RATE) for i in range(4)]
    with pytest.raises(RuntimeError, match="a bug"):
        read([*paths[:2], OddPath(paths[2]), paths[3]])


@pytest.mark.filterwarnings("error")  # what a generator says that is closed too late
def test_a_reader_that_nobody_listens_to_ends(tmp_path: Path) -> None:
    before = threading.active_count()
    recordings = [Recording(noise(tmp_path / f"{i}.wav", 99_000, RATE), f"{i}.wav", 0, 0) for i in range(3)]
    with read_windows(recordings, WindowSizes(RATE, 400, 400), threads=3, n_held=4) as stream:
        next(stream)
    gc.collect()
    assert threading.active_count() == before
