"""Ctrl-C and SIGTERM wait for the end of what must not be left half done."""

import os
import signal
import time

import pytest

from aer.errors import SigtermError
from aer.utils.signals import interrupts_wait, sigterm_as_interrupt

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def test_interrupts_wait_for_the_end() -> None:
    for number, expected in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SigtermError)):
        reached = False
        with sigterm_as_interrupt():
            handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
            with pytest.raises(expected), interrupts_wait():
                signal.raise_signal(number)
                reached = True
            assert reached
            assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_only_an_interrupt_that_comes_much_later_no_longer_waits() -> None:
    reached = []
    with sigterm_as_interrupt():
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        with pytest.raises(SigtermError), interrupts_wait(patience_s=0.2):
            signal.raise_signal(signal.SIGINT)
            reached.append("after the first")
            signal.raise_signal(signal.SIGINT)  # torchrun passes on what the terminal has sent already
            reached.append("after the second at once")
            time.sleep(0.3)
            signal.raise_signal(signal.SIGTERM)
            reached.append("after the third")
        assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert reached == ["after the first", "after the second at once"]
