"""FLAC: libsndfile's as long as it is sound, its frames one by one behind a break or where its header is wrong."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

from aer.audio import flac
from aer.audio.container_file import UnknownFormatError
from aer.audio.frames import Units, decoder
from aer.audio.indexed import N_CACHED, Index, cache_key
from aer.audio.info import AudioInfo, Damage, Samples, audio_error, checked_rate
from aer.audio.mapping import mapped
from aer.audio.sndfile import SndfileReader, SoundFile
from aer.audio.tags import ID3V1_BYTES
from aer.errors import EmptyAudioError

CRC16_POLYNOMIAL = 0x8005
# in which the end of a frame before garbage is looked for
MAX_FRAME_BYTES = 1 << 20


class FlacReader:
    """A FLAC: libsndfile's as long as it is sound, its frames one by one where it is not."""

    def __init__(self, path: Path):
        self.path = path
        header, end = _header_and_end(*cache_key(path))
        self.is_sound = header.tag_bytes == 0 and 0 < header.total == end
        if self.is_sound:
            self.info = AudioInfo(header.sample_rate, header.channels, header.total)
        else:
            self.info = _flac_index(*cache_key(path)).info

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
        index = _flac_index(*cache_key(self.path))
        if self.is_sound:
            damages += [damage for damage in index.info.damages if damage.touches(position, stop)]
        yield from index.blocks(self.path, position, stop, damages)


@lru_cache(maxsize=256)
def _header_and_end(path: Path, n_bytes: int, changed_ns: int) -> tuple[flac.StreamInfo, int]:
    """Return STREAMINFO and where the last frame ends."""
    with mapped(path) as data:
        header = flac.stream_info(data)
        if header is None:
            raise UnknownFormatError("no FLAC header")
        checked_rate(path, header.sample_rate)
        return header, flac.last_end(data, header, n_bytes)


@lru_cache(N_CACHED)
def _flac_index(path: Path, n_bytes: int, changed_ns: int) -> Index:
    with mapped(path) as data:
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
    elif not header.total and int(ends[-1]) < n_bytes and n_bytes - int(ends[-1]) > ID3V1_BYTES:
        end_s = n_samples / header.sample_rate
        damages.append(Damage(n_samples, None, f"cut short or damaged: its last whole frame ends at {end_s:.3f} s"))
    info = AudioInfo(header.sample_rate, header.channels, n_samples, tuple(notes), tuple(damages))
    return Index(info, replace(units, start=first, stop=stop), (offset, ends - offset))


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
    limit = min(limit, frame.offset + MAX_FRAME_BYTES)
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
