"""FLAC whose header can't be believed, or that is damaged: where its frames lie. RFC 9639, section 9.

Each frame begins with a sync code and its own time, checked by a CRC-8. So a stream can be read from any frame on, and
the length of what is missing in a damaged stretch is known.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aer.audio.mapping import RELEASE_BYTES, release
from aer.audio.tags import after_tags

RATES_HZ = {
    1: 88200,
    2: 176400,
    3: 192000,
    4: 8000,
    5: 16000,
    6: 22050,
    7: 24000,
    8: 32000,
    9: 44100,
    10: 48000,
    11: 96000,
}
DEPTHS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
SYNCS = (b"\xff\xf8", b"\xff\xf9")
MAX_HEADER_BYTES = 16
# of the tail in which the last frame is looked for, where STREAMINFO gives no size of frames
TAIL_BYTES = 1 << 18
# candidates in which the successor of a frame is looked for: in between there may be false ones
LOOK_AHEAD = 6

Data = bytes


@dataclass(frozen=True)
class StreamInfo:
    """What the header of a FLAC says. `total` is 0 where it is not known."""

    block_samples: int
    max_frame_bytes: int
    sample_rate: int
    channels: int
    depth: int
    total: int
    md5: bytes
    # the block itself, and where the first frame lies
    raw: bytes
    first_frame: int
    # bytes of an ID3 tag in front
    tag_bytes: int


@dataclass(frozen=True)
class Frame:
    """A frame's header: where it lies, its first sample, how many there are."""

    offset: int
    first: int
    n_samples: int


def stream_info(data: Data) -> StreamInfo | None:
    """Return what the header says, None for what is no FLAC."""
    start = after_tags(data)
    if data[start : start + 4] != b"fLaC" or data[start + 4] & 0x7F != 0:
        return None
    raw = bytes(data[start + 8 : start + 42])
    if len(raw) < 34:
        return None
    at, is_last = start + 4, False
    while not is_last and at + 4 <= len(data):
        is_last = bool(data[at] & 0x80)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    low, high = int.from_bytes(raw[0:2], "big"), int.from_bytes(raw[2:4], "big")
    packed = int.from_bytes(raw[10:18], "big")
    return StreamInfo(
        block_samples=high if low == high else 0,
        max_frame_bytes=int.from_bytes(raw[7:10], "big"),
        sample_rate=packed >> 44,
        channels=(packed >> 41 & 7) + 1,
        depth=(packed >> 36 & 31) + 1,
        total=packed & (1 << 36) - 1,
        md5=raw[18:34],
        raw=raw,
        first_frame=at,
        tag_bytes=start,
    )


