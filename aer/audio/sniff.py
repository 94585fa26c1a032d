"""What a file is by its first bytes, not by its name; and what to do about one that is no recording."""

import zipfile
from pathlib import Path

from aer.audio import mpeg
from aer.audio.info import SUFFIXES
from aer.audio.raw_frames import ac3_bytes, adts_bytes, frames_follow
from aer.audio.tags import after_tags

HEAD_BYTES = 1 << 16
# enough to tell the kind, where a folder's other files are looked at too
SHORT_HEAD_BYTES = 1 << 14
# none of so many bytes is one that no text has
TEXT_BYTES = 512
LFS_START = b"version https://git-lfs"
# with these FFmpeg would go on to read files that a text names; it looks for the latter two anywhere in the beginning
PLAYLIST_STARTS = (b"#extm3u", b"ffconcat", b"<", b"[playlist]", b"v=0")
PLAYLIST_MARKS = (b"<mpd", b"c=in ip")
ENCRYPTED = "encrypted (DRM): export it unprotected from the program that bought it"
_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")

# kind: what a file begins with, at which place
MAGIC: tuple[tuple[str, int, bytes], ...] = (
    ("w64", 0, _W64),
    ("flac", 0, b"fLaC"),
    ("ogg", 0, b"OggS"),
    ("caf", 0, b"caff"),
    ("au", 0, b".snd"),
    ("mp4", 4, b"ftyp"),
    ("mp4", 4, b"moov"),
    ("mp4", 4, b"mdat"),
    ("mp4", 4, b"wide"),
    ("mp4", 4, b"free"),
    ("mpegps", 0, b"\x00\x00\x01\xba"),
    ("nist", 0, b"NIST_1A"),
    ("matroska", 0, b"\x1a\x45\xdf\xa3"),
    ("asf", 0, _ASF),
    ("wavpack", 0, b"wvpk"),
    ("ape", 0, b"MAC "),
    ("tta", 0, b"TTA1"),
    ("musepack", 0, b"MPCK"),
    ("musepack", 0, b"MP+"),
    ("tak", 0, b"tBaK"),
    ("amr", 0, b"#!AMR"),
    ("wac", 0, b"WAac"),
    ("dsf", 0, b"DSD "),
    ("real", 0, b".RMF"),
    ("voc", 0, b"Creative Voice File"),
    ("shorten", 0, b"ajkg"),
    ("qoa", 0, b"qoaf"),
)
# a text may begin so too ("The free ...", "MAC OS"), these never without bytes that no text has
NEVER_TEXT = frozenset(["mp4", "ape", "musepack", "real"])
# RIFF and FORM say at byte 8 what they hold
FORMS = {b"WAVE": "wav", b"AIFF": "aiff", b"AIFC": "aiff", b"AVI ": "avi", b"8SVX": "svx", b"16SV": "svx"}


def kind_of(path: Path, head_bytes: int = HEAD_BYTES) -> str:
    """Return the kind of sound file ("wav", "flac", "mpeg", ...) by its content, "" for what is none. Raise OSError."""
    with path.open("rb") as file:
        head = file.read(head_bytes)
        behind = after_tags(head)
        if not behind:
            return kind_of_bytes(head)
        # a picture in the tag may be large
        file.seek(behind)
        return kind_of_bytes(file.read(head_bytes), is_tagged=True)


def looks_like_audio(path: Path) -> bool:
    """Return whether a file's content is that of a sound file, whatever its name. Raise OSError."""
    return bool(kind_of(path, SHORT_HEAD_BYTES))


def could_be_audio(path: Path) -> bool:
    """Return whether a file is to be taken for a recording: by its suffix, or else by its content.

    One that can't be opened could be one; what is no file (a pipe, a link to nowhere) is one by its suffix only.
    """
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        return path.is_file() and looks_like_audio(path)
    except PermissionError:
        return True
    except OSError:
        return False


def kind_of_bytes(head: bytes, is_tagged: bool = False) -> str:
    """Return the kind of a file that begins so; `is_tagged`: behind an ID3 tag."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM", b"BW64"):
        return FORMS.get(head[8:12], "")
    for kind, place, magic in MAGIC:
        if head[place : place + len(magic)] == magic and not (kind in NEVER_TEXT and is_text(head)):
            return kind
    if frames_follow(head, adts_bytes):
        return "adts"
    if frames_follow(head, ac3_bytes):
        return "ac3"
    # a cut-off or damaged beginning has the rest of a frame in front
    if is_text(head):
        return ""
    if mpeg.first_frame(head, 0, min(len(head), 4096)) is not None:
        return "mpeg"
    return "mpeg" if is_tagged else ""


def is_text(head: bytes) -> bool:
    """Return whether a file that begins so is text, or a playlist that FFmpeg would follow. No audio is."""
    lowered = head[:4096].lower().removeprefix(b"\xef\xbb\xbf").lstrip()
    return (
        min(head[:TEXT_BYTES], default=0) > 8
        or lowered.startswith(PLAYLIST_STARTS)
        or any(mark in lowered for mark in PLAYLIST_MARKS)
    )


def is_lfs_pointer(head: bytes) -> bool:
    """Return whether a file that begins so is what Git LFS leaves in a file's stead."""
    return head.startswith(LFS_START)


def advice(path: Path) -> str:
    """Return what a refused file is and what to do about it, "" where nothing better is known. Raise OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    start = head.lstrip()[:512].lower()
    if is_lfs_pointer(head):
        return "a Git LFS pointer, not the recording itself: git lfs pull"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page: download the recording again, its address may need a login"
    if zipfile.is_zipfile(path):
        return "a zip archive: unpack it"
    if head[:2] == b"\x1f\x8b":
        return "compressed by gzip: gunzip it"
    if head[:4] == b"Rar!" or head[:6] == b"7z\xbc\xaf\x27\x1c":
        return "an archive: unpack it"
    if head[:4] == b"WAac":
        return "Wildlife Acoustics' WAC: convert it to WAV with Kaleidoscope or wac2wav"
    if head[4:8] == b"ftyp" and (b"drms" in head or b"enca" in head):
        return ENCRYPTED
    if head[4:8] in (b"ftyp", b"mdat") and not _has_moov(path):
        return "its index (moov) is missing, as it was not finished: untrunc, with a whole file of the same recorder"
    if not head.strip(b"\0"):
        return "nothing but zeros at its start: copy it again from the card"
    if is_text(head):
        return "text or a playlist of other files"
    return ""


def _has_moov(path: Path) -> bool:
    """Return whether one of the boxes of an MP4 is its index."""
    at, n_bytes = 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 8 <= n_bytes:
            file.seek(at)
            head = file.read(16)
            size, name = int.from_bytes(head[:4], "big"), head[4:8]
            if name == b"moov":
                return True
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if size < 8:
                return False
            at += size
    return False
