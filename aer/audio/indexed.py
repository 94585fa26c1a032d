"""A recording whose frames were found one by one, in its file: what the readers of MP3, FLAC and Ogg share.

Indexes are kept, as training asks for the same recordings again.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aer.audio import ogg
from aer.audio.frames import Bytes, Units, decoded_blocks
from aer.audio.info import AudioInfo, Damage, Samples

# recordings whose index is kept, for each format
N_CACHED = 256


@dataclass(frozen=True)
class Index:
    """Where the frames of a recording are."""

    info: AudioInfo
    units: Units
    # of each unit, its pieces: offset, bytes, packet by packet
    pieces: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | list[ogg.Group]

    def packets(self, data: Any) -> Bytes:
        """Return what gives a unit's packets."""
        if isinstance(self.pieces, list):
            grouped = self.pieces
            return lambda i: [ogg.packet_bytes(data, pieces) for pieces in grouped[i].packets]
        offset, end = self.pieces
        return lambda i: [data[int(offset[i]) : int(end[i])]]

    def blocks(self, path: Path, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        with mapped(path) as data:
            yield from decoded_blocks(self.units, self.packets(data), first, stop, damages)


@contextmanager
def mapped(path: Path) -> Iterator[Any]:
    """Give a file's content, of which only what is looked at is read."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def cache_key(path: Path) -> tuple[Path, int, int]:
    """Return a file's path, bytes and time of change: what an index is kept for."""
    stat = path.stat()
    return path, stat.st_size, stat.st_mtime_ns
