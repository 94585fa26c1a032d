"""Ctrl-C and SIGTERM: how they end a run, and the command that goes on with it. Nothing here imports torch."""

import contextlib
import math
import shlex
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from aer.errors import SigtermError

Batch = TypeVar("Batch")


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises `SigtermError` here, as Ctrl-C raises KeyboardInterrupt; left alone where it is ignored."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise SigtermError

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def interrupts_wait(patience_s: float = math.inf) -> Iterator[None]:
    """Ctrl-C and SIGTERM within it come at its end: for moments in which half of the work would be worse than none.

    One that comes `patience_s` after the first no longer waits: whoever sends it has seen that the end is far.
    In the main thread, which alone they can interrupt; elsewhere it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, float]] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append((number, time.monotonic()))
        if came[-1][1] - came[0][1] > patience_s:
            came.clear()
            before[number](number, frame)

    handlers = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0][0])


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


def continue_command(argv: Sequence[str], fresh: bool, run_dir: Path, processes: int = 1) -> str:
    """The shell command that goes on with a run in `run_dir`, which the command line `argv` (python first) began.

    `fresh`: it was begun in a new folder, which is named now. `processes`: it was begun by torchrun on one machine.
    """
    python, *rest = argv
    if fresh:
        kept: list[str] = []
        options = iter(rest)
        for option in options:
            name, has_value, _ = option.replace("_", "-").partition("=")
            if name == "--run-dir":
                if not has_value:
                    next(options, None)
            elif name not in ("--fresh", "--no-fresh"):
                kept.append(option)
        named = any(option == "--fresh" for option in rest)
        rest = [*kept, "--run-dir", str(run_dir), *([] if named else ["--no-fresh"])]
    if processes > 1:
        start = ["torchrun", f"--nproc_per_node={processes}"]
        rest = rest[1:] if rest[:1] == ["-u"] else rest  # torchrun's own
    else:
        start = [python]
    return shlex.join([*start, *rest])
