"""Decode, resample, read a crop. Every waveform is (samples,) float32, mono: the mean of the channels.

libsndfile (WAV, FLAC, OGG, Opus, MP3, AIFF and more) seeks to what is asked for. What it can't open (M4A, WMA) goes
through audioread, which decodes from the start and stops at the crop's end. Nothing here imports torch.

Resampling is soxr's VHQ: it costs 20% more than HQ, and as its filter is finite a crop with a margin around it equals
the same slice of the whole recording resampled (HQ: up to 1e-6 apart).
"""

import contextlib
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import audioread
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from aer.errors import AudioError, EmptyAudioError
from aer.quiet import quiet_stderr
from aer.text import printable

Waveform = npt.NDArray[np.float32]

MARGIN_SAMPLES = 256  # on both sides of a crop, at the slower of the two rates; VHQ's filter reaches 160 to 220
BLOCK_VALUES = 1 << 19  # decoded at a time, over all channels, so that many of them don't fill the memory
MP3_SEEK_FROM = 1 << 20  # samples up to which an MP3 is decoded from its start instead of sought in
UNKNOWN_FRAMES = 1 << 62  # libsndfile's length of a stream whose header has none
UNKNOWN_BYTES = 0x7FFF0000  # sizes from here on in a WAV header stand for "written to a pipe"
SLACK_BYTES = 64  # the classic mistake, a size that counts the header too, is not a truncation
MP3_SLACK = 0.005  # relative: the length of an MP3 without a Xing header is estimated from its bit rate
MP3_SLACK_SAMPLES = 2 * 1152
RATES_HZ = (100, 10_000_000)  # from elephants to hydrophones; beyond, the header is damaged
SPARSE = 100  # samples of all channels per byte of the file, from which a header's length is checked at its end
LOUDEST = 2.0**31  # full scale is 1; 32-bit integers that were stored as floats reach this
FFMPEG_SLACK_S = 0.2  # audioread gives durations to a tenth of a second
# with these ffmpeg goes on to read files that a text names; it looks for the latter two anywhere in the beginning
PLAYLIST_STARTS = (b"#extm3u", b"ffconcat", b"<", b"[playlist]", b"v=0")
PLAYLIST_MARKS = (b"<mpd", b"c=in ip")
HEAD_BYTES, TEXT_BYTES = 4096, 512  # text: none of so many bytes is one that no text has
_DECLARED_SIZE = re.compile(r"^\s*(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)


@dataclass(frozen=True)
class AudioInfo:
    """What a recording's header says. An MP3 without a Xing header, and audioread, give an estimated length."""

    sample_rate: int
    channels: int
    n_samples: int  # per channel

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


class _UnknownLengthError(Exception):
    """A stream (FLAC from a pipe) that soundfile can't read, as it seeks after each block."""


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile's, without the notes on damaged MP3s that libmpg123 prints past libsndfile."""

    def __init__(self, path: Path):
        with quiet_stderr():
            super().__init__(_file_name(path))
        self.is_mp3 = str(self.subtype).startswith("MPEG")

    def seek(self, frames: int, whence: int = 0) -> int:
        with quiet_stderr() if self.is_mp3 else contextlib.nullcontext():
            return int(super().seek(frames, whence))

    def read(self, frames: int = -1, **arguments: Any) -> Waveform:
        with quiet_stderr() if self.is_mp3 else contextlib.nullcontext():
            samples: Waveform = super().read(frames, **arguments)
            return samples


@dataclass(frozen=True)
class _Span:
    """The samples to decode for a crop, and where the crop lies in them once they are resampled."""

    first: int
    stop: int | None  # None: to the end
    skip_out: int
    n_out: int | None


def probe(path: Path) -> AudioInfo:
    """Read the header of `path`. Raises `AudioError` where there is none, or where it promises more than there is."""
    _check_file(path)
    try:
        with _SoundFile(path) as file:
            return _soundfile_info(path, file)
    except (soundfile.LibsndfileError, _UnknownLengthError) as error:
        with _audioread_errors(path, error), _open_audioread(path) as opened:
            return _audioread_info(path, opened)


def read_crop(path: Path, start_s: float, duration_s: float | None, sample_rate: int) -> Waveform:
    """Read `duration_s` seconds (None: all) from `start_s` on, as (samples,) float32 mono at `sample_rate`.

    Gives round(duration_s * sample_rate) samples, or what there is where the recording ends earlier, and equals that
    slice of the whole recording resampled. Raises `AudioError` (file and reason) for a file that is missing, empty, not
    audio or cut short, for NaN, infinity or absurd values in the crop, and for a crop that starts after the end.
    """
    if start_s < 0 or (duration_s is not None and round(duration_s * sample_rate) < 1):
        raise ValueError(f"not a crop: start_s {start_s}, duration_s {duration_s}")

    def span_of(info: AudioInfo) -> _Span:
        if start_s >= info.duration_s:
            raise _error(path, f"nothing to read from {start_s:g} s on: it ends at {info.duration_s:g} s")
        return _span(info.sample_rate, start_s, duration_s, sample_rate)

    _check_file(path)
    try:
        with _SoundFile(path) as file:
            info = _soundfile_info(path, file)
            span = span_of(info)
            decoded = _read_soundfile(path, file, info, span)
    except (soundfile.LibsndfileError, _UnknownLengthError) as error:
        with _audioread_errors(path, error), _open_audioread(path) as opened:
            info = _audioread_info(path, opened)
            span = span_of(info)
            decoded = _joined(_audioread_blocks(path, opened, info, span, error))
    _check_values(path, decoded)
    if info.sample_rate != sample_rate:
        decoded = soxr.resample(decoded, info.sample_rate, sample_rate, quality="VHQ")
    stop = None if span.n_out is None else span.skip_out + span.n_out
    crop = np.ascontiguousarray(decoded[span.skip_out : stop], dtype=np.float32)
    if not len(crop):
        raise _error(path, f"too short: nothing is left of it at {sample_rate} Hz from {start_s:g} s on")
    return crop


@contextlib.contextmanager
def open_stream(path: Path) -> Iterator[tuple[AudioInfo, Iterator[Waveform]]]:
    """The header of `path`, and its samples from start to end in mono blocks (samples,) at its own rate.

    Memory stays bounded however long the recording is. Raises `AudioError` as `read_crop` does, some of them only when
    the block in question is decoded.
    """
    _check_file(path)
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_SoundFile(path))
            info = _soundfile_info(path, file)
            blocks = _soundfile_blocks(path, file, info, 0, info.n_samples)
        except (soundfile.LibsndfileError, _UnknownLengthError) as error:
            with _audioread_errors(path, error):
                opened = stack.enter_context(_open_audioread(path))
                info = _audioread_info(path, opened)
            blocks = _audioread_blocks(path, opened, info, _Span(0, None, 0, None), error)
        yield info, _checked(path, blocks)


