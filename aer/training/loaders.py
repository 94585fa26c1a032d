"""Loaders of batches, and how Ctrl-C and worker processes get along."""

import signal
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from aer.utils.signals import interrupts_wait

Batch = TypeVar("Batch")

# a second signal waits no longer than this after the first
PATIENCE_S = 1.0


def build_loader(
    dataset: Dataset[Any],
    batch_size: int,
    workers: int,
    pin_memory: bool = False,
    keep_workers: bool = True,
    **arguments: Any,
) -> DataLoader[Any]:
    """Build a loader of batches of `dataset`; `arguments` are those of torch's DataLoader.

    `workers`: processes that read audio; 0: this process reads. `pin_memory`: for batches on their way to a GPU.
    `keep_workers`: they live on from epoch to epoch; otherwise they end with the last batch.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        persistent_workers=keep_workers and workers > 0,
        pin_memory=pin_memory,
        worker_init_fn=ignore_ctrl_c,
        # its own: workers that live on draw their seed once, others every epoch, and the model's draws must not shift
        generator=torch.Generator(),
        **arguments,
    )


def ignore_ctrl_c(worker: int) -> None:
    """Ignore SIGINT in a loader's worker process: the terminal sends it to all, and the parent alone acts on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def uninterrupted_batches(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the batches of a loader; Ctrl-C and SIGTERM wait until the one that is being fetched is there.

    While worker processes fetch, these signals can leave a lock of the loader's taken, so that the process never ends,
    get lost in a destructor, or cut a worker off, which then complains. One that comes `PATIENCE_S` after the first
    takes effect at once.
    """
    with interrupts_wait(PATIENCE_S):
        fetches = iter(batches)
    while True:
        with interrupts_wait(PATIENCE_S):
            try:
                batch = next(fetches)
            except StopIteration:
                return
        yield batch
