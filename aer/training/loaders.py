"""Loaders of batches, and how Ctrl-C and worker processes get along."""

import signal
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from aer.utils.signals import interrupts_wait

Batch = TypeVar("Batch")


def fetched_whole(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches of a loader with worker processes. Ctrl-C and SIGTERM wait until the one that is fetched is there.

    In the midst of it they can leave a lock of the loader's taken, so that the process never ends, get lost in a
    destructor, or cut a worker off, which then complains. A second one, a second later, comes at once.
    """
    with interrupts_wait(patience_s=1):
        fetches = iter(batches)
    while True:
        with interrupts_wait(patience_s=1):
            try:
                batch = next(fetches)
            except StopIteration:
                return
        yield batch


def leave_ctrl_c_to_the_parent(worker: int) -> None:
    """For a loader's worker process: the terminal sends Ctrl-C to it too, and its traceback would help nobody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def build_loader(
    dataset: Dataset[Any], batch_size: int, workers: int, pin_memory: bool = False, **arguments: Any
) -> DataLoader[Any]:
    """A loader of batches of `dataset`; `arguments` are those of torch's DataLoader.

    `workers`: processes that read audio, which live on from epoch to epoch; 0: this one reads. `pin_memory`: for
    batches on their way to a GPU.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        worker_init_fn=leave_ctrl_c_to_the_parent,
        # its own: workers that live on draw their seed once, others every epoch, and the model's draws must not shift
        generator=torch.Generator(),
        **arguments,
    )
