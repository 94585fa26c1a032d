"""What is known of a recording (rate, channels, true length, damage), and the error that names one."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aer.errors import AudioError
from aer.utils.text import printable

Waveform = npt.NDArray[np.float32]
"""Mono samples (samples,)."""
Samples = npt.NDArray[np.float32]
"""Samples of all channels (samples, channels)."""

# from elephants to hydrophones; beyond, the header is damaged
RATES_HZ = (100, 10_000_000)
# stretches that are named in one line
SHOWN = 3


@dataclass(frozen=True)
class Damage:
    """A stretch that can't be heard: samples `start` to `stop`, or None where it is not known how much is missing."""

    start: int
    stop: int | None
    reason: str
    # the header promises what is missing
    is_promised: bool = False

    def touches(self, first: int, stop: int | None) -> bool:
        """Return whether samples `first` to `stop` (None: to the end) reach into it."""
        return (stop is None or stop > self.start) and (self.stop is None or first < self.stop)


@dataclass(frozen=True)
class AudioInfo:
    """What a recording holds. `n_samples` is what is there, which is not always what its header says."""

    sample_rate: int
    channels: int
    # per channel
    n_samples: int
    # what is odd and yet no damage: a header that was not believed, a second audio track
    notes: tuple[str, ...] = field(default=(), compare=False)
    # what is known to be missing before the samples are decoded
    damages: tuple[Damage, ...] = field(default=(), compare=False)

    @property
    def duration_s(self) -> float:
        """Return the length in seconds."""
        return self.n_samples / self.sample_rate

    @property
    def cut(self) -> str:
        """Return in words what is missing behind the last sample, "" where nothing is."""
        at_end = [damage for damage in self.damages if damage.stop is None or damage.stop > self.n_samples]
        return describe(at_end, self.sample_rate) if at_end else ""


def audio_error(path: Path, reason: str, kind: type[AudioError] = AudioError) -> AudioError:
    """Return the error of a recording, in one line."""
    return kind(f"{printable(path)}: {reason}", path, reason)


def checked_rate(path: Path, rate: int) -> int:
    """Return the sample rate. Raise AudioError for one that no recording has."""
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise audio_error(path, f"its header gives a sample rate of {rate} Hz, which no recording has")
    return rate


def describe(damages: list[Damage], sample_rate: int) -> str:
    """Return damage in words, with places in seconds: the first stretches, and how many more there are."""
    joined = _joined(damages)
    told = []
    for damage in joined[:SHOWN]:
        start_s = damage.start / sample_rate
        if damage.stop is None:
            told.append(damage.reason)
        else:
            told.append(f"damaged from {start_s:.3f} to {damage.stop / sample_rate:.3f} s: {damage.reason}")
    more = len(joined) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _joined(damages: list[Damage]) -> list[Damage]:
    """Return damages in order, those that follow each other as one."""
    joined: list[Damage] = []
    for damage in sorted(dict.fromkeys(damages), key=lambda damage: damage.start):
        last = joined[-1] if joined else None
        if last and last.stop is not None and damage.stop is not None and damage.start <= last.stop:
            joined[-1] = replace(last, stop=max(last.stop, damage.stop))
        else:
            joined.append(damage)
    return joined


# those of kinds that no reader takes (wac) too: they are refused with advice, and not passed over
_SUFFIX_NAMES = (
    "wav wave bwf w64 rf64 caf au snd aif aiff aifc flac ogg oga opus spx mp3 mp2 mp1 mpga m4a m4b m4p mp4 mov qt "
    "3gp 3g2 aac adts ac3 eac3 amr awb wma asf webm mka mkv avi wv ape mpc tta tak dsf shn voc sph nist qoa ra rm wac"
)
SUFFIXES = frozenset(f".{name}" for name in _SUFFIX_NAMES.split())
