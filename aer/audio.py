"""Reading recordings: headers, and crops as float32 mono at the rate that is wanted. No torch here.

soundfile reads WAV, FLAC, OGG, MP3 and others, and seeks in them; audioread (ffmpeg) decodes the rest, as a whole.
"""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import audioread
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from aer.errors import AudioError

Waveform = NDArray[np.float32]

QUALITY = "VHQ"  # soxr's best: its stop band lies below the noise of 24-bit recordings, and decoding costs more anyway
MARGIN_S = 0.1  # decoded beside a crop, so that the resampler's filter sees what it would see in the whole file


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a recording says."""

    sample_rate: int
    channels: int
    n_samples: int  # per channel

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate


class _Source(Protocol):
    """An opened recording."""

    info: AudioInfo

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        """Samples (n, channels) from `start` on; fewer than `count` only where the recording ends."""
        ...

    def close(self) -> None: ...


class _Soundfile:
    def __init__(self, path: Path, opened: soundfile.SoundFile):
        self.path = path
        self.opened = opened
        self.info = AudioInfo(opened.samplerate, opened.channels, opened.frames)

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        start = min(start, self.info.n_samples)
        self.opened.seek(start)
        samples: NDArray[np.float32] = self.opened.read(count, dtype="float32", always_2d=True)
        promised = min(count, self.info.n_samples - start)
        # the length in an MP3's header can be an estimate, so that a few samples less at its end are no damage
        if len(samples) < promised and (self.opened.format != "MP3" or len(samples) == 0):
            raise AudioError(f"{self.path}: cut off: {promised} samples promised from {start} on, {len(samples)} there")
        return samples

    def close(self) -> None:
        self.opened.close()


class _Audioread:
    """Decodes the whole file at once: these formats have no seek, and their headers only estimate the length."""

    def __init__(self, opened: Any):
        blocks = b"".join(opened)
        samples = (np.frombuffer(blocks[: len(blocks) // 2 * 2], dtype="<i2") / 32768).astype(np.float32)
        whole = len(samples) // opened.channels * opened.channels
        self.samples = samples[:whole].reshape(-1, opened.channels)
        self.info = AudioInfo(opened.samplerate, opened.channels, len(self.samples))

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        return self.samples[start : start + count]

    def close(self) -> None:
        pass  # it was decoded and closed when it was opened


def _open(path: Path) -> _Source:
    """The recording, opened by the first library that can; AudioError where none can."""
    if not path.is_file():
        raise AudioError(f"{path}: {'not a file' if path.exists() else 'not there'}")
    try:
        return _Soundfile(path, soundfile.SoundFile(path))
    except soundfile.LibsndfileError as error:
        reason = _reason(error)
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise AudioError(f"{path}: its name is no UTF-8; rename it") from error
    try:
        with closing(audioread.audio_open(str(path))) as opened:
            return _Audioread(opened)
    except (audioread.DecodeError, OSError, EOFError, ValueError) as error:
        raise AudioError(f"{path}: {reason}, and no other decoder (ffmpeg) reads it") from error


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip(" .") or "unreadable"


@contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    """The opened recording; what goes wrong while it is read is an AudioError too."""
    source = _open(path)
    try:
        yield source
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: {_reason(error)}") from error
    finally:
        source.close()


def probe(path: Path) -> AudioInfo:
    """Rate, channels and length of a recording, from its header where soundfile reads it.

    Raises AudioError for a file that is missing, no audio or without samples.
    """
    with _opened(path) as source:
        info = source.info
    if info.n_samples <= 0 or info.sample_rate <= 0:
        raise AudioError(f"{path}: no samples in it")
    return info


def read_crop(path: Path, start_s: float, duration_s: float | None, sample_rate: int) -> Waveform:
    """`duration_s` seconds of a recording from `start_s` on, channels averaged, at `sample_rate`: (samples,) float32.

    The crop is what the same slice of the whole file, resampled, would be. It has round(duration_s * sample_rate)
    samples, or fewer where the recording ends before; None reads to the end. Raises AudioError, with the file and the
    reason, for a file that is missing, damaged, cut off, without samples at that place or with NaN or infinity in them.
    """
    with _opened(path) as source:
        rate = source.info.sample_rate
        end_s = math.inf if duration_s is None else start_s + duration_s
        start = round(start_s * sample_rate)
        whole = math.ceil(source.info.n_samples * sample_rate / rate)
        end = whole if duration_s is None else start + round((end_s - start_s) * sample_rate)
        # Both sample grids meet every in_step input and out_step output samples: decoding starts where they do.
        common = math.gcd(rate, sample_rate)
        in_step, out_step = rate // common, sample_rate // common
        margin = 0 if rate == sample_rate else math.ceil(MARGIN_S * common)
        first = max(0, start // out_step - margin)
        last = -(-end // out_step) + margin
        samples = source.read(first * in_step, (last - first) * in_step)
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: NaN or infinite samples")
    mono = samples.mean(axis=1, dtype=np.float32)
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality=QUALITY)
    crop: Waveform = mono[start - first * out_step : end - first * out_step]
    if crop.size == 0:
        raise AudioError(f"{path}: no samples at {start_s:g} s; it is {source.info.duration_s:g} s long")
    return crop


def place(waveform: Waveform, n_samples: int, offset: int) -> Waveform:
    """A waveform (samples,) at an offset in n_samples zeros: (n_samples,)."""
    placed = np.zeros(n_samples, dtype=np.float32)
    placed[offset : offset + len(waveform)] = waveform
    return placed
