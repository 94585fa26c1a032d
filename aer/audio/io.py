"""Decodes, resamples, reads crops. Every waveform is (samples,) float32, mono: the mean of the channels.

libsndfile (WAV, FLAC, OGG, Opus, MP3, AIFF and more) seeks to what is asked for. What it can't open (M4A, WMA) goes
through audioread, which decodes from the start and stops at the crop's end. Nothing here imports torch.

Resampling is soxr's VHQ: it costs 20% more than HQ, and as its filter is finite a crop with a margin around it equals
the same slice of the whole recording resampled (HQ: up to 1e-6 apart).
"""

import contextlib
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from aer.audio import ffmpeg, sndfile
from aer.audio.info import AudioInfo, Waveform, audio_error
from aer.errors import EmptyAudioError

# decoded on both sides of a crop, at the slower of the two rates; VHQ's filter reaches 160 to 220
MARGIN_SAMPLES = 256
# full scale is 1; 32-bit integers that were stored as floats reach this
LOUDEST = 2.0**31
NOT_FOR_LIBSNDFILE = (soundfile.LibsndfileError, sndfile.UnknownLengthError)


@dataclass(frozen=True)
class _Span:
    """The samples to decode for a crop, and where the crop lies in them once they are resampled."""

    first: int
    # None: to the end
    stop: int | None
    skip_out: int
    n_out: int | None


def probe(path: Path, *, allow_cut_short: bool = False) -> AudioInfo:
    """Return what the header of `path` says. Raise AudioError where there is none, or where it promises too much.

    `allow_cut_short`: of a WAV or AIFF that was cut short, return the length that is there.
    """
    _check_file(path)
    try:
        with sndfile.SoundFile(path) as file:
            return sndfile.read_info(path, file, allow_cut_short)
    except NOT_FOR_LIBSNDFILE as error:
        with ffmpeg.naming_errors(path, error), ffmpeg.open_audio(path) as opened:
            return ffmpeg.read_info(path, opened)


def read_crop(
    path: Path, start_s: float, duration_s: float | None, sample_rate: int, *, allow_cut_short: bool = False
) -> Waveform:
    """Read `duration_s` seconds (None: all) from `start_s` on, as (samples,) float32 mono at `sample_rate`.

    Return round(duration_s * sample_rate) samples, or fewer where the recording ends earlier; they equal that slice of
    the whole recording resampled. `allow_cut_short`: of a WAV or AIFF that was cut short, read what is there. Raise
    AudioError for a file that is missing, empty, not audio or cut short, for NaN, infinity or absurd values in the
    crop, and for a crop that starts after the end; ValueError for a negative start or less than a sample.
    """
    if start_s < 0 or (duration_s is not None and round(duration_s * sample_rate) < 1):
        raise ValueError(f"not a crop: start_s {start_s}, duration_s {duration_s}")

    def span_of(info: AudioInfo) -> _Span:
        if start_s >= info.duration_s:
            raise audio_error(path, f"nothing to read from {start_s:g} s on: it ends at {info.duration_s:g} s")
        return _span(info.sample_rate, start_s, duration_s, sample_rate)

    _check_file(path)
    try:
        with sndfile.SoundFile(path) as file:
            info = sndfile.read_info(path, file, allow_cut_short)
            span = span_of(info)
            decoded = _joined(sndfile.span_blocks(path, file, info, span.first, span.stop))
    except NOT_FOR_LIBSNDFILE as error:
        with ffmpeg.naming_errors(path, error), ffmpeg.open_audio(path) as opened:
            info = ffmpeg.read_info(path, opened)
            span = span_of(info)
            decoded = _joined(ffmpeg.span_blocks(path, opened, info, span.first, span.stop, error))
    _check_values(path, decoded)
    if info.sample_rate != sample_rate:
        decoded = soxr.resample(decoded, info.sample_rate, sample_rate, quality="VHQ")
    stop = None if span.n_out is None else span.skip_out + span.n_out
    crop = np.ascontiguousarray(decoded[span.skip_out : stop], dtype=np.float32)
    if not len(crop):
        raise audio_error(path, f"too short: nothing is left of it at {sample_rate} Hz from {start_s:g} s on")
    return crop


@contextlib.contextmanager
def open_stream(path: Path) -> Iterator[tuple[AudioInfo, Iterator[Waveform]]]:
    """Yield the header of `path`, and its samples from start to end in mono blocks (samples,) at its own rate.

    Memory stays bounded however long the recording is. Raise AudioError as `read_crop` does; for what is damaged or cut
    short only after the blocks before that.
    """
    _check_file(path)
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(sndfile.SoundFile(path))
            info = sndfile.read_info(path, file, allow_cut_short=True)
            blocks = sndfile.all_blocks(path, file, info)
        except NOT_FOR_LIBSNDFILE as error:
            with ffmpeg.naming_errors(path, error):
                opened = stack.enter_context(ffmpeg.open_audio(path))
                info = ffmpeg.read_info(path, opened)
            blocks = ffmpeg.span_blocks(path, opened, info, 0, None, error)
        yield info, _checked(path, blocks)


def _checked(path: Path, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    for block in blocks:
        # false for NaN
        good = np.abs(block) <= LOUDEST
        if not good.all():
            # the samples before the first bad one
            yield block[: int(good.argmin())]
            _check_values(path, block)
        yield block


def resampled(blocks: Iterable[Waveform], rate_in: int, rate_out: int) -> Iterator[Waveform]:
    """Yield mono blocks (samples,) at `rate_out` Hz: the very samples of soxr.resample (VHQ) on the whole recording."""
    if rate_in == rate_out:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="VHQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def place(waveform: Waveform, n_samples: int, offset: int) -> Waveform:
    """Return (n_samples,): `waveform` (samples,) from sample `offset` on, zeros around it.

    Raise ValueError if it does not fit.
    """
    if not 0 <= offset <= n_samples - len(waveform):
        raise ValueError(f"{len(waveform)} samples at {offset} don't fit into {n_samples}")
    placed = np.zeros(n_samples, dtype=np.float32)
    placed[offset : offset + len(waveform)] = waveform
    return placed


def _span(rate_in: int, start_s: float, duration_s: float | None, rate_out: int) -> _Span:
    """Return what to decode. It starts where an input and an output sample coincide: a multiple of rate_in/gcd."""
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
        raise audio_error(path, "has samples that are NaN or infinite")
    # its square would overflow in a spectrogram
    if peak > LOUDEST:
        raise audio_error(path, f"has samples of {peak:.1e}, where full scale is 1")


def _check_file(path: Path) -> None:
    # this also keeps pipes and devices away from the decoders, which would wait for ever
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise audio_error(path, (error.strerror or str(error)).lower()) from error
    if not path.is_file():
        raise audio_error(path, "is not a file")
    if size_bytes == 0:
        raise audio_error(path, "is empty (0 bytes)", EmptyAudioError)
    # the decoders would say that they don't know the format
    if not os.access(path, os.R_OK):
        raise audio_error(path, "permission denied")


def _joined(blocks: Iterable[Waveform]) -> Waveform:
    listed = list(blocks)
    return np.concatenate(listed) if listed else np.zeros(0, np.float32)