def parse_frame(data: Data, at: int, info: StreamInfo) -> Frame | None:
    """Return the frame whose header lies there; None where there is none that fits to STREAMINFO."""
    head = data[at : at + MAX_HEADER_BYTES]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        return None
    is_variable, block_code, rate_code = head[1] & 1, head[2] >> 4, head[2] & 15
    channel_code, depth_code = head[3] >> 4, head[3] >> 1 & 7
    channels = channel_code + 1 if channel_code < 8 else 2
    if block_code == 0 or rate_code == 15 or channel_code > 10 or head[3] & 1 or channels != info.channels:
        return None
    if RATES_HZ.get(rate_code, info.sample_rate) != info.sample_rate:
        return None
    if depth_code == 3 or DEPTHS.get(depth_code, info.depth) != info.depth:
        return None
    number, place = _coded_number(head)
    if place == 0:
        return None
    n_samples = _block_samples(block_code, head[place : place + 2])
    place += {6: 1, 7: 2}.get(block_code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if place >= len(head) or crc8(head[:place]) != head[place]:
        return None
    return Frame(at, number if is_variable else number * (info.block_samples or n_samples), n_samples)


def _coded_number(head: bytes) -> tuple[int, int]:
    """Return the frame's or sample's number, coded as UTF-8 is, and where it ends; 0, 0 where it is none."""
    lead = head[4]
    n_more = 0
    while n_more < 7 and lead & (0x80 >> n_more):
        n_more += 1
    if n_more == 1:
        return 0, 0
    n_more = max(0, n_more - 1)
    number = lead & (0x7F >> (n_more + 1 if n_more else 0))
    more = head[5 : 5 + n_more]
    if len(more) < n_more or any(byte & 0xC0 != 0x80 for byte in more):
        return 0, 0
    for byte in more:
        number = number << 6 | byte & 0x3F
    return number, 5 + n_more


def _block_samples(code: int, more: bytes) -> int:
    if code == 1:
        return 192
    if code <= 5:
        return 576 << code - 2
    if code == 6:
        return more[0] + 1 if more else 0
    if code == 7:
        return int.from_bytes(more[:2], "big") + 1
    return 256 << code - 8


def _crc8_table() -> bytes:
    table = bytearray()
    for value in range(256):
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
        table.append(value)
    return bytes(table)


_CRC8 = _crc8_table()


def crc8(content: bytes) -> int:
    """Return the CRC-8 of a frame's header: polynomial x^8 + x^2 + x + 1, from 0."""
    value = 0
    for byte in content:
        value = _CRC8[value ^ byte]
    return value


def _candidates(data: Data, begin: int, end: int, info: StreamInfo) -> Iterator[Frame]:
    """Yield what looks like a frame's header, in order."""
    released_at = begin
    for at in heapq.merge(*(_places(data, code, begin, end) for code in _syncs(info))):
        if (frame := parse_frame(data, at, info)) is not None:
            yield frame
        if at - released_at > RELEASE_BYTES:
            release(data)
            released_at = at


def _places(data: Data, code: bytes, begin: int, end: int) -> Iterator[int]:
    at = data.find(code, begin, end)
    while at >= 0:
        yield at
        at = data.find(code, at + 1, end)


def _syncs(info: StreamInfo) -> tuple[bytes, ...]:
    # a stream's blocks are of a fixed or of a variable size, never both; where sizes differ either is possible
    return SYNCS[:1] if info.block_samples else SYNCS


def find_frames(data: Data, info: StreamInfo, n_bytes: int) -> list[Frame]:
    """Return all frames in order; a header that is none (in a frame's content) is left out."""
    found = list(_candidates(data, info.first_frame, n_bytes, info))
    frames: list[Frame] = []
    expected: int | None = 0
    for index, frame in enumerate(found):
        if frame.first == expected or _has_successor(found, index):
            if frames and frame.first < frames[-1].first + frames[-1].n_samples:
                continue
            frames.append(frame)
            expected = frame.first + frame.n_samples
    return frames


def _has_successor(found: list[Frame], index: int) -> bool:
    frame = found[index]
    end = frame.first + frame.n_samples
    return any(other.first == end for other in found[index + 1 : index + 1 + LOOK_AHEAD])


def last_end(data: Data, info: StreamInfo, n_bytes: int) -> int:
    """Return the sample behind the last frame, by its header; 0 where none is found near the end."""
    reach = max(TAIL_BYTES, 2 * info.max_frame_bytes)
    found = list(_candidates(data, max(info.first_frame, n_bytes - reach), n_bytes, info))
    for index in range(len(found) - 1, -1, -1):
        frame = found[index]
        if any(other.first + other.n_samples == frame.first for other in found[max(0, index - LOOK_AHEAD) : index]):
            return frame.first + frame.n_samples
    return found[-1].first + found[-1].n_samples if len(found) == 1 else 0


def spans(frames: list[Frame]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return each frame's first byte, first sample and last sample + 1."""
    offset = np.array([frame.offset for frame in frames], np.int64)
    first = np.array([frame.first for frame in frames], np.int64)
    return offset, first, first + np.array([frame.n_samples for frame in frames], np.int64)
