"""Reads with audioread, which runs ffmpeg: M4A, WMA and whatever else libsndfile can't open.

It decodes from the start, 16 bits deep. Waveforms are (samples,) float32, mono.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import audioread
import numpy as np
import soundfile

from aer.audio.info import AudioInfo, Waveform, audio_error, checked_rate, is_sparse
from aer.audio.pcm import FULL_SCALE
from aer.errors import EmptyAudioError

# audioread gives durations to a tenth of a second
FFMPEG_SLACK_S = 0.2
# a text with one of these makes ffmpeg read the files that it names; the latter two may be anywhere near its beginning
PLAYLIST_STARTS = (b"#extm3u", b"ffconcat", b"<", b"[playlist]", b"v=0")
PLAYLIST_MARKS = (b"<mpd", b"c=in ip")
# a file is text if none of its first TEXT_BYTES is one of the control characters below 9
HEAD_BYTES, TEXT_BYTES = 4096, 512


@contextlib.contextmanager
def naming_errors(path: Path, cause: Exception) -> Iterator[None]:
    """Raise AudioError for what audioread raises on a file that libsndfile could not open either (`cause`)."""
    try:
        yield
    except audioread.NoBackendError as error:
        tried = "neither libsndfile nor ffmpeg reads it" if _backends() else "libsndfile can't read it; install ffmpeg"
        why = cause.error_string if isinstance(cause, soundfile.LibsndfileError) else str(cause)
        # libsndfile says so, wrongly, of any file with the suffix of an MP3 that is not one
        why = "" if "possibly a pipe" in why else f" ({why})"
        raise audio_error(path, f"not audio, or a format that is not known: {tried}{why}") from error
    except (audioread.DecodeError, OSError, EOFError) as error:
        raise audio_error(path, f"could not be decoded: {error or type(error).__name__}") from error


def _backends() -> list[type[audioread.AudioFile]]:
    # not audioread's own WAV reader: libsndfile has refused the file already
    return [backend for backend in audioread.available_backends() if backend.__name__ != "RawAudioFile"]


def open_audio(path: Path) -> audioread.AudioFile:
    """Return the file, open. Raise AudioError for a playlist, and audioread's errors for what it can't read."""
    _check_no_text(path)
    # An absolute path, as ffmpeg takes names like "concat:a" for something else. It reads nothing from the console, and
    # audioread gives up when it is silent for 10 s.
    return audioread.audio_open(str(path.absolute()), backends=_backends())


def _check_no_text(path: Path) -> None:
    """Raise AudioError for text: ffmpeg would read the files that a playlist names, wherever they are."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    lowered = head.lower().removeprefix(b"\xef\xbb\xbf").lstrip()
    is_text = min(head[:TEXT_BYTES], default=0) > 8
    if is_text or lowered.startswith(PLAYLIST_STARTS) or any(mark in lowered for mark in PLAYLIST_MARKS):
        raise audio_error(path, "not audio, but text or a playlist of other files")


def read_info(path: Path, file: audioread.AudioFile) -> AudioInfo:
    """Return what the header says, with the samples counted where its length is missing or implausible.

    Raise AudioError for a file without audio or with an impossible sample rate, EmptyAudioError where no samples are.
    """
    rate, channels = int(file.samplerate), int(file.channels)
    if rate <= 0 or channels <= 0:
        raise audio_error(path, "has no audio that ffmpeg can read")
    info = AudioInfo(checked_rate(path, rate), channels, round(file.duration * rate))
    n_samples = info.n_samples
    if n_samples == 0 or is_sparse(path, info):
        with open_audio(path) as counted:
            n_samples = sum(len(block) for block in counted) // (2 * channels)
    if n_samples == 0:
        raise audio_error(path, "has no samples", EmptyAudioError)
    return AudioInfo(rate, channels, n_samples)


def span_blocks(
    path: Path, file: audioread.AudioFile, info: AudioInfo, first: int, stop: int | None, cause: Exception
) -> Iterator[Waveform]:
    """Yield samples `first` to `stop` (None: the end) in mono blocks (samples,), whatever length the header gives.

    `cause`: why libsndfile could not open the file. Raise AudioError where the file ends before its header says.
    """
    # 16 bits, little-endian
    frame_bytes = 2 * info.channels
    first *= frame_bytes
    stop = None if stop is None else stop * frame_bytes
    left, position, reached_stop = b"", 0, False
    with naming_errors(path, cause):
        for block in file:
            wanted = left + block[max(first - position, 0) : None if stop is None else max(stop - position, 0)]
            position += len(block)
            whole_bytes = len(wanted) // frame_bytes * frame_bytes
            left = wanted[whole_bytes:]
            pcm = np.frombuffer(wanted[:whole_bytes], dtype="<i2").reshape(-1, info.channels)
            yield pcm.mean(axis=1, dtype=np.float32) / np.float32(FULL_SCALE)
            if reached_stop := stop is not None and position >= stop:
                break
    decoded_s = position / frame_bytes / info.sample_rate
    # a bare AAC stream has no header: its length is guessed from its bit rate
    if not reached_stop and path.suffix.lower() != ".aac" and decoded_s < info.duration_s - FFMPEG_SLACK_S:
        raise audio_error(
            path, f"cut short: its header promises {info.duration_s:g} s, decoding ends at {decoded_s:g} s"
        )
