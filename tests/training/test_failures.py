"""How runs end before their time: real processes, real signals, and one line that says what to do."""

import csv
import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
import torch
from helpers import launcher
from helpers.paths import HELPERS, ROOT
from torch.utils.data import DataLoader, Dataset

from aer.training import checkpoint_file
from aer.training.failures import lost_worker, memory_advice, resume_command
from aer.utils.devices import is_out_of_memory

TINY = HELPERS / "tiny.py"
OPTIONS = (
    "--corpus corpus --clip-duration-s 1 --batch-size 4 --n-folds 3 --warmup-steps 0 --scheduler None --device cpu "
    "--loss-func BCEWithLogits"
)
RATE = 16000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a corpus of two classes with 12 recordings each; a third of them is held out."""
    for c, name in enumerate(("robin", "wren")):
        (tmp_path / "corpus" / name).mkdir(parents=True)
        for i in range(12):
            noise = np.random.default_rng(100 * c + i).uniform(-0.5, 0.5, RATE // 2)
            soundfile.write(tmp_path / "corpus" / name / f"{name}_{i:02}.wav", noise, RATE, subtype="FLOAT")
    return tmp_path


ABOUT = {"format": checkpoint_file.FORMAT, "model_kind": "panns", "classes": [], "settings": "", "epoch": 1}


class Shell:
    """Unpickled without care, it makes a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, ("touch pwned",))


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts the tiny script in the folder, in a process group of its own, as a terminal does."""
    started = []

    def begin(options: str | list[str], **environment: object) -> "subprocess.Popen[str]":
        if isinstance(options, str):
            options = [sys.executable, str(TINY), *shlex.split(OPTIONS), *shlex.split(options)]
        process = launcher.Popen(
            options,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in environment.items()}},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: "subprocess.Popen[str]", status: int) -> str:
    """The one line on stderr of a process that must end with that status."""
    _, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    assert err.count("\n") == 1, err
    return err


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was not printed: {process.stderr.read() if process.stderr else ''}")


def test_a_run_that_diverges_names_step_files_and_checkpoint(folder: Path, start: Start) -> None:
    line = ended(start("--run-dir out --epochs 99 --optimizer SGD --learning-rate 1e38"), 1)
    found = re.match(r"error: the (loss|gradient's norm) is (nan|inf).* in epoch (\d+), step (\d), on (.*?);", line)
    assert found, line
    assert re.search(
        r"corpus/(robin|wren)/\w+\.wav, .* and 1 more \(all of them in out/nonfinite_batch\.csv\)", found[5]
    )
    epoch = int(found[3]) - 1
    kept = (
        f"the last good checkpoint is out/checkpoints/last.pth (epoch {epoch})" if epoch else "there is no checkpoint"
    )
    assert kept in line
    assert "learning_rate (now 1e+38" in line
    with (folder / "out/nonfinite_batch.csv").open() as file:
        files = [row["path"] for row in csv.DictReader(file)]
    assert len(set(files)) == 4
    assert all((folder / file).is_file() for file in files)


def test_unreadable_recordings_are_counted_and_too_many_end_the_run(folder: Path, start: Start) -> None:
    process = start("--run-dir out --epochs 40 --workers 2", TINY_SLEEP_S=0.05)
    read_until(process, "epoch  1/40")
    paths = sorted((folder / "corpus").rglob("*.wav"))
    paths[0].write_bytes(b"no sound any more")
    assert "1 unreadable" in read_until(process, " unreadable")  # 1 of 16 is more than 5%, but one never ends a run
    for path in paths:
        samples, _ = soundfile.read(path) if path != paths[0] else (np.full(RATE // 2, np.nan), RATE)
        samples[::100] = np.nan
        soundfile.write(path, samples, RATE, subtype="FLOAT")
    line = ended(process, 1)
    # a batch of 4 may have several more at once
    message = r"error: ([2-5] of 16 recordings to train|[2-5] of 8 recordings to validate|none of the 16)"
    assert re.match(message, line), line
    if "none of" not in line:
        assert "more than max_unreadable_share 0.05 lets pass: corpus/" in line
        assert "out/unreadable.csv" in line
    with (folder / "out/unreadable.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 1
    assert {row["loader"] for row in rows} <= {"train", "valid"}
    assert all((folder / row["path"]).is_file() and row["reason"] for row in rows)


def test_a_share_that_is_allowed_does_not_end_the_run(folder: Path, start: Start) -> None:
    for path in sorted((folder / "corpus").rglob("*_0[0-5].wav")):
        samples, _ = soundfile.read(path)
        soundfile.write(path, np.where(samples > 0.4, np.inf, samples), RATE, subtype="FLOAT")
    process = start("--run-dir out --epochs 1 --max-unreadable-share 1")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert "12 unreadable" in out
    with (folder / "out/unreadable.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(folder / row["path"] for row in rows) == sorted((folder / "corpus").rglob("*_0[0-5].wav"))
    assert {(row["epoch"], row["reason"]) for row in rows} == {("1", "has samples that are NaN or infinite")}


@pytest.mark.parametrize(("number", "advice"), [(signal.SIGKILL, "memory runs out: lower workers (now 2)")])
def test_a_worker_process_that_dies(start: Start, number: signal.Signals, advice: str) -> None:
    process = start("--run-dir out --epochs 1000 --workers 2", TINY_SLEEP_S=0.02)
    read_until(process, "epoch    2/1000")
    psutil.Process(process.pid).children()[0].send_signal(number)
    line = ended(process, 1)
    assert f"a process that reads audio was killed by {number.name}" in line
    assert advice in line
    assert "the last good checkpoint is out/checkpoints/last.pth (epoch " in line


def test_memory_that_runs_out(start: Start) -> None:
    line = ended(start("--run-dir out --epochs 1", TINY_HUNGRY=10**14), 1)
    assert line.startswith("error: out of memory in epoch 1, step 1; batch_size is 4: set --batch-size to 2 or less; ")


def test_ctrl_c_and_the_command_that_goes_on(folder: Path, start: Start) -> None:
    process = start("--run-dir 'a run' --fresh --epochs 1000 --workers 2", TINY_SLEEP_S=0.02)
    read_until(process, "epoch    3/1000")
    os.killpg(process.pid, signal.SIGINT)
    line = ended(process, 130)
    epoch = checkpoint_file.load(folder / "a run/checkpoints/last.pth")["epoch"]
    found = re.fullmatch(
        r"stopped; the state is kept in (.*)last\.pth \(epoch (\d+)\); this goes on from there: (.*)\n", line
    )
    assert found, line
    assert int(found[2]) == epoch
    command = shlex.split(found[3])
    assert "--fresh" not in command
    again = start(command, TINY_SLEEP_S=0.02)
    assert f"going on with {folder}/a run: {epoch} of 1000 epochs are done" in read_until(again, "going on with")
    read_until(again, "epoch ")
    again.send_signal(signal.SIGTERM)
    assert ended(again, 143).startswith("stopped; the state is kept in ")

    for path in (folder / "a run/checkpoints").glob("*.pth"):  # what an attacker may have put there meanwhile
        path.unlink()
        torch.save({**ABOUT, "model": Shell()}, path)
    assert "last.pth" in ended(start(command), 2)
    assert not list(folder.rglob("pwned"))


def test_ctrl_c_before_the_first_epoch_is_done(start: Start) -> None:
    process = start("--run-dir out --epochs 3", TINY_SLEEP_S=0.5)
    read_until(process, "held out for validation")
    time.sleep(0.7)
    os.killpg(process.pid, signal.SIGINT)
    line = ended(process, 130)
    assert line.startswith("stopped; ")
    assert "starts a" in line  # "anew", or "again" where it had not even begun


def test_what_is_in_the_way_of_going_on(folder: Path, start: Start) -> None:
    out, broken = folder / "out", folder / "corpus/robin/robin_00.wav"
    done = start("--run-dir out --epochs 2")
    assert done.wait(120) == 0

    line = ended(start("--run-dir out --epochs 1"), 2)
    assert line.startswith("error: out holds a run with 2 epochs behind it, and epochs is 1: set --epochs to 2 or more")

    recording = broken.read_bytes()
    broken.write_bytes(b"no sound any more")
    line = ended(start("--run-dir out --epochs 3"), 2)
    assert "the corpus or its folds have changed: 1 gone or unreadable (corpus/robin/robin_00.wav)" in line
    for i in range(1, 12):
        (folder / f"corpus/wren/wren_{i:02}.wav").write_bytes(b"no sound any more")
    line = ended(start("--run-dir new"), 2)
    assert "error: 12 of 24 recordings (50.0%) can't be read, more than max_unreadable_share 0.05 lets pass" in line
    assert not (folder / "new").exists()
    broken.write_bytes(recording)
    assert json.loads((out / "settings.json").read_text())["epochs"] == 2


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX systems do")
def test_a_disk_that_is_full_for_the_last_picture_leaves_the_summary(folder: Path, start: Start) -> None:
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        "os.execv(sys.executable, sys.argv[1:])"
    )
    options = shlex.split(f"{OPTIONS} --run-dir out --epochs 1")
    process = start([sys.executable, "-c", limited, sys.executable, str(TINY), *options])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.fullmatch(r"error: can't write out/metrics\.png: .*; make room or name another --run-dir .*\n", err)
    assert "macro F1" in out
    assert "best model: out/checkpoints/best.pth" in out
    assert (folder / "out/best.aer").exists()
    assert not list((folder / "out").glob(".*.part"))


@pytest.mark.parametrize("option", ["--initial-weights", "--pretrained-panns"])
def test_a_pickle_with_code_in_it_is_refused_wherever_weights_are_read(folder: Path, start: Start, option: str) -> None:
    if option == "--initial-weights":
        torch.save({**ABOUT, "model": Shell()}, folder / "weights.pth")
        script = TINY
    else:
        (folder / "weights.pth").write_bytes(pickle.dumps(Shell()))
        script = ROOT / "train_panns.py"
    line = ended(start([sys.executable, str(script), *shlex.split(OPTIONS), option, "weights.pth"]), 2)
    assert line.startswith("error: ")
    assert "weights.pth" in line
    assert not list(folder.rglob("pwned"))


class Hungry(Dataset[Any]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return np.ones(1 << 59)


def test_every_kind_of_memory_error_is_known() -> None:
    asks: list[Callable[[], object]] = [
        lambda: np.ones(1 << 59),
        lambda: torch.empty(1 << 60),
        lambda: bytearray(1 << 62),
        lambda: next(iter(DataLoader(Hungry(), num_workers=1))),
    ]
    for ask in asks:
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            ask()
        assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert "lower clip_duration_s" in memory_advice(2, 0, has_state=False)
    assert memory_advice(64, 4, has_state=True).startswith(
        "batch_size is 64: set --batch-size to 32 or less with --fresh"
    )


class Dies(Dataset[Any]):
    def __init__(self, how: Callable[[], object]):
        self.how = how

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        self.how()
        time.sleep(30)


@pytest.mark.parametrize(
    ("how", "ending"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "killed by SIGSEGV"),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), "killed by SIGBUS"),
        (lambda: os._exit(3), "ended with exit status 3"),
    ],
)
def test_every_death_of_a_worker_is_known(how: Callable[[], object], ending: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        next(iter(DataLoader(Dies(how), num_workers=1)))
    assert lost_worker(caught.value) == ending
    assert lost_worker(RuntimeError("anything else")) is None


def test_the_command_that_goes_on() -> None:
    argv = ["python", "train_panns.py", "--corpus", "my birds", "--run-dir", "runs/a", "--fresh"]
    plain = "python train_panns.py --corpus 'my birds' --run-dir runs/a"
    assert resume_command(argv[:-1], False, Path("runs/a")) == plain
    assert resume_command(argv, True, Path("/x/runs/a-2")) == plain.replace("runs/a", "/x/runs/a-2")
    assert resume_command(["python", "t.py", "--run_dir=a", "--fresh"], True, Path("b c")) == (
        "python t.py --run-dir 'b c'"
    )
    assert resume_command(["python", "t.py"], True, Path("b")) == "python t.py --run-dir b --no-fresh"
    assert resume_command(["/usr/bin/python", "-u", "t.py", "--fresh"], True, Path("b"), processes=2) == (
        "torchrun --nproc_per_node=2 t.py --run-dir b"
    )