def _checked(path: Path, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    for block in blocks:
        _check_values(path, block)
        yield block


def resampled(blocks: Iterable[Waveform], rate_in: int, rate_out: int) -> Iterator[Waveform]:
    """Mono blocks (samples,) at the new rate: the very samples of soxr.resample (VHQ) on the whole, block by block."""
    if rate_in == rate_out:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="VHQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def place(waveform: Waveform, n_samples: int, offset: int) -> Waveform:
    """(samples,) -> (n_samples,): `waveform` from sample `offset` on, zeros around it. It must fit."""
    if not 0 <= offset <= n_samples - len(waveform):
        raise ValueError(f"{len(waveform)} samples at {offset} don't fit into {n_samples}")
    placed = np.zeros(n_samples, dtype=np.float32)
    placed[offset : offset + len(waveform)] = waveform
    return placed


def _span(rate_in: int, start_s: float, duration_s: float | None, rate_out: int) -> _Span:
    """Where to decode. It starts where an input and an output sample coincide: a multiple of rate_in/gcd."""
    common = math.gcd(rate_in, rate_out)
    step_in, step_out = rate_in // common, rate_out // common
    margin = 0 if rate_in == rate_out else MARGIN_SAMPLES * math.ceil(max(1, rate_in / rate_out))
    first_out = round(start_s * rate_out)
    steps = max(0, first_out * rate_in // rate_out - margin) // step_in
    skip_out = first_out - steps * step_out
    if duration_s is None:
        return _Span(steps * step_in, None, skip_out, None)
    n_out = round(duration_s * rate_out)
    stop = -(-(first_out + n_out) * rate_in // rate_out) + margin
    return _Span(steps * step_in, stop, skip_out, n_out)


def _check_values(path: Path, samples: Waveform) -> None:
    peak = float(np.abs(samples).max(initial=0))
    if not math.isfinite(peak):
        raise _error(path, "has samples that are NaN or infinite")
    if peak > LOUDEST:  # its square would overflow in a spectrogram
        raise _error(path, f"has samples of {peak:.1e}, where full scale is 1")


def _error(path: Path, reason: str) -> AudioError:
    return AudioError(f"{printable(path)}: {reason}")


def _check_file(path: Path) -> None:
    # Also keeps pipes and devices away from the decoders, which would wait for ever.
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise _error(path, (error.strerror or str(error)).lower()) from error
    if not path.is_file():
        raise _error(path, "is not a file")
    if size_bytes == 0:
        raise EmptyAudioError(f"{printable(path)}: is empty (0 bytes)")
    if not os.access(path, os.R_OK):  # the decoders would say that they don't know the format
        raise _error(path, "permission denied")


def _file_name(path: Path) -> str | bytes:
    # Bytes, as soundfile's own encoding of the name fails on names that are not UTF-8. Windows has wide characters.
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def _soundfile_info(path: Path, file: soundfile.SoundFile) -> AudioInfo:
    # libsndfile shortens a truncated WAV or AIFF silently, and says so in its log alone.
    for declared, present in _DECLARED_SIZE.findall(file.extra_info):
        if int(present) + SLACK_BYTES < int(declared) < UNKNOWN_BYTES:
            raise _error(path, f"cut short: its header promises {declared} bytes of audio, {present} are there")
    n_samples = int(file.frames)
    if n_samples >= UNKNOWN_FRAMES:
        raise _UnknownLengthError("its header gives no length")
    if n_samples <= 0:
        raise EmptyAudioError(f"{printable(path)}: has no samples")
    info = AudioInfo(_checked_rate(path, int(file.samplerate)), int(file.channels), n_samples)
    if _is_sparse(path, info):
        _check_end(path, file, n_samples)
    return info


def _checked_rate(path: Path, rate: int) -> int:
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise _error(path, f"its header gives a sample rate of {rate} Hz, which no recording has")
    return rate


def _is_sparse(path: Path, info: AudioInfo) -> bool:
    """True for silence, and for headers that promise years, which would cost as many windows."""
    return info.n_samples * info.channels > SPARSE * path.stat().st_size


def _check_end(path: Path, file: soundfile.SoundFile, n_samples: int) -> None:
    try:
        file.seek(n_samples - 1)
        there = len(file.read(1, dtype="float32"))
        file.seek(0)
    except soundfile.LibsndfileError:
        there = 0
    if not there:
        raise _error(path, f"cut short or damaged: its header promises {n_samples} samples, the last is not there")


def _soundfile_blocks(
    path: Path, file: soundfile.SoundFile, info: AudioInfo, begin: int, stop: int
) -> Iterator[Waveform]:
    """Samples `begin` (where `file` stands) to `stop`, in mono blocks (samples,); an error if there are fewer."""
    position, block_frames = begin, max(1, BLOCK_VALUES // info.channels)
    while position < stop:
        try:
            block = file.read(min(stop - position, block_frames), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _error(path, f"cut short or damaged: {error.error_string}") from error
        if not len(block):
            break
        position += len(block)
        with np.errstate(invalid="ignore", over="ignore"):  # not finite: the caller looks
            mono = block[:, 0] if info.channels == 1 else block.mean(axis=1)
        yield mono  # outside: a stream that is left here may be closed by a thread that can't restore numpy's state
    slack = max(MP3_SLACK_SAMPLES, MP3_SLACK * info.n_samples) if _is_mp3(file) else 0
    if stop - position > slack:
        raise _error(path, f"cut short: its header promises {info.n_samples} samples, decoding ends at {position}")


def _is_mp3(file: soundfile.SoundFile) -> bool:
    return str(file.subtype).startswith("MPEG")


def _read_soundfile(path: Path, file: soundfile.SoundFile, info: AudioInfo, span: _Span) -> Waveform:
    """The span's samples (samples,) at the recording's own rate."""
    stop = info.n_samples if span.stop is None else min(span.stop, info.n_samples)
    # An MP3 frame needs bits of the frames before it: libmpg123 complains on the console after a seek into the middle
    from_start = not file.seekable() or (_is_mp3(file) and stop <= MP3_SEEK_FROM)
    begin = 0 if from_start else span.first
    try:
        if not from_start:
            file.seek(begin)
    except soundfile.LibsndfileError as error:
        raise _error(path, f"cut short or damaged: {error.error_string}") from error
    return _joined(_soundfile_blocks(path, file, info, begin, stop))[span.first - begin :]


def _joined(blocks: Iterable[Waveform]) -> Waveform:
    listed = list(blocks)
    return np.concatenate(listed) if listed else np.zeros(0, np.float32)


@contextlib.contextmanager
def _audioread_errors(path: Path, cause: Exception) -> Iterator[None]:
    """Says why audioread could not read what libsndfile could not open either (`cause`)."""
    try:
        yield
    except audioread.NoBackendError as error:
        tried = "neither libsndfile nor ffmpeg reads it" if _backends() else "libsndfile can't read it; install ffmpeg"
        why = cause.error_string if isinstance(cause, soundfile.LibsndfileError) else cause
        raise _error(path, f"not audio, or a format that is not known: {tried} ({why})") from error
    except (audioread.DecodeError, OSError, EOFError) as error:
        raise _error(path, f"could not be decoded: {error or type(error).__name__}") from error


def _backends() -> list[type[audioread.AudioFile]]:
    # Not audioread's own WAV reader: libsndfile has said no already.
    return [backend for backend in audioread.available_backends() if backend.__name__ != "RawAudioFile"]


def _open_audioread(path: Path) -> audioread.AudioFile:
    _check_no_text(path)
    # An absolute path, as ffmpeg takes names like "concat:a" for something else. It reads nothing from the console, and
    # audioread gives up when it is silent for 10 s.
    return audioread.audio_open(str(path.absolute()), backends=_backends())


def _check_no_text(path: Path) -> None:
    """AudioError for a playlist, whatever its name: ffmpeg would read what it names, from anywhere. No audio is text"""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    lowered = head.lower().removeprefix(b"\xef\xbb\xbf").lstrip()
    is_text = min(head[:TEXT_BYTES], default=0) > 8
    if is_text or lowered.startswith(PLAYLIST_STARTS) or any(mark in lowered for mark in PLAYLIST_MARKS):
        raise _error(path, "not audio, but text or a playlist of other files")


def _audioread_info(path: Path, file: audioread.AudioFile) -> AudioInfo:
    rate, channels = int(file.samplerate), int(file.channels)
    if rate <= 0 or channels <= 0:
        raise _error(path, "has no audio that ffmpeg can read")
    info = AudioInfo(_checked_rate(path, rate), channels, round(file.duration * rate))
    n_samples = info.n_samples
    if n_samples == 0 or _is_sparse(path, info):  # the header doesn't say, or may not be true
        with _open_audioread(path) as counted:
            n_samples = sum(len(block) for block in counted) // (2 * channels)
    if n_samples == 0:
        raise EmptyAudioError(f"{printable(path)}: has no samples")
    return AudioInfo(rate, channels, n_samples)


def _audioread_blocks(
    path: Path, file: audioread.AudioFile, info: AudioInfo, span: _Span, cause: Exception
) -> Iterator[Waveform]:
    """The span's samples in mono blocks (samples,). The header's length does not limit them."""
    frame_bytes = 2 * info.channels  # 16 bits, little-endian
    first = span.first * frame_bytes
    stop = None if span.stop is None else span.stop * frame_bytes
    left, position, reached_stop = b"", 0, False
    with _audioread_errors(path, cause):
        for block in file:
            wanted = left + block[max(first - position, 0) : None if stop is None else max(stop - position, 0)]
            position += len(block)
            whole_bytes = len(wanted) // frame_bytes * frame_bytes
            left = wanted[whole_bytes:]
            pcm = np.frombuffer(wanted[:whole_bytes], dtype="<i2").reshape(-1, info.channels)
            yield pcm.mean(axis=1, dtype=np.float32) / np.float32(32768)
            if reached_stop := stop is not None and position >= stop:
                break
    decoded_s = position / frame_bytes / info.sample_rate
    # A bare AAC stream has no header: its length is guessed from its bit rate.
    if not reached_stop and path.suffix.lower() != ".aac" and decoded_s < info.duration_s - FFMPEG_SLACK_S:
        raise _error(path, f"cut short: its header promises {info.duration_s:g} s, decoding ends at {decoded_s:g} s")
