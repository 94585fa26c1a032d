"""MP3, MP2 and MP1: the frames that the walk finds, decoded by FFmpeg's decoders."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from aer.audio import mpeg
from aer.audio.container_file import UnknownFormatError
from aer.audio.frames import Units
from aer.audio.indexed import N_CACHED, Index, cache_key
from aer.audio.info import AudioInfo, Damage, Samples, audio_error, checked_rate
from aer.audio.mapping import mapped
from aer.audio.tags import after_tags
from aer.errors import EmptyAudioError


class MpegReader:
    """An MP3, MP2 or MP1."""

    def __init__(self, path: Path):
        self.path = path
        self.index = _mpeg_index(*cache_key(path))
        self.info = self.index.info

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        return self.index.blocks(self.path, first, stop, damages)


@lru_cache(N_CACHED)
def _mpeg_index(path: Path, n_bytes: int, changed_ns: int) -> Index:
    with mapped(path) as data:
        found = mpeg.walk(data, after_tags(data), n_bytes)
    if found is None:
        raise UnknownFormatError("no MP3 frames in it")
    delay, padding = mpeg.trimmed(found)
    start = found.first - delay
    n_samples = int(start[-1]) + found.frame_samples - padding
    if n_samples <= 0:
        raise audio_error(path, "has no samples", EmptyAudioError)
    kept = start < n_samples
    start, offset, sizes = start[kept], found.offset[kept], found.size[kept]
    damages = tuple(
        replace(gap, start=max(gap.start - delay, 0), stop=None if gap.stop is None else gap.stop - delay)
        for gap in found.damages
    )
    info = AudioInfo(checked_rate(path, found.sample_rate), found.channels, n_samples, found.notes, damages)
    units = Units(
        f"mp{found.layer}float",
        b"",
        found.sample_rate,
        found.channels,
        start,
        np.minimum(start + found.frame_samples, n_samples),
        lambda i: mpeg.preroll(sizes, i),
    )
    return Index(info, units, (offset, sizes))
