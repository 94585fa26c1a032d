"""Reading through audioread, the last reader: what neither libsndfile nor FFmpeg's libraries take, with other programs.

It decodes from the start, 16 bits deep.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import audioread
import numpy as np

from aer.audio.container_file import UnknownFormatError
from aer.audio.info import AudioInfo, Damage, Samples, audio_error, checked_rate
from aer.errors import EmptyAudioError

# audioread gives durations to a tenth of a second
SLACK_S = 0.2
PROBLEMS = (audioread.DecodeError, OSError, EOFError)


def _backends() -> list[type[audioread.AudioFile]]:
    # Not audioread's own WAV reader: libsndfile has said no already. Nor the ffmpeg program: it is given a path, reads
    # rate and channels from text, and knows no more than the libraries that were asked before.
    left_out = ("RawAudioFile", "FFmpegAudioFile")
    return [backend for backend in audioread.available_backends() if backend.__name__ not in left_out]


def _open(path: Path) -> audioread.AudioFile:
    return audioread.audio_open(str(path.absolute()), backends=_backends())


class AudioreadReader:
    """A recording that one of audioread's other programs reads."""

    def __init__(self, path: Path):
        self.path = path
        if not _backends():
            raise UnknownFormatError("")
        try:
            with contextlib.closing(_open(path)) as file:
                rate, channels = int(file.samplerate), int(file.channels)
                if rate <= 0 or channels <= 0:
                    raise UnknownFormatError("no audio in it")
                n_samples = sum(len(block) for block in file) // (2 * channels)
        except PROBLEMS as error:
            raise UnknownFormatError(str(error) or type(error).__name__) from error
        if n_samples == 0:
            raise audio_error(path, "has no samples", EmptyAudioError)
        self.info = AudioInfo(checked_rate(path, rate), channels, n_samples)

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        frame_bytes = 2 * self.info.channels
        left, position = b"", 0
        try:
            with contextlib.closing(_open(self.path)) as file:
                for block in file:
                    whole = left + block
                    n_frames = len(whole) // frame_bytes
                    left = whole[n_frames * frame_bytes :]
                    pcm = np.frombuffer(whole[: n_frames * frame_bytes], dtype="<i2").reshape(-1, self.info.channels)
                    samples = pcm.astype(np.float32) / np.float32(32768)
                    yield samples[max(first - position, 0) : max(stop - position, 0)]
                    position += n_frames
                    if position >= stop:
                        return
        except PROBLEMS as error:
            damages.append(Damage(position, None, f"could not be decoded: {error or type(error).__name__}"))
            return
        damages.append(Damage(position, None, f"cut short: decoding ends at {position / self.info.sample_rate:g} s"))
