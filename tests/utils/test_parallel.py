"""Ctrl-C and kills while worker processes are being started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import launcher
from helpers.paths import ROOT

from aer.utils.parallel import map_files

MOMENTS_S = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)  # after the first sign of work; the workers start within these

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups of POSIX")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "raw"
    (folder / "wren").mkdir(parents=True)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 44100 * 3)
    for index in range(300):
        soundfile.write(folder / f"wren/{index}.wav", samples[index:], 44100)
    return folder


def start(raw: Path, out: Path) -> "subprocess.Popen[str]":
    """`aer prepare` in a process group of its own, from the moment on at which it holds its folder."""
    started = launcher.Popen(
        [sys.executable, "-m", "aer", "prepare", str(raw), "--out", str(out), "--workers", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not (out / ".lock").exists() and started.poll() is None:
        time.sleep(0.002)
    return started


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_all_processes_leaves_one_line(raw: Path, tmp_path: Path, number: int, status: int) -> None:
    for moment_s in MOMENTS_S:
        started = start(raw, tmp_path / f"{moment_s}")
        time.sleep(moment_s)
        os.killpg(started.pid, number)
        _, printed = started.communicate(timeout=60)
        assert started.returncode == status, printed
        assert printed.startswith("stopped; ") and printed.count("\n") == 1


def test_a_kill_leaves_no_line(raw: Path, tmp_path: Path) -> None:
    started = start(raw, tmp_path)
    while not ((tmp_path / ".aer_prepare.jsonl").exists() and (tmp_path / ".aer_prepare.jsonl").stat().st_size):
        time.sleep(0.01)
    started.kill()
    assert started.communicate(timeout=60)[1] == ""  # its workers have it open too: they have ended


def blocked(_: int) -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_ctrl_c_is_blocked_in_workers_only() -> None:
    before = dict(os.environ)
    ((_, in_worker),) = map_files(blocked, [0], [1], 1)
    assert in_worker == {signal.SIGINT}
    assert not blocked(0)
    assert dict(os.environ) == before
