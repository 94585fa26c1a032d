"""A run that stops anywhere ends as one that does not: states, damaged states, scalers, states within an epoch."""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from catalyst import dl
from helpers.same import checkpoint_differences, run_differences, tensorboard_rows
from helpers.toy import ToyWindows, WithinEpoch, toy_train

from aer.errors import AerError, InputError
from aer.training import checkpoint_file
from aer.training.callbacks.checkpoint import AFTER_ALL_ELSE
from aer.training.engine import Engine

ABOUT = {"model_kind": "toy", "classes": ["a"], "settings": "{}", "epoch": 1}


class StopError(Exception):
    """Ends a run where a test wants it to end."""


class Stop(dl.Callback):
    """Ends the run after a training step (and after the checkpoint of that step, where there is one)."""

    def __init__(self, epoch: int, step: int):
        super().__init__(order=AFTER_ALL_ELSE + 1)
        self.at = (epoch, step)

    def on_batch_end(self, runner: dl.IRunner) -> None:
        if runner.is_train_loader and (runner.epoch_step, runner.loader_batch_step) == self.at:
            raise StopError


def stopped(run_dir: Path, epoch: int, step: int, **arguments: Any) -> None:
    with pytest.raises(StopError):
        toy_train(run_dir, extra=[Stop(epoch, step)], **arguments)


COURSE: dict[str, Any] = {"epochs": 4, "scheduler_params": {"T_max": 12}, "scheduler_step": "batch"}


@pytest.mark.parametrize(("every_steps", "workers"), [(1, 0), (2, 2), (3, 0)])
def test_a_run_goes_on_within_an_epoch(
    tmp_path: Path, every_steps: int, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def within(workers: int) -> WithinEpoch:
        return WithinEpoch(every_steps, workers, unreadable=[2, 11, 20])

    toy_train(tmp_path / "whole", **COURSE, within=within(0))
    for epoch, step in ((1, 1), (1, 3), (2, 2), (4, 3)):  # an epoch has 3 steps
        stopped(tmp_path / "parts", epoch, step, **COURSE, within=within(0))
    capsys.readouterr()
    toy_train(tmp_path / "parts", **COURSE, within=within(workers))
    expected = {1: "3 of 4 epochs and 3 of 3 steps", 2: "3 of 4 epochs and 2 of 3 steps", 3: "3 of 4 epochs and 3 of 3"}
    assert expected[every_steps] in capsys.readouterr().out
    assert run_differences(tmp_path / "whole", tmp_path / "parts") == []
    assert len(tensorboard_rows(tmp_path / "parts/tensorboard")) == 4 * 8

    # states within an epoch are harmless: without them the very same comes out
    toy_train(tmp_path / "plain", **COURSE, within=WithinEpoch(None, unreadable=[2, 11, 20]))
    assert (tmp_path / "plain/metrics.csv").read_bytes() == (tmp_path / "parts/metrics.csv").read_bytes()
    one, other = (checkpoint_file.load(tmp_path / run / "checkpoints/last.pth") for run in ("plain", "parts"))
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])


def test_the_draws_of_a_step_do_not_depend_on_the_steps_before(tmp_path: Path) -> None:
    class Draws(dl.Callback):
        def __init__(self) -> None:
            super().__init__(order=AFTER_ALL_ELSE)
            self.seen: dict[tuple[int, int], tuple[float, ...]] = {}

        def on_batch_start(self, runner: dl.IRunner) -> None:
            if runner.is_train_loader:
                drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))
                self.seen[runner.epoch_step, runner.loader_batch_step] = drawn

    draws = [Draws() for _ in range(2)]
    toy_train(tmp_path / "whole", 2, within=WithinEpoch(1), extra=[draws[0]])
    stopped(tmp_path / "parts", 2, 1, epochs=2, within=WithinEpoch(1))
    toy_train(tmp_path / "parts", 2, within=WithinEpoch(1), extra=[draws[1]])
    assert list(draws[1].seen) == [(2, 2), (2, 3)]
    assert all(draws[0].seen[step] == drawn for step, drawn in draws[1].seen.items())
    assert len(set(draws[0].seen.values())) == 6


def scaled() -> Engine:
    """An engine that scales the loss as one for fp16 on a GPU does, and changes its scale in every second step."""
    engine = Engine(cpu=True)
    engine.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
    return engine


def test_the_scaler_of_fp16_goes_on(tmp_path: Path) -> None:
    toy_train(tmp_path / "whole", 3, engine=scaled(), within=WithinEpoch(1))
    stopped(tmp_path / "parts", 2, 2, epochs=3, engine=scaled(), within=WithinEpoch(1))
    toy_train(tmp_path / "parts", 3, engine=scaled(), within=WithinEpoch(1))
    assert run_differences(tmp_path / "whole", tmp_path / "parts") == []
    scaler = checkpoint_file.load(tmp_path / "parts/checkpoints/last.pth")["scaler"]
    assert (scaler["scale"], scaler["_growth_tracker"]) == (4.0 * 2**4, 1)  # 9 steps


