"""MP3 (and MP1, MP2): where its frames lie. Each has a header with its length, so that the file can be walked.

A Xing or VBRI header promises a number of frames, which is believed where the walk finds as many. As FFmpeg does, an
encoder's delay (LAME's tag) is cut off at the start, its padding at the end. ISO/IEC 11172-3, section 2.4.
"""

import struct
from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aer.audio.info import Damage
from aer.audio.mapping import RELEASE_BYTES, release
from aer.audio.tags import tag_bytes

BITRATES_KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
BITRATES_KBPS[2, 3] = BITRATES_KBPS[2, 2]
RATES_HZ = (44100, 48000, 32000)
# frames in a row that make a beginning, and that are asked for behind a break
IN_A_ROW, AFTER_BREAK = 4, 2
# decoders of layer 3 are this much behind (528 + 1 samples), which LAME's padding counts in
DECODER_DELAY = 529
# a frame may need so many bytes of frames before it (9 bits: main_data_begin), and its decoder two whole frames
RESERVOIR_BYTES, WARM_FRAMES, HEADER_BYTES = 511, 3, 40
# so many zeros may stand behind the last frame
PADDING_BYTES = 4096

Data = bytes
Header = tuple[int, int, int, int, int]
"""Bytes of the frame, samples in it, sample rate, version (1; 2 for 2 and 2.5), layer."""


@dataclass(frozen=True)
class Promise:
    """What a Xing or VBRI header says."""

    n_frames: int
    n_bytes: int
    delay: int
    padding: int


@dataclass(frozen=True)
class Walk:
    """The frames of an MP3."""

    layer: int
    sample_rate: int
    channels: int
    frame_samples: int
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int32]
    # of the first sample, before the delay is cut off; gaps are left where frames are missing
    first: npt.NDArray[np.int64]
    promise: Promise | None
    damages: tuple[Damage, ...]
    notes: tuple[str, ...]


