"""Tags in front of, between and behind the frames of sound: ID3, APE, Lyrics3."""

import struct

ID3V1_BYTES, APE_BYTES = 128, 32

Data = bytes


def id3_bytes(data: Data, at: int = 0) -> int:
    """Return the length of the ID3v2 tag at that place, 0 where there is none."""
    head = data[at : at + 10]
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def after_tags(data: Data) -> int:
    """Return where the ID3v2 tags at the start end."""
    at = 0
    while n_bytes := id3_bytes(data, at):
        at += n_bytes
    return at


def tag_bytes(data: Data, at: int, n_bytes: int) -> int:
    """Return the length of the tag at that place, 0 where there is none."""
    if n_tag := id3_bytes(data, at):
        return n_tag
    if data[at : at + 3] == b"TAG" and n_bytes - at >= ID3V1_BYTES:
        return ID3V1_BYTES
    if data[at : at + 8] == b"APETAGEX" and n_bytes - at >= APE_BYTES:
        size, _, flags = struct.unpack_from("<III", data, at + 12)
        # with a header in front the size leaves it out
        return int(size) + (APE_BYTES if flags >> 29 & 1 else 0)
    if data[at : at + 11] == b"LYRICSBEGIN":
        end = max(data.find(b"LYRICS200", at), data.find(b"LYRICSEND", at))
        return end + 9 - at if end > 0 else 0
    return 0
