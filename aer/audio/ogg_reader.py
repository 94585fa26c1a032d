"""Vorbis and Opus in Ogg: libsndfile's where all pages are there, else the packets of those that are."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aer.audio import ogg
from aer.audio.container_file import UnknownFormatError
from aer.audio.containers import ContainerReader
from aer.audio.frames import Units
from aer.audio.indexed import N_CACHED, Index, cache_key
from aer.audio.info import AudioInfo, Damage, Samples, audio_error, checked_rate
from aer.audio.mapping import mapped
from aer.audio.sndfile import SndfileReader, SoundFile, read_info

# packets before the first one of sound
VORBIS_HEADERS, OPUS_HEADERS = 3, 2
# Opus needs 80 ms to converge, and long blocks of Vorbis overlap: pages before the one that is wanted
OGG_PREROLL_PAGES = 2


class OggReader:
    """Vorbis or Opus in Ogg: libsndfile's where all pages are there, else its packets one by one."""

    def __init__(self, path: Path):
        self.path = path
        self.index = _ogg_index(*cache_key(path))
        self.info = self.index.info if isinstance(self.index, Index) else self.index

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        if isinstance(self.index, Index):
            yield from self.index.blocks(self.path, first, stop, damages)
            return
        with SoundFile(self.path) as file:
            yield from SndfileReader(self.path, file, self.info).blocks(first, stop, damages)


class OtherOggReader(ContainerReader):
    """FLAC, Speex and others in Ogg, by FFmpeg's libraries, which pass over missing pages without a word."""

    def __init__(self, path: Path):
        super().__init__(path)
        damage = _first_gap(*cache_key(path), self.info.n_samples, self.info.sample_rate)
        if damage is not None:
            self.info = replace(self.info, damages=(*self.info.damages, damage))


@lru_cache(N_CACHED)
def _first_gap(path: Path, n_bytes: int, changed_ns: int, n_samples: int, rate: int) -> Damage | None:
    """Return from where on pages are missing; None where all are there."""
    with mapped(path) as data:
        found = ogg.walk(data, n_bytes, any_codec=True)
    start = 0
    for number, page in enumerate(found.pages):
        if page.number != number:
            words = f"pages are missing or damaged behind {start / rate:.3f} s, and times are not known from there on"
            return Damage(min(start, n_samples), None, words)
        start = max(start, page.granule)
    if found.is_sound:
        return None
    return Damage(n_samples, None, f"cut short or damaged: its last whole page ends at {n_samples / rate:.3f} s")


@lru_cache(N_CACHED)
def _ogg_index(path: Path, n_bytes: int, changed_ns: int) -> Index | AudioInfo:
    """Return the index of an Ogg that is not sound, or what libsndfile says of one that is."""
    with mapped(path) as data:
        found = ogg.walk(data, n_bytes, keep=False)
        if not found.pages or found.pages[0].number != 0 or not found.pages[0].flags & ogg.FIRST:
            raise UnknownFormatError("its first page is missing or damaged, or it is neither Vorbis nor Opus")
        if found.is_sound:
            try:
                with SoundFile(path) as opened:
                    return read_info(path, opened)
            except soundfile.LibsndfileError as error:
                raise UnknownFormatError(error.error_string) from error
        return _ogg_packets(path, data, ogg.walk(data, n_bytes))


def _ogg_packets(path: Path, data: Any, found: ogg.Pages) -> Index:
    """Return where the packets of a damaged Ogg are, and when."""
    grouped = ogg.groups(found.pages)
    head = ogg.packet_bytes(data, grouped[0].packets[0]) if grouped and grouped[0].packets else b""
    codec = ogg.codec_of(head)
    n_headers = VORBIS_HEADERS if codec == "vorbis" else OPUS_HEADERS
    headers: list[bytes] = []
    while grouped and len(headers) < n_headers:
        group = grouped.pop(0)
        headers += [ogg.packet_bytes(data, pieces) for pieces in group.packets]
        if len(headers) > n_headers or (group.behind_gap and codec == "vorbis"):
            raise UnknownFormatError("its headers are damaged")
    grouped = [group for group in grouped if group.stop > group.start]
    if not grouped or not codec or len(headers) < n_headers:
        raise audio_error(path, "cut short or damaged: not one page of sound is whole")
    rate, channels, skip = ogg.OPUS_RATE, head[9], int.from_bytes(head[10:12], "little")
    if codec == "vorbis":
        rate, channels, skip = int.from_bytes(head[12:16], "little"), head[11], 0
    start = np.array([group.start for group in grouped], np.int64) - skip
    stop = np.array([group.stop for group in grouped], np.int64) - skip
    damages = [
        Damage(max(int(start[i]), 0), int(stop[i]), "pages are missing or damaged")
        for i, group in enumerate(grouped)
        if group.behind_gap
    ]
    end_s = int(stop[-1]) / rate
    if not found.has_end:
        damages.append(Damage(int(stop[-1]), None, f"cut short: its last whole page ends at {end_s:.3f} s"))
    info = AudioInfo(checked_rate(path, rate), channels, int(stop[-1]), (), tuple(damages))
    extradata = ogg.xiph_lacing(headers) if codec == "vorbis" else head
    units = Units(codec, extradata, rate, channels, start, stop, lambda i: min(i, OGG_PREROLL_PAGES))
    return Index(info, units, grouped)
