"""Clips and windows: what they are cut from, and that nothing but seed, epoch and recording decides."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

import config
from aer.corpus.discovery import Recording, find_corpus
from aer.errors import AudioError
from aer.settings import PannsSettings
from aer.training.datasets import EpochSampler, TrainClips, ValidationWindows

RATE = 16000
CLASSES = ("robin", "wren")
SETTINGS = PannsSettings.model_validate(
    config.PANNS["sample"].model_dump() | {"clip_duration_s": 1.0, "sample_rate": RATE}
)


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    """Ramps of known samples: 0.5 s, 1 s, 2.25 s and 3 s long."""
    made = []
    for i, duration_s in enumerate((0.5, 1.0, 2.25, 3.0)):
        path = tmp_path / f"{i}.wav"
        n_samples = int(duration_s * RATE)
        soundfile.write(path, np.arange(1, n_samples + 1) / (4 * RATE), RATE, subtype="FLOAT")
        made.append(Recording(path, CLASSES[: i % 3], duration_s, RATE))
    return made


def ramp_start(waveform: torch.Tensor) -> int:
    """Which sample of its recording a waveform starts with."""
    return round(float(waveform[0]) * 4 * RATE) - 1


def test_windows_cover_whole_recordings(recordings: list[Recording]) -> None:
    windows = ValidationWindows(recordings, CLASSES, SETTINGS)
    expected = [(0, 0), (1, 0), (2, 0), (2, 16000), (2, 20000), (3, 0), (3, 16000), (3, 32000)]
    assert windows.windows == expected
    short = windows[0]["waveform"]
    assert short.shape == (RATE,)
    assert short[:4000].abs().max() == 0  # 8000 samples centred in 16000
    assert short[12000:].abs().max() == 0
    assert ramp_start(short[4000:]) == 0
    for number, (clip, start) in enumerate(expected[1:], 1):
        item = windows[number]
        assert ramp_start(item["waveform"]) == start
        assert (item["clip"], item["unreadable"]) == (clip, -1)
    assert windows[2]["targets"].tolist() == [1, 1]
    assert windows[0]["targets"].tolist() == [0, 0]


def test_training_crops_follow_from_seed_epoch_and_recording(recordings: list[Recording]) -> None:
    one, other = (TrainClips(recordings, CLASSES, SETTINGS) for _ in range(2))
    starts = set()
    for epoch in range(1, 40):
        one.start_epoch(epoch)
        other.start_epoch(epoch)
        for i in (3, 0, 2, 1):
            assert torch.equal(one[i]["waveform"], other[i]["waveform"])
        starts.add(ramp_start(one[3]["waveform"]))
    assert len(starts) > 30
    assert 0 <= min(starts) < 4000
    assert 28000 < max(starts) <= 32000


def test_a_short_recording_is_placed_anywhere_but_whole(recordings: list[Recording]) -> None:
    clips = TrainClips(recordings, CLASSES, SETTINGS)
    offsets = set()
    for epoch in range(30):
        clips.start_epoch(epoch)
        sound = clips[0]["waveform"].nonzero().flatten()
        assert len(sound) == 8000
        offsets.add(int(sound[0]))
    assert len(offsets) > 25


def test_an_unreadable_recording_is_marked(recordings: list[Recording]) -> None:
    recordings[2].path.write_text("no sound any more")
    clips = TrainClips(recordings, CLASSES, SETTINGS)
    item = clips[2]
    assert item["unreadable"] == 2
    assert item["clip"] != 2  # another one took its place, with its own targets
    assert torch.equal(item["targets"], clips[int(item["clip"])]["targets"])
    assert item["waveform"].abs().max() > 0
    windows = ValidationWindows(recordings, CLASSES, SETTINGS)
    assert [int(windows[i]["unreadable"]) for i in range(len(windows))] == [-1, -1, 2, 2, 2, -1, -1, -1]
    for recording in recordings:
        recording.path.unlink()
    with pytest.raises(AudioError, match="none of the 4 recordings"):
        clips[0]


@pytest.mark.parametrize(("seconds", "rate", "suffix"), [(4, 8000, "wav"), (1, 44100, "wav"), (6, RATE, "flac")])
def test_a_recording_that_is_cut_short_is_used_as_far_as_it_is_there(
    tmp_path: Path, seconds: int, rate: int, suffix: str
) -> None:
    path = tmp_path / f"corpus/wren/cut.{suffix}"
    path.parent.mkdir(parents=True)
    samples = np.random.default_rng(1).uniform(0.1, 0.5, seconds * rate)
    soundfile.write(path, samples, rate)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    corpus = find_corpus(tmp_path / "corpus")
    (recording,) = corpus.recordings
    assert "promises" in recording.cut and corpus.cut_short == [(path, recording.cut)] and not corpus.left_out
    assert 0.4 * seconds < recording.duration_s < 0.65 * seconds
    windows = ValidationWindows([recording], CLASSES, SETTINGS)
    items = [windows[i] for i in range(len(windows))]
    assert [int(item["unreadable"]) for item in items] == [-1] * len(items), [item["reason"] for item in items]
    # without a sample of silence where it ends
    n_samples = int(recording.duration_s * RATE)
    first = max(0, (RATE - n_samples) // 2)
    assert float(items[-1]["waveform"][first : first + min(n_samples, RATE)].abs().min()) > 0
    clips = TrainClips([recording], CLASSES, SETTINGS)
    for epoch in range(20):
        clips.start_epoch(epoch)
        assert clips[0]["unreadable"] == -1


@pytest.mark.parametrize(("channels", "level"), [("mix", 0.25), ("first", 0.125), (2, 0.375), ("loudest", 0.375)])
def test_the_channels_of_the_settings_are_heard(tmp_path: Path, channels: str | int, level: float) -> None:
    path, alternating = tmp_path / "stereo.wav", np.tile([1.0, -1.0], RATE)
    samples = alternating[:, None] * [0.125, 0.375]
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    settings = SETTINGS.model_copy(update={"channels": channels})
    recording = Recording(path, CLASSES[:1], 2.0, RATE)
    for dataset in (TrainClips([recording], CLASSES, settings), ValidationWindows([recording], CLASSES, settings)):
        assert float(dataset[0]["waveform"].abs().min()) == float(dataset[0]["waveform"].abs().max()) == level
    assert TrainClips([recording], CLASSES, SETTINGS)[0]["waveform"].abs().max() == 0.25


def test_a_crop_that_reaches_into_damage_is_marked_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "corpus/wren/hole.flac"
    path.parent.mkdir(parents=True)
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 8 * RATE), RATE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    path.write_bytes(content)
    (recording,) = find_corpus(tmp_path / "corpus").recordings
    assert recording.duration_s == 8 and recording.cut == ""
    windows = ValidationWindows([recording], CLASSES, SETTINGS)
    marks = [int(windows[i]["unreadable"]) for i in range(len(windows))]
    assert 1 <= marks.count(0) <= 2 and marks.count(-1) == 8 - marks.count(0)


def test_worker_processes_that_live_on_see_the_epoch(recordings: list[Recording]) -> None:
    clips = TrainClips(recordings, CLASSES, SETTINGS)
    loader = DataLoader(clips, batch_size=4, num_workers=2, persistent_workers=True)
    for epoch in (1, 2, 5):
        clips.start_epoch(epoch)
        batch = next(iter(loader))
        assert next(iter(batch)) == "waveform"  # Catalyst takes the batch size from the first entry
        for i in range(4):
            assert torch.equal(batch["waveform"][i], clips[i]["waveform"])


def test_the_order_follows_from_seed_and_epoch() -> None:
    sampler = EpochSampler(50, seed=1)
    orders = []
    for epoch in (1, 2, 1):
        sampler.start_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == list(range(50))
    assert list(EpochSampler(50, seed=2)) != list(EpochSampler(50, seed=1))