def parse_header(head: bytes) -> Header | None:
    """Return what the first three bytes of a frame's header say, None where they are none or give no length."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version_bits, layer_bits = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate_index, bitrate_index, padding = head[2] >> 2 & 3, head[2] >> 4, head[2] >> 1 & 1
    if version_bits == 1 or layer_bits == 0 or rate_index == 3 or bitrate_index in (0, 15):
        return None
    version, layer = (1 if version_bits == 3 else 2), 4 - layer_bits
    rate = RATES_HZ[rate_index] >> {3: 0, 2: 1, 0: 2}[version_bits]
    bitrate = 1000 * BITRATES_KBPS[version, layer][bitrate_index]
    if layer == 1:
        return (12 * bitrate // rate + padding) * 4, 384, rate, version, layer
    samples = 576 if layer == 3 and version == 2 else 1152
    return samples // 8 * bitrate // rate + padding, samples, rate, version, layer


def first_frame(data: Data, begin: int, limit: int) -> int | None:
    """Return where several frames of one kind follow each other, from `begin` on and before `limit`; else None."""
    at = data.find(b"\xff", begin, limit)
    while at >= 0:
        if _row(data, at, IN_A_ROW, None):
            return at
        at = data.find(b"\xff", at + 1, limit)
    return None


def _row(data: Data, at: int, count: int, kind: tuple[int, int, int] | None) -> bool:
    """Return whether `count` frames of one kind (rate, version, layer) follow each other, or fewer up to the end."""
    for number in range(count):
        header = parse_header(data[at : at + 3])
        if header is None or (kind is not None and header[2:] != kind):
            # the end, or the tag there
            return number > 1 and (at >= len(data) or data[at : at + 3] == b"TAG" or data[at : at + 8] == b"APETAGEX")
        kind = header[2:]
        at += header[0]
    return True


def walk(data: Data, begin: int, n_bytes: int) -> Walk | None:
    """Walk over all frames from `begin` on in `data` of `n_bytes`; None where there are none."""
    start = first_frame(data, begin, min(n_bytes, begin + (1 << 20)))
    if start is None:
        return None
    head = parse_header(data[start : start + 3])
    assert head is not None
    promise = _promise(data, start, head)
    found = _frames_from(data, start + (head[0] if promise else 0), n_bytes, head[2:])
    return _timed(data, found, head, promise, start - begin) if found.offsets else None


@dataclass
class _Found:
    """Frames as they lie in the file."""

    offsets: "array[int]"
    sizes: "array[int]"
    # index of the frame behind it, bytes
    breaks: list[tuple[int, int]]
    # whether the end is missing
    is_cut: bool = False


def _frames_from(data: Data, at: int, n_bytes: int, kind: tuple[int, int, int]) -> _Found:
    """Return all frames of one kind from there on."""
    size_of: dict[bytes, int] = {}
    # 12 hours are millions of frames
    offsets, sizes = array("q"), array("i")
    released_at = at
    breaks: list[tuple[int, int]] = []
    while at + 4 <= n_bytes:
        key = data[at : at + 3]
        size = size_of.get(key)
        if size is None:
            header = parse_header(key)
            size = size_of[key] = header[0] if header is not None and header[2:] == kind else 0
        if at - released_at > RELEASE_BYTES:
            release(data)
            released_at = at
        if size and at + size <= n_bytes:
            offsets.append(at)
            sizes.append(size)
            at += size
            continue
        if n_tag := tag_bytes(data, at, n_bytes):
            at += n_tag
            continue
        # the frame before may have a wrong length, and reach over the beginning of the one that follows
        following = _resync(data, (offsets[-1] if offsets else at) + 1, n_bytes, kind)
        if not following:
            is_cut = bool(size) or n_bytes - at > PADDING_BYTES or any(data[at:n_bytes])
            return _Found(offsets, sizes, breaks, is_cut)
        if following < at:
            at = offsets.pop()
            sizes.pop()
        if following > at:
            breaks.append((len(offsets), following - at))
        at = following
    return _Found(offsets, sizes, breaks)


def _resync(data: Data, at: int, n_bytes: int, kind: tuple[int, int, int]) -> int:
    """Return where the next frame begins that is followed by another; 0 where there is none."""
    at = data.find(b"\xff", at, n_bytes)
    while at >= 0:
        header = parse_header(data[at : at + 3])
        if header is not None and header[2:] == kind and _row(data, at, AFTER_BREAK, kind):
            return at
        at = data.find(b"\xff", at + 1, n_bytes)
    return 0


def _timed(data: Data, found: _Found, head: Header, promise: Promise | None, before: int) -> Walk:
    """Give each frame its time; those lost in breaks are counted by their bytes. `before`: bytes of no frame."""
    offsets, sizes = np.array(found.offsets, np.int64), np.array(found.sizes, np.int32)
    breaks, is_cut = found.breaks, found.is_cut
    _, frame_samples, rate, _, layer = head
    n_lost = promise.n_frames - len(offsets) if promise and len(breaks) == 1 and not is_cut else 0
    number = np.arange(len(offsets), dtype=np.int64)
    damages: list[Damage] = []
    for index, n_bytes in breaks:
        near = float(sizes[max(0, index - 40) : index + 40].mean())
        lost = n_lost if n_lost > 0 else max(1, round(n_bytes / near))
        start = int(number[index]) * frame_samples
        number[index:] += lost
        lost += _spoilt(data, found, index) if layer == 3 else 0
        damages.append(Damage(start, start + lost * frame_samples, f"{n_bytes} bytes are no MP3 frames"))
    n_frames = int(number[-1]) + 1
    delay = promise.delay if promise else 0
    end_s = (n_frames * frame_samples - delay) / rate
    notes = [f"{before} bytes before its first frame are no MP3"] if before > 2 * sizes.mean() else []
    # some encoders count the header's own frame
    if promise and promise.n_frames > n_frames + (0 if is_cut else 1):
        promised_s = (promise.n_frames * frame_samples - delay - promise.padding) / rate
        reason = f"cut short: its header promises {promised_s:.3f} s, it ends at {end_s:.3f} s"
        damages.append(Damage(n_frames * frame_samples, None, reason, is_promised=True))
    elif is_cut and not (promise and promise.n_frames == n_frames):
        reason = f"cut short or damaged: its last whole frame ends at {end_s:.3f} s"
        damages.append(Damage(n_frames * frame_samples, None, reason))
    elif promise and 0 < promise.n_frames < n_frames:
        notes.append(f"its header promises {promise.n_frames} frames, {n_frames} are there")
    first = number * frame_samples
    channels = _most_channels(data, offsets)
    return Walk(layer, rate, channels, frame_samples, offsets, sizes, first, promise, tuple(damages), tuple(notes))


def _spoilt(data: Data, found: _Found, index: int) -> int:
    """Return how many frames from `index` on, behind a break, need bytes of frames before it, or the sound of one."""
    there = 0
    for count in range(len(found.offsets) - index):
        at, size = found.offsets[index + count], found.sizes[index + count]
        place = at + (4 if data[at + 1] & 1 else 6)
        # main_data_begin: 9 bits, in version 2 8 bits
        needed = int.from_bytes(data[place : place + 2], "big") >> 7 if data[at + 1] >> 3 & 3 == 3 else data[place]
        if needed <= there:
            # its first half overlaps with the frame before
            return count + 1
        there += max(0, size - HEADER_BYTES)
    return len(found.offsets) - index


def _most_channels(data: Data, offsets: npt.NDArray[np.int64]) -> int:
    """Return 2 if any of some frames is stereo (an encoder may write mono frames in between), else 1."""
    some = offsets[:: max(1, len(offsets) // 50)].tolist()
    return 1 if all(data[at + 3] >> 6 == 3 for at in some) else 2


def _promise(data: Data, at: int, head: Header) -> Promise | None:
    """Return what the first frame says where it is a Xing, Info or VBRI header."""
    size, _, _, version, layer = head
    frame = data[at : at + size]
    if layer != 3 or len(frame) < 40:
        return None
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        n_bytes, n_frames = struct.unpack_from(">II", frame, 46)
        return Promise(n_frames, n_bytes, 0, 0)
    is_mono = frame[3] >> 6 == 3
    xing = 4 + ((17 if is_mono else 32) if version == 1 else (9 if is_mono else 17))
    if frame[xing : xing + 4] not in (b"Xing", b"Info") or len(frame) < xing + 8:
        return None
    flags = struct.unpack_from(">I", frame, xing + 4)[0]
    place, numbers = xing + 8, [0, 0]
    for bit in (0, 1):
        if flags >> bit & 1 and place + 4 <= len(frame):
            numbers[bit] = struct.unpack_from(">I", frame, place)[0]
            place += 4
    place += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    delay = padding = 0
    if frame[place : place + 4] in (b"LAME", b"Lavf", b"Lavc") and len(frame) >= place + 24:
        both = int.from_bytes(frame[place + 21 : place + 24], "big")
        delay, padding = both >> 12, both & 0xFFF
        delay += DECODER_DELAY
        padding = max(0, padding - DECODER_DELAY)
    return Promise(numbers[0], numbers[1], delay, padding)


def trimmed(found: Walk) -> tuple[int, int]:
    """Return the samples to cut off at the start and at the end: an encoder's delay and padding."""
    promise = found.promise
    if promise is None:
        return 0, 0
    n_frames = int(found.first[-1]) // found.frame_samples + 1
    is_whole = promise.n_frames == n_frames and not any(damage.stop is None for damage in found.damages)
    return promise.delay, promise.padding if is_whole else 0


def preroll(sizes: npt.NDArray[np.int32], index: int) -> int:
    """Return how many frames to decode before frame `index`, so that it comes out as in a decode from the start."""
    begin = max(0, index - WARM_FRAMES)
    n_bytes = 0
    while begin > 0 and n_bytes < RESERVOIR_BYTES:
        begin -= 1
        n_bytes += max(0, int(sizes[begin]) - HEADER_BYTES)
    return index - max(0, begin - 1)
