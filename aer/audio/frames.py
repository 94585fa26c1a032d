"""Decoding of a recording whose frames were found one by one: MP3, and FLAC and Ogg whose headers can't be believed.

A walk over the file (mpeg.py, flac.py, ogg.py) says where each frame lies and which samples it holds. Here they are
decoded by FFmpeg's decoders, each put where it belongs: what is missing between them is filled with zeros, and is told.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from aer.audio.info import Damage, Samples

# decoded frames are joined to about so many samples
BLOCK_SAMPLES = 1 << 16

# FFmpeg's name: numpy's, what stands for 0, the factor to full scale 1
SAMPLE_FORMATS: dict[str, tuple[str, int, float]] = {
    "u8": ("u1", 128, 2.0**-7),
    "s16": ("i2", 0, 2.0**-15),
    "s32": ("i4", 0, 2.0**-31),
    "s64": ("i8", 0, 2.0**-63),
    "flt": ("f4", 0, 1.0),
    "dbl": ("f8", 0, 1.0),
}

# decoders that know by a checksum whether a frame is whole, and the options that make them refuse one that is not
WITH_CHECKSUMS = frozenset(["ape", "flac", "tak", "tta", "wavpack"])
STRICT = {"err_detect": "crccheck+explode"}

Bytes = Callable[[int], Sequence[bytes]]
"""Returns the packets of a unit."""


@dataclass(frozen=True)
class Units:
    """Frames (or pages) in order: samples `start[i]` to `stop[i]` of the recording come from unit i.

    Starts may be negative (an encoder's delay), and lie apart where something is missing in between.
    """

    codec: str
    extradata: bytes
    sample_rate: int
    channels: int
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    # units to decode before the one that is wanted, so that the decoder's state is as in a decode from the start
    preroll: Callable[[int], int]


def as_float(frame: Any) -> Samples:
    """Return a decoded frame as (samples, channels), integers scaled as libsndfile scales: full scale is 1."""
    dtype, offset, scale = SAMPLE_FORMATS[frame.format.name.removesuffix("p")]
    n_samples, channels = frame.samples, frame.layout.nb_channels
    if frame.format.is_planar:
        # to_ndarray does the same in four times the time
        planes = [np.frombuffer(plane, dtype, n_samples) for plane in frame.planes]
        raw = planes[0][:, None] if channels == 1 else np.stack(planes, axis=1)
    else:
        raw = np.frombuffer(frame.planes[0], dtype, n_samples * channels).reshape(n_samples, channels)
    # a copy, as the frame's memory is used again
    samples = raw.astype(np.float32)
    if offset:
        samples -= np.float32(offset)
    if scale != 1:
        samples *= np.float32(scale)
    return samples


def with_channels(samples: Samples, channels: int) -> Samples:
    """Return samples with that many channels: all with the mean where there are others, as a layout may change."""
    if samples.shape[1] == channels:
        return samples
    return np.repeat(samples.mean(axis=1, keepdims=True), channels, axis=1)


def decoder(units: Units) -> Any:
    """Return a decoder in its first state."""
    context: Any = av.CodecContext.create(units.codec, "r")
    context.thread_count = 1  # a packet in, its frame out
    if units.codec in WITH_CHECKSUMS:
        context.options = STRICT
    context.sample_rate = units.sample_rate
    if units.extradata:
        context.extradata = units.extradata
    return context


def _decode(context: Any, packets: Sequence[bytes]) -> tuple[list[Any], str]:
    """Return the frames of a unit, and the error that the decoder had with it ("" for none)."""
    frames, trouble = [], ""
    for packet in packets:
        try:
            frames += context.decode(av.Packet(packet))
        except av.error.FFmpegError as error:
            trouble = (error.strerror or str(error)).lower()
    return frames, trouble


def decoded_blocks(units: Units, packets: Bytes, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
    """Yield samples `first` to `stop` in blocks (samples, channels), with zeros for what can't be decoded.

    What the decoder refuses is appended to `damages`.
    """
    held: list[Samples] = []
    position, n_held = first, 0
    for start, unit in _decoded_units(units, packets, first, stop, damages):
        if start > position:
            held.append(np.zeros((min(start, stop) - position, units.channels), np.float32))
            n_held += len(held[-1])
            position = min(start, stop)
        held.append(unit[position - start : stop - start])
        n_held += len(held[-1])
        position += len(held[-1])
        if n_held >= BLOCK_SAMPLES:
            yield np.concatenate(held)
            held, n_held = [], 0
    if held:
        yield np.concatenate(held)


def _decoded_units(
    units: Units, packets: Bytes, first: int, stop: int, damages: list[Damage]
) -> Iterator[tuple[int, Samples]]:
    """Yield (first sample, (samples, channels)) of each unit that reaches into samples `first` to `stop`."""
    wanted = int(np.searchsorted(units.stop, first, side="right"))
    end = int(np.searchsorted(units.start, stop))
    begin = max(0, wanted - units.preroll(wanted))
    context = decoder(units)
    spans = zip(range(begin, end), units.start[begin:end].tolist(), units.stop[begin:end].tolist(), strict=True)
    for index, unit_start, unit_stop in spans:
        frames, trouble = _decode(context, packets(index))
        if index < wanted:
            continue
        if any(frame.sample_rate != units.sample_rate for frame in frames):
            frames, trouble = [], "the sample rate changes"
        unit = _fitted(frames, units, unit_stop - unit_start, index + 1 == len(units.start))
        if trouble or unit is None:
            damages.append(Damage(max(unit_start, 0), unit_stop, trouble or "could not be decoded"))
        if unit is None:
            unit = np.zeros((unit_stop - unit_start, units.channels), np.float32)
        yield unit_start, unit


def _fitted(frames: list[Any], units: Units, length: int, is_last: bool) -> Samples | None:
    """Return the `length` samples of a unit, None where there are none.

    Where the decoder gave fewer, as it does at first and behind a gap, they lie at the unit's end.
    """
    if len(frames) == 1 and frames[0].samples == length:
        return with_channels(as_float(frames[0]), units.channels)
    parts = [with_channels(as_float(frame), units.channels) for frame in frames if frame.samples]
    if not parts:
        return None
    samples = np.concatenate(parts)
    if len(samples) > length:
        return samples[:length] if is_last else samples[-length:]
    if len(samples) < length:
        return np.concatenate([np.zeros((length - len(samples), units.channels), np.float32), samples])
    return samples
