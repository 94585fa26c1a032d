"""What all decoders share: the fields of a recording's header, and the error that names a recording."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aer.errors import AudioError
from aer.utils.text import printable

Waveform = npt.NDArray[np.float32]

# lowest and highest sample rate, from elephants to hydrophones; beyond, the header is damaged
RATES_HZ = (100, 10_000_000)
# samples of all channels per byte of the file; from here on the length in the header is checked against the samples
SPARSE = 100
_SUFFIX_NAMES = "wav wave w64 rf64 caf au aif aiff aifc flac ogg oga opus mp3 m4a mp4 aac wma webm mka"
# of the files that are taken for recordings by their names
SUFFIXES = frozenset(f".{name}" for name in _SUFFIX_NAMES.split())


@dataclass(frozen=True)
class AudioInfo:
    """What a recording's header says. An MP3 without a Xing header, and audioread, give an estimated length."""

    sample_rate: int
    channels: int
    # per channel
    n_samples: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


def audio_error(path: Path, reason: str, kind: type[AudioError] = AudioError) -> AudioError:
    """Return the error that names a recording and the reason, in one line."""
    return kind(f"{printable(path)}: {reason}", path, reason)


def checked_rate(path: Path, rate: int) -> int:
    """Return the sample rate in Hz; raise AudioError for one that no recording has."""
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise audio_error(path, f"its header gives a sample rate of {rate} Hz, which no recording has")
    return rate


def is_sparse(path: Path, info: AudioInfo) -> bool:
    """Return whether a file is small for its length: silence, or a header that promises years of audio."""
    return info.n_samples * info.channels > SPARSE * path.stat().st_size
