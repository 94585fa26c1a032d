"""Reads with libsndfile: WAV, FLAC, OGG, Opus, MP3, AIFF and more. Waveforms are (samples,) float32, mono."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aer.audio.info import AudioInfo, Waveform, audio_error, checked_rate, is_sparse
from aer.errors import EmptyAudioError
from aer.utils.stderr import quiet_stderr
from aer.utils.systems import path_for_c

# values decoded at a time, over all channels, so that many channels don't fill the memory
BLOCK_VALUES = 1 << 19
# samples up to which an MP3 is decoded from its start instead of sought in
MP3_SEEK_FROM = 1 << 20
# libsndfile's length of a stream whose header has none
UNKNOWN_FRAMES = 1 << 62
# sizes from here on in a WAV header stand for "written to a pipe"
UNKNOWN_BYTES = 0x7FFF0000
# the classic mistake, a size that counts the header too, is not a truncation
SLACK_BYTES = 64
# relative: the length of an MP3 without a Xing header is estimated from its bit rate
MP3_SLACK = 0.005
MP3_SLACK_SAMPLES = 2 * 1152
_DECLARED_SIZE = re.compile(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)


class UnknownLengthError(Exception):
    """A stream (FLAC from a pipe) that soundfile can't read, as it seeks after each block."""


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile's, without the notes on damaged MP3s that libmpg123 prints past libsndfile."""

    def __init__(self, path: Path):
        with quiet_stderr():
            super().__init__(path_for_c(path))
        self.is_mp3 = str(self.subtype).startswith("MPEG")

    def seek(self, frames: int, whence: int = 0) -> int:
        with quiet_stderr() if self.is_mp3 else contextlib.nullcontext():
            return int(super().seek(frames, whence))

    def read(self, frames: int = -1, **arguments: Any) -> Waveform:
        with quiet_stderr() if self.is_mp3 else contextlib.nullcontext():
            samples: Waveform = super().read(frames, **arguments)
            return samples


def read_info(path: Path, file: SoundFile, allow_cut_short: bool = False) -> AudioInfo:
    """Return what the header says. Raise AudioError where it promises more than there is.

    `allow_cut_short`: of a WAV or AIFF that was cut short, return the length that is there. Raise EmptyAudioError for a
    file without samples, and UnknownLengthError for a stream whose header gives no length.
    """
    if not allow_cut_short or not file.frames:
        _check_whole(path, file)
    n_samples = int(file.frames)
    if n_samples >= UNKNOWN_FRAMES:
        raise UnknownLengthError("its header gives no length")
    if n_samples <= 0:
        raise audio_error(path, "has no samples", EmptyAudioError)
    info = AudioInfo(checked_rate(path, int(file.samplerate)), int(file.channels), n_samples)
    if is_sparse(path, info):
        _check_end(path, file, n_samples)
    return info


def _check_whole(path: Path, file: SoundFile) -> None:
    """Raise AudioError for a truncated WAV or AIFF: libsndfile shortens it silently, and only its log says so."""
    for declared, present in _DECLARED_SIZE.findall(file.extra_info):
        if int(present) + SLACK_BYTES < int(declared) < UNKNOWN_BYTES:
            raise audio_error(path, f"cut short: its header promises {declared} bytes of audio, {present} are there")


def _check_end(path: Path, file: SoundFile, n_samples: int) -> None:
    try:
        file.seek(n_samples - 1)
        there = len(file.read(1, dtype="float32"))
        file.seek(0)
    except soundfile.LibsndfileError:
        there = 0
    if not there:
        raise audio_error(path, f"cut short or damaged: its header promises {n_samples} samples, the last is not there")


def _blocks(path: Path, file: SoundFile, info: AudioInfo, begin: int, stop: int) -> Iterator[Waveform]:
    """Yield samples `begin` (where `file` stands) to `stop` in mono blocks; raise AudioError if there are fewer."""
    position, block_frames = begin, max(1, BLOCK_VALUES // info.channels)
    while position < stop:
        try:
            block = file.read(min(stop - position, block_frames), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise audio_error(path, f"cut short or damaged: {error.error_string}") from error
        if not len(block):
            break
        position += len(block)
        # the caller checks for values that are not finite
        with np.errstate(invalid="ignore", over="ignore"):
            mono = block[:, 0] if info.channels == 1 else block.mean(axis=1)
        # not within errstate: another thread may close this generator, and could not restore numpy's state
        yield mono
    slack = max(MP3_SLACK_SAMPLES, MP3_SLACK * info.n_samples) if file.is_mp3 else 0
    if stop - position > slack:
        raise audio_error(path, f"cut short: its header promises {info.n_samples} samples, decoding ends at {position}")


def span_blocks(path: Path, file: SoundFile, info: AudioInfo, first: int, stop: int | None) -> Iterator[Waveform]:
    """Yield samples `first` to `stop` (None: the end) at the recording's own rate, in mono blocks (samples,).

    Raise AudioError where the recording is damaged or ends earlier.
    """
    stop = info.n_samples if stop is None else min(stop, info.n_samples)
    # an MP3 frame needs bits of the frames before it: libmpg123 complains on the console after a seek into the middle
    from_start = not file.seekable() or (file.is_mp3 and stop <= MP3_SEEK_FROM)
    begin = 0 if from_start else first
    try:
        if begin:
            file.seek(begin)
    except soundfile.LibsndfileError as error:
        raise audio_error(path, f"cut short or damaged: {error.error_string}") from error
    spare = first - begin
    for block in _blocks(path, file, info, begin, stop):
        yield block[min(spare, len(block)) :]
        spare -= min(spare, len(block))


def all_blocks(path: Path, file: SoundFile, info: AudioInfo) -> Iterator[Waveform]:
    """Yield all samples that are there in mono blocks (samples,); then raise AudioError if the header promised more."""
    yield from span_blocks(path, file, info, 0, None)
    _check_whole(path, file)
