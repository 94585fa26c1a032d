"""Channels to one: their mean, or one of them; and what is odd about them (opposite phase, a dead channel)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aer.audio.info import Samples, Waveform
from aer.utils.channels import Channels

# a channel is dead that is so much weaker than the loudest (60 dB)
DEAD = 1e-6
# two channels cancel each other in their mean from this correlation on
OPPOSITE = -0.9


@dataclass(frozen=True)
class ChannelLevels:
    """Mean square of each channel (channels,), and how each pair correlates (channels, channels), NaN for silence."""

    power: npt.NDArray[np.float64]
    correlation: npt.NDArray[np.float64]

    @property
    def loudest(self) -> int:
        """Return the index of the channel with the most energy, the first of equals."""
        return int(self.power.argmax())


def pick_channel(samples: Samples, channel: int | None) -> Waveform:
    """Return (samples, channels) -> (samples,): a channel, or the mean of all for None."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    if channel is not None:
        return np.ascontiguousarray(samples[:, channel])
    # not finite: the caller looks
    with np.errstate(invalid="ignore", over="ignore"):
        mean: Waveform = samples.mean(axis=1)
    return mean


def resolve(channels: Channels, n_channels: int) -> int | None:
    """Return the index of the channel that is meant; None for the mean, and for the loudest, which samples decide.

    Raise IndexError for a number that the recording has no channel for.
    """
    if channels in ("mix", "loudest"):
        return None
    if channels == "first":
        return 0
    if not isinstance(channels, int) or not 1 <= channels <= n_channels:
        raise IndexError(f"has no channel {channels}: there {'is' if n_channels == 1 else 'are'} {n_channels}")
    return channels - 1


class LevelMeter:
    """Measures a recording whose blocks (samples, channels) are added one by one; how it is cut makes no difference."""

    def __init__(self) -> None:
        self.n_samples = 0
        # the largest magnitude in any channel
        self.peak = 0.0
        self._products: npt.NDArray[np.float64] | None = None
        self._sums: npt.NDArray[np.float64] | None = None

    def add(self, block: Samples) -> None:
        """Take in the next block."""
        if not len(block):
            return
        # samples that are not finite end what is heard: the caller looks
        with np.errstate(invalid="ignore", over="ignore"):
            self.peak = max(self.peak, float(block.max()), -float(block.min()))
            # a row per channel: sums along rows of two samples take ten times as long
            rows = np.ascontiguousarray(block.T, dtype=np.float64)
            # not by BLAS, whose threads would wait for cores that other processes have
            products, sums = np.einsum("it,jt->ij", rows, rows), rows.sum(axis=1)
        self._products = products if self._products is None else self._products + products
        self._sums = sums if self._sums is None else self._sums + sums
        self.n_samples += len(block)

    def levels(self) -> ChannelLevels:
        """Return the channels' power and correlation; those of no block are empty."""
        if self._products is None or self._sums is None:
            return ChannelLevels(np.zeros(0), np.zeros((0, 0)))
        # a constant offset says nothing of the sound
        mean = self._sums / self.n_samples
        covariance = self._products / self.n_samples - np.outer(mean, mean)
        power = np.maximum(np.diag(covariance), 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = covariance / np.sqrt(np.outer(power, power))
        return ChannelLevels(power, correlation)


def channel_levels(blocks: Iterable[Samples]) -> ChannelLevels:
    """Return the channels' power and correlation over blocks (samples, channels); those of no block are empty."""
    meter = LevelMeter()
    for block in blocks:
        meter.add(block)
    return meter.levels()


def channel_notes(levels: ChannelLevels, are_mixed: bool = True) -> tuple[str, ...]:
    """Return what is odd: dead channels, and pairs in opposite phase, which their mean silences. Numbers are from 1.

    Where the channels are not mixed, their phase does not matter.
    """
    peak = levels.power.max(initial=0)
    if len(levels.power) < 2 or peak == 0:
        return ()
    dead = levels.power < DEAD * peak
    notes = [f"channel {index + 1} is dead" for index in np.flatnonzero(dead)]
    for one in range(len(dead) if are_mixed else 0):
        for other in range(one + 1, len(dead)):
            if not dead[one] and not dead[other] and levels.correlation[one, other] < OPPOSITE:
                notes.append(f"channels {one + 1} and {other + 1} are in opposite phase: their mean cancels the sound")
    return tuple(notes)
