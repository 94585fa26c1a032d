"""A recording whose frames were found one by one, in its file: what the readers of MP3, FLAC and Ogg share.

Indexes are kept, as training asks for the same recordings again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aer.audio import ogg
from aer.audio.frames import Bytes, Units, decoded_blocks
from aer.audio.info import AudioInfo, Damage, Samples
from aer.audio.mapping import mapped, release

# recordings whose index is kept, for each format: 5 MB for an hour of MP3
N_CACHED = 8


@dataclass(frozen=True)
class Index:
    """Where the frames of a recording are."""

    info: AudioInfo
    units: Units
    # of each unit, its pieces: offset, bytes, packet by packet
    pieces: tuple[npt.NDArray[np.int64], npt.NDArray[np.integer[Any]]] | list[ogg.Group]

    def packets(self, data: Any) -> Bytes:
        """Return what gives a unit's packets."""
        if isinstance(self.pieces, list):
            grouped = self.pieces
            return lambda i: [ogg.packet_bytes(data, pieces) for pieces in grouped[i].packets]
        offset, size = self.pieces
        return lambda i: [data[int(offset[i]) : int(offset[i]) + int(size[i])]]

    def blocks(self, path: Path, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        with mapped(path) as data:
            for block in decoded_blocks(self.units, self.packets(data), first, stop, damages):
                yield block
                release(data)


def cache_key(path: Path) -> tuple[Path, int, int]:
    """Return a file's path, bytes and time of change: what an index is kept for."""
    stat = path.stat()
    return path, stat.st_size, stat.st_mtime_ns
