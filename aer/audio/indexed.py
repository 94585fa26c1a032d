"""Readers of recordings whose frames are found one by one: MP3 always, FLAC and Ogg where they are not sound.

A sound FLAC or Ogg is read by libsndfile. Where that breaks, or the header does not agree with the last frame, the
frames that can be found are decoded each for itself. Indexes are kept, as training asks for the same recordings again.
"""

import hashlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

from aer.audio import flac, mpeg, ogg
from aer.audio.containers import UnknownFormatError
from aer.audio.frames import Bytes, Units, decoded_blocks, decoder
from aer.audio.info import AudioInfo, Damage, Samples, audio_error, checked_rate
from aer.audio.sndfile import SndfileReader, SoundFile, read_info
from aer.errors import EmptyAudioError

N_CACHED = 256
# a packet's bits of padding, or the last page's, may be so many bytes
CRC16_POLYNOMIAL = 0x8005
VORBIS_HEADERS, OPUS_HEADERS = 3, 2
# Opus needs 80 ms to converge, and long blocks of Vorbis overlap: pages before the one that is wanted
OGG_PREROLL_PAGES = 2


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
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from decoded_blocks(self.units, self.packets(data), first, stop, damages)


def _key(path: Path) -> tuple[Path, int, int]:
    stat = path.stat()
    return path, stat.st_size, stat.st_mtime_ns


class MpegReader:
    """An MP3, MP2 or MP1."""

    def __init__(self, path: Path):
        self.path = path
        self.index = _mpeg_index(*_key(path))
        self.info = self.index.info

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        return self.index.blocks(self.path, first, stop, damages)


@lru_cache(N_CACHED)
def _mpeg_index(path: Path, n_bytes: int, changed_ns: int) -> Index:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        data: Any = mapped
        found = mpeg.walk(data, mpeg.after_tags(data), n_bytes)
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
    return Index(info, units, (offset, offset + sizes))


class FlacReader:
    """A FLAC: libsndfile's as long as it is sound, its frames one by one where it is not."""

    def __init__(self, path: Path):
        self.path = path
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            data: Any = mapped
            header = flac.stream_info(data)
            if header is None:
                raise UnknownFormatError("no FLAC header")
            checked_rate(path, header.sample_rate)
            end = flac.last_end(data, header, len(mapped))
        self.is_sound = header.tag_bytes == 0 and 0 < header.total == end
        if self.is_sound:
            self.info = AudioInfo(header.sample_rate, header.channels, header.total)
        else:
            self.info = _flac_index(*_key(path)).info

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        position = first
        if self.is_sound:
            broken: list[Damage] = []
            try:
                with SoundFile(self.path) as file:
                    for block in SndfileReader(self.path, file, self.info).blocks(first, stop, broken):
                        position += len(block)
                        yield block
            except soundfile.LibsndfileError as error:
                broken.append(Damage(position, None, str(error)))
            if not broken:
                return
        index = _flac_index(*_key(self.path))
        if self.is_sound:
            damages += [damage for damage in index.info.damages if damage.touches(position, stop)]
        yield from index.blocks(self.path, position, stop, damages)


@lru_cache(N_CACHED)
def _flac_index(path: Path, n_bytes: int, changed_ns: int) -> Index:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        data: Any = mapped
        header = flac.stream_info(data)
        assert header is not None
        frames = flac.find_frames(data, header, n_bytes)
        units = Units("flac", header.raw, header.sample_rate, header.channels, *_NO_SPANS, lambda _: 0)
        frames, ends = _with_ends(data, frames, n_bytes, units)
        if not frames:
            if n_bytes <= header.first_frame and not header.total:
                raise audio_error(path, "has no samples", EmptyAudioError)
            raise audio_error(path, "cut short or damaged: not one frame of it is whole")
        offset, first, stop = flac.spans(frames)
        n_samples = int(stop[-1])
        is_whole = header.total > n_samples and _has_md5(data, offset, ends, header, units)
    damages = [
        Damage(int(begin), int(end), "no whole FLAC frames there")
        for begin, end in zip(np.concatenate([[0], stop[:-1]]), first, strict=True)
        if end > begin
    ]
    notes: list[str] = []
    if header.total != n_samples and header.total:
        words = f"its header promises {header.total} samples, {n_samples} are there"
        if header.total < n_samples or is_whole:
            notes.append(words)
        else:
            end_s = n_samples / header.sample_rate
            words = (
                f"cut short: its header promises {header.total / header.sample_rate:.3f} s, it ends at {end_s:.3f} s"
            )
            damages.append(Damage(n_samples, None, words, is_promised=True))
    elif not header.total and int(ends[-1]) < n_bytes and n_bytes - int(ends[-1]) > mpeg.ID3V1_BYTES:
        end_s = n_samples / header.sample_rate
        damages.append(Damage(n_samples, None, f"cut short or damaged: its last whole frame ends at {end_s:.3f} s"))
    info = AudioInfo(header.sample_rate, header.channels, n_samples, tuple(notes), tuple(damages))
    return Index(info, replace(units, start=first, stop=stop), (offset, ends))


