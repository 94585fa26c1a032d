"""Opening a file with FFmpeg's libraries (PyAV), and which of its audio tracks is read.

FFmpeg gets the open file and no path, no protocol, and no demuxer that follows references, so that it can't be led to
other files or the network.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from aer.audio.frames import STRICT, WITH_CHECKSUMS
from aer.audio.info import audio_error
from aer.audio.sniff import ENCRYPTED, advice

_FORMATS = (
    "aa aac ac3 act adx aiff amr ape apm asf ast au avi bit caf dfpwm dsf dts dtshd eac3 flac flv gsm hca "
    "iff ircam lc3 loas matroska mov mp3 mpc mpc8 mpeg mpegts nut ogg oma osq qcp qoa rm rso sbc "
    "shn sox tak tta voc vqf w64 wav wsd wv xwma"
)
OPTIONS = {"format_whitelist": ",".join(_FORMATS.split()), "protocol_whitelist": "none"}
# codings in an MP4 that say that it is encrypted
ENCRYPTED_TAGS = ("drms", "enca")


class UnknownFormatError(Exception):
    """A file that a reader does not know, and why; the next one is asked."""


class _File(io.BufferedReader):
    """A file that refuses a seek to a place before its start by -1, as FFmpeg does; PyAV would print the exception."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return -1


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file, and give the container and its audio track. Raise UnknownFormatError where there is none."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_File(io.FileIO(path)))
        try:
            container: Any = stack.enter_context(av.open(file, options=OPTIONS))
        except (av.error.FFmpegError, ValueError, UnicodeDecodeError) as error:
            raise UnknownFormatError(words_of(error)) from error
        tracks = list(container.streams.audio)
        if not tracks:
            raise audio_error(path, ": ".join(filter(None, ["has no audio track", advice(path)])))
        default = [track for track in tracks if "default" in str(track.disposition.name or "").lower()]
        track = (default or tracks)[0]
        if track.codec_context is None:
            raise audio_error(
                path, "its audio track can't be decoded: its coding is not known, or it is encrypted (DRM)"
            )
        if _tag(track) in ENCRYPTED_TAGS:
            # it would be decoded to noise
            raise audio_error(path, f"its audio track can't be decoded: {ENCRYPTED}")
        track.codec_context.thread_count = 1
        if track.codec_context.name in WITH_CHECKSUMS:
            track.codec_context.options = STRICT
        yield container, track


def _tag(track: Any) -> str:
    """Return what the container calls the coding."""
    try:
        return str(track.codec_context.codec_tag)
    except UnicodeDecodeError:
        return ""


def words_of(error: Exception) -> str:
    """Return what an error of PyAV says, without the codes around it."""
    return str(getattr(error, "strerror", "") or error).lower()