def test_a_flipped_bit_in_any_byte_and_every_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    checkpoint_file.save(path, {**ABOUT, "model": {"w": torch.arange(3.0)}})
    whole = path.read_bytes()
    assert torch.load(path, weights_only=True)["epoch"] == 1  # for torch it is a file like any other
    for bit in range(0, 8 * len(whole), 7):  # in every byte, and each of its bits in turn
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError, match="damaged"):
            checkpoint_file.check(path)
    with pytest.raises(InputError, match="damaged"):
        checkpoint_file.load(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="damaged"):
            checkpoint_file.check(path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("every_steps", [None, 2])
def test_the_state_before_takes_the_place_of_a_damaged_one(
    tmp_path: Path, damage: Any, every_steps: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def part() -> WithinEpoch:
        return WithinEpoch(every_steps)

    toy_train(tmp_path / "whole", 3, within=part(), learning_rate=0.5)
    toy_train(tmp_path / "parts", 3, within=part(), learning_rate=0.5)
    last = tmp_path / "parts/checkpoints/last.pth"
    damage(last)
    capsys.readouterr()
    toy_train(tmp_path / "parts", 3, within=part(), learning_rate=0.5)
    printed = capsys.readouterr().out
    assert f"going on with {tmp_path / 'parts'}: 2 of 3 epochs" in printed
    if damage is not Path.unlink:
        assert printed.count(f"{last}: damaged") == 1
        assert f"going on from {last.with_name('previous.pth')}" in printed
    assert run_differences(tmp_path / "whole", tmp_path / "parts") == []


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX systems do")
def test_after_a_full_disk_one_flipped_bit_does_not_end_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    toy_train(tmp_path / "whole", 6)
    toy_train(tmp_path / "parts", 3)
    last, previous = (tmp_path / "parts/checkpoints" / name for name in ("last.pth", "previous.pth"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (last.stat().st_size - 100, limits[1]))  # an epoch's weights are smaller
    try:
        with pytest.raises(AerError, match=r"can't write .*last.pth"):
            toy_train(tmp_path / "parts", 6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [checkpoint_file.load(path)["epoch"] for path in (last, previous)] == [3, 2]
    flip(last)
    capsys.readouterr()
    toy_train(tmp_path / "parts", 6)
    assert "2 of 6 epochs" in capsys.readouterr().out
    assert run_differences(tmp_path / "whole", tmp_path / "parts") == []


def test_the_best_epoch_outlives_its_own_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback, _ = toy_train(tmp_path, 3, learning_rate=0.0)  # all alike: of equals the first one stays the best
    first, second, *_ = (tmp_path / "checkpoints" / entry["file"] for entry in callback.best)
    best = tmp_path / "checkpoints/best.pth"
    before = best.read_bytes()
    for path in (first, second):
        path.unlink()
    capsys.readouterr()
    callback, _ = toy_train(tmp_path, 4, learning_rate=0.0)
    assert (first.read_bytes(), best.read_bytes(), callback.best[0]["file"]) == (before, before, first.name)
    message = f"{second}, one of the best epochs, is gone and counts no more; going on from "
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if "gone" in line] == [
        f"{message}{tmp_path / 'checkpoints/last.pth'}"
    ]

    for path in (first, best):
        path.unlink()
    callback, _ = toy_train(tmp_path, 5, learning_rate=0.0)
    assert f"{first}, one of the best epochs, is gone" in capsys.readouterr().out
    assert first.name not in [entry["file"] for entry in callback.best]
    assert best.read_bytes() == (tmp_path / "checkpoints" / callback.best[0]["file"]).read_bytes()


def test_a_run_without_any_whole_state_says_what_is_left(tmp_path: Path) -> None:
    toy_train(tmp_path, 3)
    checkpoints = tmp_path / "checkpoints"
    flip(checkpoints / "last.pth")
    cut(checkpoints / "previous.pth")
    with pytest.raises(InputError) as caught:
        toy_train(tmp_path, 4)
    message = str(caught.value)
    assert "\n" not in message
    assert "last.pth: damaged" in message
    assert "previous.pth: damaged" in message
    assert f"--fresh --initial-weights {checkpoints / 'best.pth'}" in message
    checkpoint_file.load(checkpoints / "best.pth")


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    toy_train(tmp_path, 1)
    last = tmp_path / "checkpoints/last.pth"
    checkpoint_file.save(last, {**checkpoint_file.load(last), "processes": 2})
    with pytest.raises(InputError, match=r"trained by 2 process\(es\), and these are 1: .*--nproc_per_node=2"):
        toy_train(tmp_path, 2)


def test_what_a_killed_run_left_lying_is_cleared_away(tmp_path: Path) -> None:
    toy_train(tmp_path / "whole", 2)
    toy_train(tmp_path / "parts", 2)
    checkpoints = tmp_path / "parts/checkpoints"
    (checkpoints / ".last.pth.part").write_bytes(b"half a file")
    (checkpoints / "epoch_0099.pth").write_bytes(b"of an epoch that was not finished")
    others = ["epoch_best_of_2023.pth", "epoch_1.pth", "epoch_0000.pth", "epoch_00003.pth", "epoch_0001.pth.bak"]
    for name in others:
        (checkpoints / name).write_text("not the run's")
    toy_train(tmp_path / "parts", 2)
    for name in others:
        (checkpoints / name).unlink()  # which are all there
    assert checkpoint_differences(tmp_path / "whole/checkpoints", checkpoints) == []


def test_tensorboard_has_every_epoch_once(tmp_path: Path) -> None:
    toy_train(tmp_path, 2)
    before = tensorboard_rows(tmp_path / "tensorboard")
    for path in (tmp_path / "tensorboard").glob("*/events*"):
        path.write_bytes(path.read_bytes()[:-20])  # as a kill or a power cut leaves them
    toy_train(tmp_path, 3, valid=ToyWindows(13, seed=5, windows_per_clip=3))
    rows = tensorboard_rows(tmp_path / "tensorboard")
    assert [row for row in rows if row[2] <= 2] == before
    assert sorted({row[2] for row in rows}) == [1, 2, 3]
    assert len(set(rows)) == len(rows)