_NO_SPANS = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def _with_ends(
    data: Any, frames: list[flac.Frame], n_bytes: int, units: Units
) -> tuple[list[flac.Frame], npt.NDArray[np.int64]]:
    """Return frames and where they end; those before a gap, and the last, only if they can be decoded."""
    kept: list[flac.Frame] = []
    ends: list[int] = []
    for number, frame in enumerate(frames):
        following = frames[number + 1] if number + 1 < len(frames) else None
        limit = following.offset if following else n_bytes
        if following is None or following.first != frame.first + frame.n_samples:
            end = _frame_end(data, frame, limit, units)
            if end is None:
                continue
            limit = end
        kept.append(frame)
        ends.append(limit)
    return kept, np.array(ends, np.int64)


def _decodes(packet: bytes, n_samples: int, units: Units) -> bool:
    try:
        return bool(sum(frame.samples for frame in decoder(units).decode(av.Packet(packet))) == n_samples)
    except av.error.FFmpegError:
        return False


def _frame_end(data: Any, frame: flac.Frame, limit: int, units: Units) -> int | None:
    """Return where a frame ends that garbage follows: its checksum is right and it can be decoded; else None."""
    limit = min(limit, frame.offset + (1 << 20))
    content = bytes(data[frame.offset : limit])
    if _decodes(content, frame.n_samples, units):
        return limit
    value = 0
    for place, byte in enumerate(content):
        value = _CRC16[value >> 8 ^ byte] ^ (value << 8 & 0xFFFF)
        if value == 0 and place > 6 and _decodes(content[: place + 1], frame.n_samples, units):
            return frame.offset + place + 1
    return None


def _crc16_table() -> list[int]:
    table = []
    for value in range(256):
        value <<= 8
        for _ in range(8):
            value = (value << 1 ^ CRC16_POLYNOMIAL if value & 0x8000 else value << 1) & 0xFFFF
        table.append(value)
    return table


_CRC16 = _crc16_table()


def _has_md5(data: Any, offset: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], header: Any, units: Units) -> bool:
    """Return whether the samples of all frames are those whose MD5 is in the header: the recording is whole."""
    if not any(header.md5) or header.depth not in (16, 24):
        return False
    digest, context = hashlib.md5(usedforsecurity=False), decoder(units)
    for begin, end in zip(offset.tolist(), ends.tolist(), strict=True):
        try:
            frames = context.decode(av.Packet(data[begin:end]))
        except av.error.FFmpegError:
            return False
        for frame in frames:
            array = np.ascontiguousarray(frame.to_ndarray().reshape(-1))
            if header.depth == 24:
                array = (array >> 8).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
            digest.update(array.tobytes())
    return bool(digest.digest() == header.md5)


class OggReader:
    """Vorbis or Opus in Ogg: libsndfile's where all pages are there, else its packets one by one."""

    def __init__(self, path: Path):
        self.path = path
        self.index = _ogg_index(*_key(path))
        self.info = self.index.info if isinstance(self.index, Index) else self.index

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        if isinstance(self.index, Index):
            yield from self.index.blocks(self.path, first, stop, damages)
            return
        with SoundFile(self.path) as file:
            yield from SndfileReader(self.path, file, self.info).blocks(first, stop, damages)


@lru_cache(N_CACHED)
def _ogg_index(path: Path, n_bytes: int, changed_ns: int) -> Index | AudioInfo:
    """Return the index of an Ogg that is not sound, or what libsndfile says of one that is."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        data: Any = mapped
        found = ogg.walk(data, n_bytes)
        if not found.pages or found.pages[0].number != 0 or not found.pages[0].flags & ogg.FIRST:
            raise UnknownFormatError("its first page is missing or damaged, or it is neither Vorbis nor Opus")
        if found.is_sound:
            try:
                with SoundFile(path) as opened:
                    return read_info(path, opened)
            except soundfile.LibsndfileError as error:
                raise UnknownFormatError(error.error_string) from error
        return _ogg_packets(path, data, found)


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
