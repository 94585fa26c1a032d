"""Ctrl-C and SIGTERM: when they may interrupt. Nothing here imports torch."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from aer.errors import SigtermError


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Have SIGTERM raise `SigtermError` within the block, as Ctrl-C raises KeyboardInterrupt.

    It is left alone where it is ignored, and outside the main thread, which alone can be interrupted.
    """
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
    """Defer Ctrl-C and SIGTERM to the end of the block: for work that must not be left half done.

    One that comes more than `patience_s` (seconds) after the first is not deferred: whoever sends it has seen that the
    end is far. Outside the main thread, which alone can be interrupted, this does nothing.
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
