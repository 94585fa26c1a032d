"""Ctrl-C and SIGTERM: how they end a run, and the command that goes on with it. Nothing here imports torch."""

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
