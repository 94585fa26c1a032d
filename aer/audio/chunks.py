"""WAV, RF64, W64, AIFF, CAF and AU: what their headers say of their samples, and whether it agrees with the file.

A recorder that lost power leaves a size of 0, a writer into a pipe one that means "unknown", and 32 bits wrap round
at 4 GiB. Where what is behind the samples is no chunk, the samples go on to the file's end.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

# sizes that stand for "not known, it was written to a pipe"
PIPE_SIZES = ((0x7FFF0000, 0x80000FFF), (0xFFFFF000, 1 << 32), (0x7FFFFFFF_00000000, 1 << 64))
# the classic mistake, a size that counts the header too, is no truncation
SLACK_BYTES = 64
# so many zeros behind the samples are padding to a whole block of a card
PADDING_BYTES = 1 << 16
WRAP = 1 << 32
# one of these behind the samples ends them, even where it is cut off itself
KNOWN_CHUNKS = (b"LIST", b"bext", b"fact", b"cue ", b"JUNK", b"PAD ", b"iXML", b"guan", b"wamd", b"id3 ", b"APET")
_FORMATS_WAV = {
    (1, 8): ("PCM_U8", 1),
    (1, 16): ("PCM_16", 2),
    (1, 24): ("PCM_24", 3),
    (1, 32): ("PCM_32", 4),
    (3, 32): ("FLOAT", 4),
    (3, 64): ("DOUBLE", 8),
    (6, 8): ("ALAW", 1),
    (7, 8): ("ULAW", 1),
}
_FORMATS_AIFF = {
    (b"NONE", 8): ("PCM_S8", 1),
    (b"NONE", 16): ("PCM_16", 2),
    (b"NONE", 24): ("PCM_24", 3),
    (b"NONE", 32): ("PCM_32", 4),
    (b"fl32", 32): ("FLOAT", 4),
    (b"FL32", 32): ("FLOAT", 4),
    (b"fl64", 64): ("DOUBLE", 8),
}
_FORMATS_AU = {
    1: ("ULAW", 1),
    2: ("PCM_S8", 1),
    3: ("PCM_16", 2),
    4: ("PCM_24", 3),
    5: ("PCM_32", 4),
    6: ("FLOAT", 4),
    7: ("DOUBLE", 8),
    27: ("ALAW", 1),
}
_FORMATS_CAF = {
    ("lpcm", 0, 8): ("PCM_S8", 1),
    ("lpcm", 0, 16): ("PCM_16", 2),
    ("lpcm", 0, 24): ("PCM_24", 3),
    ("lpcm", 0, 32): ("PCM_32", 4),
    ("lpcm", 1, 32): ("FLOAT", 4),
    ("lpcm", 1, 64): ("DOUBLE", 8),
    ("ulaw", 0, 8): ("ULAW", 1),
    ("alaw", 0, 8): ("ALAW", 1),
}
_W64 = bytes.fromhex("2e91cf11a5d628db04c10000")
_W64_RIFF, _W64_DATA, _W64_FMT = (
    b"riff" + _W64,
    b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a",
    b"fmt \xf3\xac\xd3\x11",
)

Data = bytes


@dataclass(frozen=True)
class Layout:
    """Where a file's samples lie: `declared` bytes by the header, `present` in truth, from byte `offset` on.

    `subtype` is libsndfile's name of their coding, "" for one that is not plain samples.
    """

    kind: str
    offset: int
    declared: int
    present: int
    subtype: str
    endian: str
    sample_rate: int
    channels: int
    frame_bytes: int

    @property
    def n_samples(self) -> int:
        """Return the samples that are there, per channel."""
        return self.present // max(self.frame_bytes, 1)

    @property
    def is_pipe(self) -> bool:
        """Return whether the header's size stands for "not known"."""
        return any(low <= self.declared < high for low, high in PIPE_SIZES)

    @property
    def is_cut(self) -> bool:
        """Return whether the header promises more than there is."""
        return not self.is_pipe and self.declared > self.present + SLACK_BYTES

    @property
    def has_more(self) -> bool:
        """Return whether there is more than the header says."""
        return self.present - self.declared >= max(self.frame_bytes, 1)


