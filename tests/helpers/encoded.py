"""Recordings of any format, encoded in the test by PyAV, and an independent full decode of them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.stream import Disposition

Sound = npt.NDArray[np.float32]
LAYOUTS = {1: "mono", 2: "stereo", 4: "quad"}
BLOCK = 4096


def sound(duration_s: float, rate: int, channels: int = 1, seed: int = 0) -> Sound:
    """Loud noise in the first half, a soft tone in the second (samples, channels)."""
    n_samples = round(duration_s * rate)
    half = n_samples // 2
    noise = 0.25 * np.random.default_rng(seed).standard_normal((half, channels)).clip(-3, 3)
    tone = 0.01 * np.sin(np.arange(n_samples - half) * (2 * np.pi * 1000 / rate))
    return np.concatenate([noise, np.repeat(tone[:, None], channels, axis=1)]).astype(np.float32)


def encode(
    path: Path,
    tracks: Sequence[tuple[Sound, int]],
    codec: str,
    *,
    muxer: str | None = None,
    bit_rate: int | None = None,
    muxer_options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    default: int = 0,
) -> Path:
    """Write tracks of (samples, channels) at a rate into one file; number `default` is its default track."""
    with av.open(str(path), "w", format=muxer, options=muxer_options or {}) as container:
        container.metadata.update(metadata or {})
        streams: list[Any] = []
        for samples, rate in tracks:
            stream: Any = container.add_stream(codec, rate=rate, options=codec_options or {})
            stream.layout = LAYOUTS[samples.shape[1]]
            if bit_rate:
                stream.bit_rate = bit_rate
            stream.disposition = Disposition.default if len(streams) == default else Disposition(0)
            streams.append(stream)
        for (samples, rate), stream in zip(tracks, streams, strict=True):
            resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=rate)
            for first in range(0, len(samples), BLOCK):
                block = np.ascontiguousarray(samples[first : first + BLOCK].T)
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=LAYOUTS[samples.shape[1]])
                frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
                for converted in resampler.resample(frame):
                    container.mux(stream.encode(converted))
            container.mux(stream.encode(None))
    return path


def decode(path: Path, track: int = 0) -> Sound:
    """Return a full decode, as FFmpeg gives it (samples, channels)."""
    parts = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        layout = stream.layout.name
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=stream.rate)
        for frame in container.decode(stream):
            parts += [part.to_ndarray() for part in resampler.resample(frame)]
    return np.concatenate(parts, axis=1).T
