"""Loaders: batches are fetched whole, and worker processes neither hear Ctrl-C nor outlive their use."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from helpers.toy import ToyWindows, WithinEpoch, toy_train
from torch.utils.data import DataLoader, Dataset

from aer.training.loaders import build_loader, uninterrupted_batches

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def test_a_batch_is_fetched_whole() -> None:
    whole = []

    def batches() -> Iterator[int]:
        for batch in range(4):
            if batch == 2:
                signal.raise_signal(signal.SIGINT)
            whole.append(batch)
            yield batch

    assert list(uninterrupted_batches(range(3))) == [0, 1, 2]
    used = []
    with pytest.raises(KeyboardInterrupt):
        for batch in uninterrupted_batches(batches()):
            used.append(batch)
    assert (used, whole) == ([0, 1], [0, 1, 2])


class Interrupted(ToyWindows):
    """Ctrl-C comes while the fifth of its windows is read."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.reads: list[str] = []

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.reads.append("begun")
        if len(self.reads) == 9:
            signal.raise_signal(signal.SIGINT)
        self.reads.append("whole")
        return super().__getitem__(index)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_training_fetches_its_batches_whole(tmp_path: Path, part: str) -> None:
    within, valid = WithinEpoch(None), Interrupted(13, seed=5)
    if part == "train":
        within.train_set = Interrupted(26, seed=5)
    with pytest.raises(KeyboardInterrupt):
        toy_train(tmp_path, epochs=2, valid=valid, within=within)
    reads = within.train_set.reads if isinstance(within.train_set, Interrupted) else valid.reads
    # accelerate fetches a batch ahead: these are the first two, whole
    assert reads == ["begun", "whole"] * (16 if part == "train" else 13)


class TellsTheParent(Dataset[int]):
    """Ctrl-C comes from a loader's worker, again and again: while the other process waits for what it makes."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> int:
        os.kill(os.getppid(), signal.SIGINT)
        return index


def test_a_loader_with_workers_hands_over_what_it_was_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    came = 0

    def count(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1

    before = signal.signal(signal.SIGINT, count)
    try:
        loader = DataLoader(TellsTheParent(), 4, num_workers=2)
        assert [int(i) for batch in uninterrupted_batches(loader) for i in batch] == list(range(64))
    finally:
        signal.signal(signal.SIGINT, before)
    assert came > 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("keep_workers", [True, False])
def test_workers_end_with_the_last_batch_if_they_are_not_kept(keep_workers: bool) -> None:
    loader = build_loader(ToyWindows(8, seed=1), 4, workers=1, keep_workers=keep_workers)
    before = set(multiprocessing.active_children())
    assert len(list(uninterrupted_batches(loader))) == 2
    assert len(set(multiprocessing.active_children()) - before) == keep_workers
