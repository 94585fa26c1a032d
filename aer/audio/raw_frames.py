"""AAC and AC-3 without a container, and AVI: whether the file ends within a frame, or before what its header promises.

FFmpeg decodes such a file up to there without a word.
"""

import struct
from collections.abc import Callable

from aer.audio.mapping import RELEASE_BYTES, release
from aer.audio.tags import after_tags

# their sync words, and how the length of a frame is found, to see whether another one follows
_AC3_RATES_HZ = (48000, 44100, 32000)
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)

Data = bytes


def frames_follow(head: bytes, length_of: Callable[[bytes], int], count: int = 3) -> bool:
    """Return whether several frames follow each other from the start, or fewer up to the end."""
    at = 0
    for _ in range(count):
        n_bytes = length_of(head[at : at + 8])
        if not n_bytes:
            return at > 0 and at == len(head)
        at += n_bytes
    return True


def adts_bytes(head: bytes) -> int:
    """Return the length of an AAC frame by its header, 0 for none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    n_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return n_bytes if n_bytes > 7 else 0


def ac3_bytes(head: bytes) -> int:
    """Return the length of an AC-3 frame by its header, 0 for none."""
    if len(head) < 6 or head[:2] != b"\x0b\x77":
        return 0
    if head[5] >> 3 > 10:
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate_code, size_code = head[4] >> 6, head[4] & 63
    if rate_code == 3 or size_code > 37:
        return 0
    words = _AC3_KBPS[size_code // 2] * 1000 * 1536 // (16 * _AC3_RATES_HZ[rate_code])
    return 2 * (words + (size_code % 2 if rate_code == 1 else 0))


def is_cut(data: Data, n_bytes: int, demuxer: str) -> bool:
    """Return whether a file ends too early, by its last frame's length or by its size; False for other demuxers.

    Where something that is no frame stands in between, it is left to the decoder.
    """
    if demuxer == "avi":
        return _riff_bytes(data, n_bytes) > n_bytes
    length_of = {"aac": adts_bytes, "ac3": ac3_bytes, "eac3": ac3_bytes}.get(demuxer)
    if length_of is None:
        return False
    at = released_at = after_tags(data)
    size = 0
    while at < n_bytes:
        size = length_of(data[at : at + 8])
        if not size:
            # too short for a header, behind whole frames
            return n_bytes - at < 8 and data[at : at + 1] in (b"\xff", b"\x0b")
        at += size
        if at - released_at > RELEASE_BYTES:
            release(data)
            released_at = at
    return at > n_bytes


def _riff_bytes(data: Data, n_bytes: int) -> int:
    """Return where the last RIFF of a file ends by its own account: large AVIs have several."""
    at = 0
    while data[at : at + 4] == b"RIFF" and at + 8 <= n_bytes:
        at += 8 + int(struct.unpack_from("<I", data, at + 4)[0])
        at += at % 2
    return at - (at == n_bytes + 1)
