"""Reading through libsndfile: WAV, FLAC, Ogg, AIFF and more, with seek."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile

from aer.audio.chunks import SLACK_BYTES, Layout
from aer.audio.info import AudioInfo, Damage, Samples, audio_error, checked_rate
from aer.errors import EmptyAudioError
from aer.utils.stderr import quiet_stderr
from aer.utils.systems import path_for_c

# decoded at a time, over all channels, so that many of them don't fill the memory
BLOCK_VALUES = 1 << 19
# libsndfile's length of a stream whose header has none
UNKNOWN_FRAMES = 1 << 62
# sizes from here on in a header stand for "written to a pipe"
UNKNOWN_BYTES = 0x7FFF0000
# samples of all channels per byte of the file, from which a header's length is checked at its end
SPARSE = 100
# of an Ogg's end are decoded from so far before it, as seeks into the last page are off by up to a page
OGG_TAIL_SAMPLES = 1 << 17
_DECLARED_SIZE = re.compile(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)


class UnknownLengthError(Exception):
    """A stream (FLAC from a pipe) that soundfile can't read, as it seeks after each block."""


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile's, without the notes on damaged files that libmpg123 prints past libsndfile."""

    def __init__(self, source: "Path | View", **arguments: Any):
        with quiet_stderr():
            super().__init__(path_for_c(source) if isinstance(source, Path) else source, **arguments)
        self.is_mp3 = str(self.subtype).startswith("MPEG")

    def seek(self, frames: int, whence: int = 0) -> int:
        with quiet_stderr() if self.is_mp3 else contextlib.nullcontext():
            return int(super().seek(frames, whence))

    def read(self, frames: int = -1, **arguments: Any) -> Samples:
        with quiet_stderr() if self.is_mp3 else contextlib.nullcontext():
            samples: Samples = super().read(frames, **arguments)
        return samples


class View:
    """A stretch of a file, as a file."""

    def __init__(self, path: Path, offset: int, n_bytes: int):
        self.file = path.open("rb")
        self.offset, self.n_bytes = offset, n_bytes
        self.at = 0

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place of the stretch."""
        self.at = place + (0, self.at, self.n_bytes)[whence]
        return self.at

    def tell(self) -> int:
        """Return the place."""
        return self.at

    def read(self, count: int) -> bytes:
        """Return the bytes that follow, fewer at the end."""
        self.file.seek(self.offset + self.at)
        content = self.file.read(max(0, min(count, self.n_bytes - self.at)))
        self.at += len(content)
        return content

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class SndfileReader:
    """A recording that libsndfile reads."""

    def __init__(self, path: Path, file: SoundFile, info: AudioInfo):
        self.path, self.file, self.info = path, file, info

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels); where it breaks, append that to `damages`."""
        position, block_frames = first, max(1, BLOCK_VALUES // self.info.channels)
        skip = 0
        try:
            if first and self.file.format == "OGG" and self.info.n_samples - first < OGG_TAIL_SAMPLES:
                position = max(0, self.info.n_samples - 2 * OGG_TAIL_SAMPLES)
                skip = first - position
            if position or self.file.tell():
                self.file.seek(position)
            while position < stop:
                block = self.file.read(min(stop - position, block_frames), dtype="float32", always_2d=True)
                if not len(block):
                    break
                position += len(block)
                yield block[min(skip, len(block)) :]
                skip -= min(skip, len(block))
        except soundfile.LibsndfileError as error:
            damages.append(Damage(position, None, f"cut short or damaged: {error.error_string}"))
            return
        if position < stop:
            promised = f"its header promises {self.info.n_samples} samples, decoding ends at {position}"
            damages.append(Damage(position, None, f"cut short: {promised}"))


def read_info(path: Path, file: SoundFile) -> AudioInfo:
    """Return what the header says; AudioError where there are no samples."""
    n_samples = int(file.frames)
    if n_samples >= UNKNOWN_FRAMES:
        raise UnknownLengthError("its header gives no length")
    if n_samples <= 0:
        raise audio_error(path, "has no samples", EmptyAudioError)
    rate = checked_rate(path, int(file.samplerate))
    damages = [
        Damage(n_samples, None, f"cut short: its header promises {declared} bytes of audio, {present} are there", True)
        for declared, present in _DECLARED_SIZE.findall(file.extra_info)
        if int(present) + SLACK_BYTES < int(declared) < UNKNOWN_BYTES
    ]
    info = AudioInfo(rate, int(file.channels), n_samples, damages=tuple(damages))
    # silence, and headers that promise years, which would cost as many windows
    if n_samples * info.channels > SPARSE * path.stat().st_size:
        _check_end(path, file, n_samples)
    return info


def open_raw(path: Path, layout: Layout) -> SoundFile:
    """Open the samples of a WAV or AIFF whose header gives a wrong size, as they lie."""
    whole = layout.present - layout.present % layout.frame_bytes
    return SoundFile(
        View(path, layout.offset, whole),
        format="RAW",
        subtype=layout.subtype,
        endian=layout.endian if layout.subtype not in ("PCM_U8", "PCM_S8", "ALAW", "ULAW") else "FILE",
        channels=layout.channels,
        samplerate=layout.sample_rate,
    )


def _check_end(path: Path, file: SoundFile, n_samples: int) -> None:
    try:
        file.seek(n_samples - 1)
        there = len(file.read(1, dtype="float32"))
        file.seek(0)
    except soundfile.LibsndfileError:
        there = 0
    if not there:
        raise audio_error(path, f"cut short or damaged: its header promises {n_samples} samples, the last is not there")
