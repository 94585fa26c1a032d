"""`aer prepare` as its users call it: stopped and run again, refused, without room."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers import launcher
from helpers.paths import ROOT
from helpers.prepare_runs import COMMAND, FSDD, add, clip, expected, noise, prepare, snapshot

from aer.utils import lock


def test_nothing_prepared_is_failed_work(tmp_path: Path) -> None:
    folder = tmp_path / "raw_train_audio" / "robin"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(b"")
    assert "none of the recordings" in prepare(tmp_path, status=1)


@pytest.mark.parametrize("arguments", [["nowhere"], ["."], [".", "--sample-rate", "0"], [".", "--segment", "nan"]])
def test_bad_input_is_one_line_and_status_2(tmp_path: Path, arguments: list[str]) -> None:
    printed = prepare(*arguments, status=2, cwd=tmp_path)
    assert printed.startswith("error: ") and len(printed.splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_a_second_run_does_what_is_missing(corpus: Path) -> None:
    prepare(corpus)
    before = snapshot(corpus)
    times = {path: path.stat().st_mtime_ns for path in (corpus / "resampled_train_audio").rglob("*.wav")}
    printed = prepare(corpus)
    assert "4 are done already" in printed and "0 of them now" in printed
    assert snapshot(corpus) == before
    assert times == {path: path.stat().st_mtime_ns for path in times}
    # a new recording, a changed one and a clip that is gone are done; the others are not touched
    add(corpus, "wren/e.wav", noise(3200, seed=9), 32000)
    add(corpus, "wren/d.wav", noise(3200, seed=10), 32000)
    (corpus / "resampled_train_audio" / "robin" / "a.wav").unlink()
    assert "5 recordings are prepared" in (printed := prepare(corpus)) and "3 of them now" in printed
    assert np.array_equal(clip(corpus, "wren/d.wav"), expected(corpus / "raw_train_audio" / "wren" / "d.wav", 32000))
    untouched = corpus / "resampled_train_audio" / "robin" / "b.wav"
    assert untouched.stat().st_mtime_ns == times[untouched]


def many(root: Path, n_each: int) -> Path:
    for name in ("robin", "wren", "tit"):
        for index in range(n_each):
            add(root, f"{name}/{index:02d}.wav", noise(44100 * 3, 2, index), 44100)
    return root


def wait_for_entry(corpus: Path) -> None:
    path, until = corpus / ".aer_prepare.jsonl", time.monotonic() + 60
    while not (path.exists() and b'"converted"' in path.read_bytes()):
        assert time.monotonic() < until
        time.sleep(0.005)


def test_killed_and_run_again_it_ends_as_undisturbed(tmp_path: Path) -> None:
    corpus = many(tmp_path / "corpus", 24)
    prepare(corpus)
    undisturbed = snapshot(corpus)
    random_numbers = random.Random(7)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        for name in ("resampled_train_audio", "train_mod.csv", "prepare_report.csv", ".aer_prepare.jsonl"):
            path = corpus / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        started = launcher.Popen([*COMMAND, str(corpus)], env=environment, stdout=subprocess.DEVNULL)
        wait_for_entry(corpus)
        time.sleep(random_numbers.uniform(0, 0.3))
        started.send_signal(signal.SIGKILL)
        started.wait()
        for path in (corpus / "resampled_train_audio").glob("*/[!.]*"):  # what has its name is whole
            assert path.read_bytes() == undisturbed[path.relative_to(corpus).as_posix()]
        assert not (corpus / "train_mod.csv").exists()  # it was killed in the middle of its work
        prepare(corpus)
        assert snapshot(corpus) == undisturbed


def test_ctrl_c_ends_cleanly(tmp_path: Path) -> None:
    corpus = many(tmp_path / "corpus", 30)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = launcher.Popen(
        [*COMMAND, str(corpus), "--workers", "1"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for_entry(corpus)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does: every process of the group
    _, printed = started.communicate(timeout=20)
    assert started.returncode == 130
    assert "recordings are done; the same command goes on" in printed and "Traceback" not in printed
    assert not list(corpus.rglob("*.part"))
    assert "are done already" in prepare(corpus)


def test_a_prepared_corpus_is_not_prepared(tmp_path: Path) -> None:
    add(tmp_path, "robin/a.wav", noise(9000), 32000)
    (tmp_path / "raw_train_audio").rename(tmp_path / "birds")
    prepare(tmp_path / "birds")
    assert "is a corpus that is prepared" in prepare(tmp_path / "birds_prepared", status=2)
    assert "--segment must be 0.01 or more" in prepare(tmp_path / "birds", "--segment", 0.001, status=2)


def test_two_at_once_are_refused(corpus: Path) -> None:
    with lock.held(corpus):
        assert "is under way in" in prepare(corpus, status=2)
    prepare(corpus)


def test_a_full_disk_is_one_line(corpus: Path) -> None:
    import resource

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    printed = prepare(corpus, status=1, preexec_fn=little_room)
    assert "can't write" in printed and "make room" in printed
    prepare(corpus)
    raw = corpus / "raw_train_audio" / "robin" / "a.wav"
    assert np.array_equal(clip(corpus, "robin/a.wav"), expected(raw, 32000))


def test_a_journal_that_was_cut_off_costs_a_recording(corpus: Path) -> None:
    prepare(corpus)
    before = snapshot(corpus)
    path = corpus / ".aer_prepare.jsonl"
    begun = {"name": "wren/d.wav", "stem": "d", "format": "wav", "segmented": False}
    head, *entries = path.read_text().splitlines()
    path.write_text("\n".join([head, json.dumps({"begun": begun}), *entries])[:-20])
    assert "3 are done already" in prepare(corpus)
    assert snapshot(corpus) == before
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.skipif(not FSDD.is_dir(), reason="the spoken digits are not here")
def test_the_digits(tmp_path: Path) -> None:
    prepare(FSDD / "raw_train_audio", "--out", tmp_path, "--csv", FSDD / "train.csv", "--sample-rate", 16000)
    table = pd.read_csv(tmp_path / "train_mod.csv", dtype=str)
    source = pd.read_csv(FSDD / "train.csv", dtype=str)
    assert len(table) == 2500 and table[source.columns].equals(source)
    for row in table.iloc[::25].itertuples():
        raw = FSDD / "raw_train_audio" / row.ebird_code / row.filename
        assert np.array_equal(clip(tmp_path, f"{row.ebird_code}/{row.resampled_filename}"), expected(raw, 16000))


def test_channels_and_what_was_made_before_there_were_any(tmp_path: Path) -> None:
    samples = noise(32000, 2)
    samples[:, 1] *= 0.5
    add(tmp_path, "robin/a.wav", samples, 32000)
    add(tmp_path, "wren/mono.wav", noise(3200), 32000)
    prepare(tmp_path)
    journal = tmp_path / ".aer_prepare.jsonl"
    # as earlier versions wrote it
    assert '"made": "2 32000 wav None None"' in journal.read_text()
    assert "2 are done already" in prepare(tmp_path, "--channels", "mix")
    raw, _ = soundfile.read(tmp_path / "raw_train_audio/robin/a.wav", dtype="int16", always_2d=True)
    for channels, index in (("first", 0), ("2", 1), ("loudest", 0)):
        printed = prepare(tmp_path, "--channels", channels)
        assert "are done already" not in printed
        assert np.array_equal(clip(tmp_path, "robin/a.wav"), raw[:, index])
        reasons = pd.read_csv(tmp_path / "prepare_report.csv")["reason"].tolist()
        assert ("has no channel 2: there is 1" in reasons) == (channels == "2")
    assert "2 are done already" in prepare(tmp_path, "--channels", "loudest")