def read_layout(data: Data, n_bytes: int) -> Layout | None:
    """Return where the samples of such a file lie; None for another one, and for one without samples."""
    magic, form = data[:4], data[8:12]
    if magic in (b"RIFF", b"RF64", b"RIFX") and form == b"WAVE":
        return _wav(data, n_bytes)
    if data[:16] == _W64_RIFF:
        return _w64(data, n_bytes)
    if magic == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _aiff(data, n_bytes)
    if magic == b"caff":
        return _caf(data, n_bytes)
    return _au(data, n_bytes) if magic == b".snd" and n_bytes >= 24 else None


def _wav(data: Data, n_bytes: int) -> Layout | None:
    order = ">" if data[:4] == b"RIFX" else "<"
    at, long_size, fmt = 12, None, b""
    while at + 8 <= n_bytes:
        name, size = data[at : at + 4], struct.unpack_from(order + "I", data, at + 4)[0]
        if name == b"ds64" and size >= 16:
            long_size = struct.unpack_from("<Q", data, at + 16)[0]
        if name == b"fmt ":
            fmt = bytes(data[at + 8 : at + 8 + min(size, 40)])
        if name == b"data":
            break
        at += 8 + size + size % 2
    else:
        return None
    if len(fmt) < 16:
        return None
    declared = long_size if data[:4] == b"RF64" and size == WRAP - 1 and long_size is not None else size
    code, channels, rate, _, frame_bytes, depth = struct.unpack_from(order + "HHIIHH", fmt)
    if code == 0xFFFE and len(fmt) >= 26:
        code = struct.unpack_from(order + "H", fmt, 24)[0]
    subtype, width = _FORMATS_WAV.get((code, depth), ("", 0))
    if width * channels != frame_bytes:
        subtype = ""
    kind = "RF64" if data[:4] == b"RF64" else "WAV"
    present = _present(data, at + 8, declared, n_bytes, lambda place: _are_chunks(data, place, n_bytes, order))
    endian = "BIG" if order == ">" else "LITTLE"
    return Layout(kind, at + 8, declared, present, subtype, endian, rate, channels, frame_bytes)


def _w64(data: Data, n_bytes: int) -> Layout | None:
    at, fmt = 40, b""
    while at + 24 <= n_bytes:
        size = struct.unpack_from("<Q", data, at + 16)[0]
        if data[at : at + 8] == _W64_FMT:
            fmt = bytes(data[at + 24 : at + 24 + min(size, 40)])
        if data[at : at + 16] == _W64_DATA:
            break
        if size < 24:
            return None
        at += size + -size % 8
    else:
        return None
    if len(fmt) < 16:
        return None
    code, channels, rate, _, frame_bytes, depth = struct.unpack_from("<HHIIHH", fmt)
    if code == 0xFFFE and len(fmt) >= 26:
        code = struct.unpack_from("<H", fmt, 24)[0]
    subtype, width = _FORMATS_WAV.get((code, depth), ("", 0))
    if width * channels != frame_bytes:
        subtype = ""
    declared = max(size - 24, 0)
    present = _present(data, at + 24, declared, n_bytes, lambda place: _are_w64_chunks(data, place, n_bytes))
    return Layout("W64", at + 24, declared, present, subtype, "LITTLE", rate, channels, frame_bytes)


def _aiff(data: Data, n_bytes: int) -> Layout | None:
    at, comm = 12, b""
    while at + 8 <= n_bytes:
        name, size = data[at : at + 4], struct.unpack_from(">I", data, at + 4)[0]
        if name == b"COMM":
            comm = bytes(data[at + 8 : at + 8 + min(size, 40)])
        if name == b"SSND":
            break
        at += 8 + size + size % 2
    else:
        return None
    if len(comm) < 18:
        return None
    channels, n_frames, depth = struct.unpack_from(">HIH", comm)
    coding = comm[18:22] if data[8:12] == b"AIFC" and len(comm) >= 22 else b"NONE"
    endian = "LITTLE" if coding == b"sowt" else "BIG"
    coding = b"NONE" if coding in (b"sowt", b"twos") else coding
    subtype, width = _FORMATS_AIFF.get((coding, depth), ("", 0))
    frame_bytes = width * channels
    exponent, mantissa = struct.unpack_from(">HQ", comm, 8)
    rate = round(mantissa * 2.0 ** (exponent - 16383 - 63)) if exponent < 16383 + 64 else 0
    # both sizes are there, and the greater one has not been forgotten
    declared = max(size - 8, n_frames * frame_bytes, 0) if size < WRAP - 1 else n_frames * frame_bytes
    present = _present(data, at + 16, declared, n_bytes, lambda place: _are_chunks(data, place, n_bytes, ">"))
    return Layout("AIFF", at + 16, declared, present, subtype, endian, rate, channels, frame_bytes)


