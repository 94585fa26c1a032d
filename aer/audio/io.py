"""Decode, resample, read a crop. Every waveform is (samples,) float32, mono: the mean of the channels, or one of them.

Which library reads what stands in readers.py. Nothing here imports torch.

Resampling is soxr's VHQ: it costs 20% more than HQ, and as its filter is finite a crop with a margin around it equals
the same slice of the whole recording resampled (HQ: up to 1e-6 apart).
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr

from aer.audio.channels import channel_levels, pick_channel, resolve
from aer.audio.info import AudioInfo, Samples, Waveform, audio_error, describe
from aer.audio.readers import Reader, open_reader
from aer.errors import AudioError, EmptyAudioError
from aer.utils.channels import Channels

# on both sides of a crop, at the slower of the two rates; VHQ's filter reaches 160 to 220
MARGIN_SAMPLES = 256
# recordings whose loudest channel is remembered: every crop needs it
LOUDEST_KEPT = 1 << 17
# full scale is 1; 32-bit integers that were stored as floats reach this
LOUDEST = 2.0**31


@dataclass(frozen=True)
class _Span:
    """The samples to decode for a crop, and where the crop lies in them once they are resampled."""

    first: int
    # None: to the end
    stop: int | None
    skip_out: int
    n_out: int | None


def probe(path: Path, *, allow_cut_short: bool = False) -> AudioInfo:
    """Return rate, channels and the length that is there; a header is believed only where it agrees with the file.

    Raise AudioError for what is no recording, and for one whose header promises more than there is
    (`allow_cut_short`: the length that is there is given). What else is known to be missing stands in `damages`.
    """
    info = _open(path).info
    cut = [damage for damage in info.damages if damage.is_promised]
    if cut and not allow_cut_short:
        raise audio_error(path, cut[0].reason)
    return info


def read_crop(
    path: Path,
    start_s: float,
    duration_s: float | None,
    sample_rate: int,
    *,
    allow_cut_short: bool = False,
    channels: Channels = "mix",
) -> Waveform:
    """Read `duration_s` seconds (None: all) from `start_s` on, as (samples,) float32 mono at `sample_rate`.

    Return round(duration_s * sample_rate) samples, or what there is where the recording ends earlier: that slice of the
    whole recording resampled. Raise AudioError (file and reason) for a file that is missing, empty or not audio, for
    NaN, infinity or absurd values in the crop, for a crop that starts after the end, and for one that reaches into
    damage or beyond where the recording is cut short (`allow_cut_short`: what is lost is zeros, and the crop ends where
    the recording does). `channels`: as in channels.py.
    """
    if start_s < 0 or (duration_s is not None and round(duration_s * sample_rate) < 1):
        raise ValueError(f"not a crop: start_s {start_s}, duration_s {duration_s}")
    reader = _open(path)
    info = reader.info
    if start_s >= info.duration_s:
        raise audio_error(path, f"nothing to read from {start_s:g} s on: it ends at {info.duration_s:g} s")
    span = _span(info.sample_rate, start_s, duration_s, sample_rate)
    channel = _channel(path, reader, channels)
    damages = list(info.damages)
    first, stop = span.first, info.n_samples if span.stop is None else min(span.stop, info.n_samples)
    decoded = _joined(pick_channel(block, channel) for block in reader.blocks(first, stop, damages))
    # without the margins
    asked = None if duration_s is None else math.floor((start_s + duration_s) * info.sample_rate)
    touched = [damage for damage in damages if damage.touches(math.floor(start_s * info.sample_rate), asked)]
    if touched and not allow_cut_short:
        raise audio_error(path, describe(touched, info.sample_rate))
    _check_values(path, decoded)
    if info.sample_rate != sample_rate:
        decoded = soxr.resample(decoded, info.sample_rate, sample_rate, quality="VHQ")
    end = None if span.n_out is None else span.skip_out + span.n_out
    crop = np.ascontiguousarray(decoded[span.skip_out : end], dtype=np.float32)
    if not len(crop):
        raise audio_error(path, f"too short: nothing is left of it at {sample_rate} Hz from {start_s:g} s on")
    return crop


@contextlib.contextmanager
def open_stream(
    path: Path, *, channels: Channels = "mix", observe: Callable[[Samples], object] | None = None
) -> Iterator[tuple[AudioInfo, Iterator[Waveform]]]:
    """Open a recording: what is known of it, and its samples from start to end in mono blocks (samples,).

    They are at its own rate, and memory stays bounded however long it is. Raise AudioError as `read_crop` does; for
    what is damaged or cut short only once all blocks were given that can be heard: what is lost between them is zeros,
    so that times are kept true. The error names the places in seconds. `observe` is called with each block of all
    channels (samples, channels), before they become one.
    """
    reader = _open(path)
    channel = _channel(path, reader, channels)
    blocks = _all_blocks(path, reader, channel, observe)
    try:
        yield reader.info, blocks
    finally:
        blocks.close()


class Heard:
    """Lets blocks (samples,) pass up to where they can't be read any further: what came before is heard.

    `error` is the AudioError that says what is missing, None where nothing is; `n_samples` passed.
    """

    def __init__(self) -> None:
        self.error: AudioError | None = None
        self.n_samples = 0

    def over(self, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
        """Yield the blocks up to an AudioError, which is kept."""
        try:
            for block in blocks:
                self.n_samples += len(block)
                yield block
        except AudioError as error:
            self.error = error


def _all_blocks(
    path: Path, reader: Reader, channel: int | None, observe: Callable[[Samples], object] | None
) -> Generator[Waveform, None, None]:
    info, damages = reader.info, list(reader.info.damages)
    for block in reader.blocks(0, info.n_samples, damages):
        if observe is not None:
            observe(block)
        yield from _checked(path, pick_channel(block, channel))
    if damages:
        # how much a damaged frame at the end held is but a guess
        within = [replace(d, stop=d.stop and min(d.stop, info.n_samples)) for d in damages]
        raise audio_error(path, describe(within, info.sample_rate))


def _open(path: Path) -> Reader:
    _check_file(path)
    try:
        return open_reader(path)
    except OSError as error:
        raise audio_error(path, (error.strerror or str(error)).lower()) from error


def _channel(path: Path, reader: Reader, channels: Channels) -> int | None:
    """Return the index of the channel that is meant, None for the mean of all."""
    if channels == "loudest" and reader.info.channels > 1:
        status = path.stat()
        return _loudest(path, status.st_size, status.st_mtime_ns)
    return check_channel(path, reader.info, channels)


def check_channel(path: Path, info: AudioInfo, channels: Channels) -> int | None:
    """Return the index of the channel that is meant, None for mean and loudest. Raise AudioError if it is not there."""
    try:
        return resolve(channels, info.channels)
    except IndexError as error:
        raise audio_error(path, str(error)) from error


@functools.lru_cache(maxsize=LOUDEST_KEPT)
def _loudest(path: Path, size_bytes: int, mtime_ns: int) -> int:
    """Return the index of the channel with the most energy in a recording, as it is now: all of it is read for that."""
    reader = _open(path)
    return channel_levels(reader.blocks(0, reader.info.n_samples, [])).loudest


def _checked(path: Path, block: Waveform) -> Iterator[Waveform]:
    # NaN is not
    good = np.abs(block) <= LOUDEST
    if not good.all():
        # what comes before the first bad sample is sound
        yield block[: int(good.argmin())]
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
        raise audio_error(path, "has samples that are NaN or infinite")
    if peak > LOUDEST:  # its square would overflow in a spectrogram
        raise audio_error(path, f"has samples of {peak:.1e}, where full scale is 1")


def _check_file(path: Path) -> None:
    # Also keeps pipes and devices away from the decoders, which would wait for ever.
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise audio_error(path, (error.strerror or str(error)).lower()) from error
    if not path.is_file():
        raise audio_error(path, "is not a file")
    if size_bytes == 0:
        raise audio_error(path, "is empty (0 bytes)", EmptyAudioError)
    if not os.access(path, os.R_OK):  # the decoders would say that they don't know the format
        raise audio_error(path, "permission denied")


def _joined(blocks: Iterable[Waveform]) -> Waveform:
    listed = list(blocks)
    return np.concatenate(listed) if listed else np.zeros(0, np.float32)
