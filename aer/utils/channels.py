"""Which channel of a recording is meant, as settings and options name it."""

from typing import Literal

Channels = Literal["mix", "first", "loudest"] | int
"""The mean of all, the first, the one with the most energy in the whole recording, or a number from 1 on."""

MIX: Channels = "mix"
NAMES = ("mix", "first", "loudest")