def _caf(data: Data, n_bytes: int) -> Layout | None:
    at, desc = 8, b""
    while at + 12 <= n_bytes:
        name, size = data[at : at + 4], struct.unpack_from(">q", data, at + 4)[0]
        if name == b"desc":
            desc = bytes(data[at + 12 : at + 44])
        if name == b"data":
            break
        if size < 0:
            return None
        at += 12 + size
    else:
        return None
    if len(desc) < 32:
        return None
    rate, coding, flags, frame_bytes, _, channels, depth = struct.unpack(">d4sIIIII", desc)
    subtype, width = _FORMATS_CAF.get((coding.decode("latin-1"), flags & 1, depth), ("", 0))
    if width * channels != frame_bytes:
        subtype = ""
    # -1: not known
    declared = max(size - 4, 0) if size >= 0 else PIPE_SIZES[-1][0]
    present = _present(data, at + 16, declared, n_bytes, lambda place: _are_caf_chunks(data, place, n_bytes))
    endian = "LITTLE" if flags & 2 else "BIG"
    whole_rate = round(rate) if 0 < rate < WRAP else 0
    return Layout("CAF", at + 16, declared, present, subtype, endian, whole_rate, channels, frame_bytes)


def _au(data: Data, n_bytes: int) -> Layout | None:
    offset, declared, coding, rate, channels = struct.unpack_from(">5I", data, 4)
    subtype, width = _FORMATS_AU.get(coding, ("", 0))
    if not 24 <= offset <= n_bytes:
        return None
    present = _present(data, offset, declared, n_bytes, lambda _: False)
    return Layout("AU", offset, declared, present, subtype, "BIG", rate, channels, width * channels)


def _present(data: Data, offset: int, declared: int, n_bytes: int, are_chunks: Callable[[int], bool]) -> int:
    """Return how many bytes of samples there are from `offset` on."""
    there = max(n_bytes - offset, 0)
    if declared >= there:
        return there
    # a size of 32 bits may have wrapped round, once or more
    for size in range(declared, there + 1, WRAP):
        if are_chunks(offset + size) or (size % 2 and are_chunks(offset + size + 1)):
            return size
    tail = there - declared
    if declared and tail <= PADDING_BYTES and not any(data[offset + declared : n_bytes]):
        return declared
    return there


def _are_chunks(data: Data, at: int, n_bytes: int, order: str) -> bool:
    """Return whether chunks, or a tag, lead from there to the end of the file."""
    if data[at : at + 3] in (b"ID3", b"TAG") or data[at : at + 4] in KNOWN_CHUNKS:
        return True
    while at + 8 <= n_bytes:
        name = data[at : at + 4]
        if not all(32 <= byte < 127 for byte in name):
            return False
        size = struct.unpack_from(order + "I", data, at + 4)[0]
        at += 8 + size + size % 2
    # the last may lack its byte of padding
    return abs(at - n_bytes) <= 1


def _are_caf_chunks(data: Data, at: int, n_bytes: int) -> bool:
    while at + 12 <= n_bytes:
        size = struct.unpack_from(">q", data, at + 4)[0]
        if size < 0 or not all(32 <= byte < 127 for byte in data[at : at + 4]):
            return False
        at += 12 + size
    return at == n_bytes


def _are_w64_chunks(data: Data, at: int, n_bytes: int) -> bool:
    at += -at % 8
    while at + 24 <= n_bytes:
        size = struct.unpack_from("<Q", data, at + 16)[0]
        if size < 24 or not all(32 <= byte < 127 for byte in data[at : at + 4]):
            return False
        at += size + -size % 8
    return abs(at - n_bytes) <= 8
