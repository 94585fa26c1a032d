"""Ogg whose pages are damaged or missing: where its packets lie, and their times. RFC 3533; Opus in Ogg: RFC 7845.

Each page has a number, a checksum and the time at which it ends (its granule position), so that a page that is missing
is known, and how much it held.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from aer.audio.mapping import RELEASE_BYTES, release

_PAGE = struct.Struct("<4sBBqIII B".replace(" ", ""))
MAX_PAGE_BYTES = _PAGE.size + 255 + 255 * 255
CONTINUED, FIRST, LAST = 1, 2, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
OPUS_RATE = 48000

Data = bytes


@dataclass(frozen=True)
class Page:
    """A page: where it lies and what it says."""

    offset: int
    n_bytes: int
    flags: int
    # samples up to the end of the last packet that ends on it; -1 where none does
    granule: int
    serial: int
    number: int
    sizes: bytes

    @property
    def body(self) -> int:
        """Return where its content begins."""
        return self.offset + _PAGE.size + len(self.sizes)


@dataclass
class Pages:
    """The pages of the first stream with sound, and what is wrong with them."""

    pages: list[Page] = field(default_factory=list)
    # stretches of bytes that are no sound page: offset, bytes
    broken: list[tuple[int, int]] = field(default_factory=list)
    # the file ends within a page
    is_cut: bool = False
    # no page is missing
    in_order: bool = True

    @property
    def has_end(self) -> bool:
        """Return whether the last page says that it is the last."""
        return bool(self.pages) and bool(self.pages[-1].flags & LAST)

    @property
    def is_sound(self) -> bool:
        """Return whether all pages are there and whole."""
        return self.has_end and not self.broken and not self.is_cut and self.in_order


def crc32(content: bytes) -> int:
    """Return Ogg's checksum: zlib's, with the bits of each byte and of the sum the other way round, from 0."""
    value = zlib.crc32(content.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "little").translate(_REVERSED), "big")


def parse_page(data: Data, at: int, n_bytes: int) -> Page | None:
    """Return the page that lies there, None where there is none, or one that is damaged or cut off."""
    head = data[at : at + _PAGE.size]
    if len(head) < _PAGE.size or head[:4] != b"OggS":
        return None
    _, _, flags, granule, serial, number, checksum, n_sizes = _PAGE.unpack(head)
    sizes = bytes(data[at + _PAGE.size : at + _PAGE.size + n_sizes])
    whole = _PAGE.size + n_sizes + sum(sizes)
    if len(sizes) < n_sizes or at + whole > n_bytes:
        return None
    content = bytearray(data[at : at + whole])
    content[22:26] = bytes(4)
    if crc32(bytes(content)) != checksum:
        return None
    return Page(at, whole, flags, granule, serial, number, sizes)


def walk(data: Data, n_bytes: int, keep: bool = True, any_codec: bool = False) -> Pages:
    """Walk over all pages of the first stream that has sound. Without `keep` only the first and last one are kept.

    `any_codec`: of the first stream, whatever is in it.
    """
    found = Pages()
    serial: int | None = None
    at = released_at = 0
    while at < n_bytes:
        page = parse_page(data, at, n_bytes)
        if page is None:
            following = data.find(b"OggS", at + 1, n_bytes)
            while following >= 0 and parse_page(data, following, n_bytes) is None:
                following = data.find(b"OggS", following + 1, n_bytes)
            if following < 0:
                found.is_cut = n_bytes - at > RELEASE_BYTES or any(data[at:n_bytes])
                break
            found.broken.append((at, following - at))
            at = following
            continue
        at += page.n_bytes
        if at - released_at > RELEASE_BYTES:
            release(data)
            released_at = at
        if serial is None and (any_codec or codec_of(data[page.body : page.body + 8])):
            serial = page.serial
        if page.serial == serial:
            found.in_order &= not found.pages or page.number == found.pages[-1].number + 1
            if not keep and len(found.pages) > 1:
                found.pages.pop()
            found.pages.append(page)
    return found


def codec_of(start: bytes) -> str:
    """Return the decoder for a stream whose first packet starts so, "" where it is none that is read here."""
    if start[:7] == b"\x01vorbis":
        return "vorbis"
    return "libopus" if start[:8] == b"OpusHead" else ""


@dataclass(frozen=True)
class Group:
    """The packets that end on a page, and the samples that they hold."""

    packets: tuple[tuple[tuple[int, int], ...], ...]  # for each its pieces: offset, bytes
    start: int
    stop: int
    # pages before it are missing
    behind_gap: bool


def groups(pages: Sequence[Page]) -> list[Group]:
    """Return the packets of each page with its time; a packet that began on a page that is missing is left out."""
    made: list[Group] = []
    unfinished: list[tuple[int, int]] = []
    end = number = 0
    lost_start = behind_gap = False
    for page in pages:
        if page.number > number:
            unfinished, behind_gap = [], True
            lost_start = bool(page.flags & CONTINUED)
        number = page.number + 1
        packets: list[tuple[tuple[int, int], ...]] = []
        at = page.body
        for size in page.sizes:
            unfinished.append((at, size))
            at += size
            if size < 255:
                if not lost_start:
                    packets.append(tuple(unfinished))
                unfinished, lost_start = [], False
        if page.granule < 0:
            # no packet ends on it
            continue
        made.append(Group(tuple(packets), end, max(page.granule, end), behind_gap))
        end, behind_gap = max(page.granule, end), False
    return made


def packet_bytes(data: Data, pieces: Sequence[tuple[int, int]]) -> bytes:
    """Return a packet."""
    return b"".join(data[at : at + size] for at, size in pieces)


def xiph_lacing(headers: Sequence[bytes]) -> bytes:
    """Return Vorbis' three headers as FFmpeg's decoder wants them."""
    lengths = b"".join(b"\xff" * (len(header) // 255) + bytes([len(header) % 255]) for header in headers[:-1])
    return bytes([len(headers) - 1]) + lengths + b"".join(headers)
