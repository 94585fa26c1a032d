"""Recordings that are damaged, cut short or odd: `aer prepare` takes what can be heard, and says what not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.prepare_runs import add, bursts, clip, expected, noise, prepare, report, snapshot

from aer.corpus.preparation import journal
from aer.corpus.preparation.convert import Job, Target, convert
from aer.errors import AudioError

RATE = 16000


def hit(path: Path, share: float) -> None:
    """Overwrite 300 bytes at this share of a file."""
    content = bytearray(path.read_bytes())
    at = int(share * len(content))
    content[at : at + 300] = bytes(300)
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A whole recording, a FLAC with a hole, a WAV and a FLAC that are cut, and what can't be heard at all."""
    add(tmp_path, "robin/whole.wav", noise(3 * RATE), RATE)
    hit(add(tmp_path, "robin/hole.flac", noise(6 * RATE, seed=1), RATE), 0.5)
    cut(add(tmp_path, "wren/cut.wav", noise(3 * RATE, seed=2), RATE), 0.5)
    cut(add(tmp_path, "wren/ends.flac", noise(6 * RATE, seed=3), RATE), 0.5)
    (tmp_path / "raw_train_audio/wren/text.wav").write_text("no sound")
    return tmp_path


def test_what_can_be_heard_is_in_the_clips_and_what_can_not_is_said(damaged: Path) -> None:
    whole = damaged / "whole.flac"
    soundfile.write(whole, noise(6 * RATE, seed=1), RATE)
    printed = prepare(damaged, "--sample-rate", RATE)
    assert "4 recordings are prepared" in printed and "1 left out, 3 heard only in part" in printed
    assert "  robin/hole.flac: partial: damaged from" in printed
    told = report(damaged)
    assert {name: status for name, (status, _) in told.items()} == {
        "robin/hole.flac": "partial",
        "wren/cut.wav": "partial",
        "wren/ends.flac": "partial",
        "wren/text.wav": "left out",
    }
    assert "promises" in told["wren/cut.wav"][1] and "cut short" in told["wren/ends.flac"][1]
    made, truth = clip(damaged, "robin/hole.wav"), expected(whole, RATE)
    # the hole is zeros, and times behind it are true
    lost = np.flatnonzero(made != truth)
    assert len(made) == len(truth) and 0 < len(lost) < RATE
    assert not made[lost[0] : lost[-1] + 1].any()
    assert np.array_equal(clip(damaged, "wren/cut.wav"), expected(damaged / "raw_train_audio/wren/cut.wav", RATE))
    half = clip(damaged, "wren/ends.wav")
    soundfile.write(whole, noise(6 * RATE, seed=3), RATE)
    assert 2.5 * RATE < len(half) < 3.1 * RATE and np.array_equal(half, expected(whole, RATE)[: len(half)])
    assert len(pd.read_csv(damaged / "train_mod.csv")) == 4


def test_a_part_is_prepared_once_and_again_when_its_file_changes(damaged: Path) -> None:
    prepare(damaged, "--sample-rate", RATE)
    before = snapshot(damaged)
    printed = prepare(damaged, "--sample-rate", RATE)
    assert "4 are done already" in printed and "0 of them now" in printed and "3 heard only in part" in printed
    assert snapshot(damaged) == before
    add(damaged, "robin/hole.flac", noise(6 * RATE, seed=1), RATE)
    printed = prepare(damaged, "--sample-rate", RATE)
    assert "1 of them now" in printed and "2 heard only in part" in printed
    assert "robin/hole.flac" not in report(damaged)


def test_segments_and_trimming_work_on_what_is_heard(tmp_path: Path) -> None:
    cut(add(tmp_path, "robin/long.flac", bursts(RATE, 20, [2, 9, 17]), RATE), 0.7)
    add(tmp_path, "robin/short.wav", noise(RATE), RATE)
    prepare(tmp_path, "--segment", 2, "--sample-rate", RATE)
    table = pd.read_csv(tmp_path / "train_mod.csv")
    long = table[table["filename"] == "long.flac"]
    assert len(long) == 2 and report(tmp_path)["robin/long.flac"][0] == "partial"
    shutil.rmtree(tmp_path / "resampled_train_audio")
    prepare(tmp_path, "--trim-silence", 20, "--sample-rate", RATE)
    assert report(tmp_path)["robin/long.flac"][0] == "partial"
    table = pd.read_csv(tmp_path / "train_mod.csv")
    row = table[table["filename"] == "long.flac"].iloc[0]
    assert row["offset"] == pytest.approx(2, abs=0.02) and row["duration"] == pytest.approx(7.2, abs=0.05)


def test_nothing_but_a_hole_is_left_out_with_the_reason_of_the_hole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = np.zeros(2 * RATE, np.float32)
    samples[RATE:] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN"):
        convert(Target(RATE, "wav"), Job(path, tmp_path, "clip"))
    with pytest.raises(AudioError, match="NaN"):
        convert(Target(RATE, "wav", segment_s=0.5), Job(path, tmp_path, "clip"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_journals_without_the_new_fields_are_read_and_sound_recordings_leave_none(damaged: Path) -> None:
    prepare(damaged, "--sample-rate", RATE)
    path = damaged / ".aer_prepare.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    entries = {line["name"]: line for line in lines if "name" in line}
    fields = {"sample_rate", "channels", "n_samples", "clips"}
    # as earlier versions wrote, and read, them
    assert entries["robin/whole.wav"]["converted"].keys() == fields
    assert entries["robin/hole.flac"]["converted"].keys() == fields | {"reason"}
    read = journal.read(path)
    assert read is not None and read.valid.keys() == entries.keys()
    assert read.valid["robin/hole.flac"].converted.reason.startswith("damaged from")
    assert read.valid["robin/whole.wav"].converted.reason == ""


def test_what_is_odd_is_noted_once_and_kept(tmp_path: Path) -> None:
    mono = noise(2 * RATE)
    add(tmp_path, "robin/sound.wav", noise(2 * RATE, 2, 1), RATE)
    add(tmp_path, "robin/phase.wav", np.concatenate([mono, -0.9 * mono], axis=1), RATE)
    add(tmp_path, "robin/dead.flac", np.concatenate([0 * mono, mono], axis=1), RATE)
    add(tmp_path, "wren/integers.wav", np.rint(mono * 30_000), RATE, "FLOAT")
    add(tmp_path, "wren/narrow.wav", noise(8000), 8000)
    odd = {
        "robin/phase.wav": "channels 1 and 2 are in opposite phase",
        "robin/dead.flac": "channel 1 is dead",
        "wren/integers.wav": "times full scale: integers stored as floats?",
        "wren/narrow.wav": "recorded at 8000 Hz: nothing above 4000 Hz, and the band reaches to 8000 Hz",
    }
    for expected_now in ("5 of them now", "0 of them now"):
        printed = prepare(tmp_path, "--sample-rate", RATE)
        assert expected_now in printed and "4 with notes" in printed
        table = pd.read_csv(tmp_path / "prepare_report.csv")
        notes = table[table["status"] == "note"].set_index("file")["reason"].to_dict()
        assert notes.keys() == odd.keys()
        for name, words in odd.items():
            assert words in notes[name]
    prepare(tmp_path, "--sample-rate", RATE, "--channels", "first")
    table = pd.read_csv(tmp_path / "prepare_report.csv")
    assert "robin/phase.wav" not in set(table["file"]) and "robin/dead.flac" in set(table["file"])
