"""Where a recording is active, by its energy: what to trim, and where to cut clips. Frames are 10 ms long.

The energy is that of the first difference x[n] - x[n-1], which hides a constant offset and weakens wind and rumble.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from aer.audio.info import Waveform

Energies = npt.NDArray[np.float64]

FRAME_S = 0.010
# 50 ms, so that a click of one sample is not an event
SMOOTH_FRAMES = 5
# percentile of the smoothed energies that stands for the background between the events
FLOOR_PERCENTILE = 10
# 6 dB above the background; steady noise stays well below it
ABOVE_FLOOR = 10**0.6
# share of the largest energy (-60 dB), for recordings whose background is digital silence
ABOVE_SILENCE = 1e-6


def frame_energies(blocks: Iterable[Waveform], sample_rate: int) -> Energies:
    """Return the mean square of the first difference in each frame (frames,); the last frame may be shorter.

    `blocks` are the recording: mono (samples,), of any lengths.
    """
    n_frame = frame_samples(sample_rate)
    energies: list[Energies] = []
    left = np.zeros(0, np.float64)
    before: float | None = None
    for block in blocks:
        if not len(block):
            continue
        difference = np.diff(block.astype(np.float64), prepend=block[0] if before is None else before)
        before = float(block[-1])
        squares = np.concatenate([left, difference**2])
        n_whole = len(squares) // n_frame * n_frame
        energies.append(squares[:n_whole].reshape(-1, n_frame).mean(axis=1))
        left = squares[n_whole:]
    if len(left):
        energies.append(left.mean(keepdims=True))
    return np.concatenate(energies) if energies else np.zeros(0)


def frame_samples(sample_rate: int) -> int:
    """Return the number of samples per frame, at least one."""
    return max(1, round(FRAME_S * sample_rate))


def sounding_span(energies: Energies, below_peak_db: float) -> tuple[int, int]:
    """Return the first frame, and the last + 1, at most `below_peak_db` below the loudest; (0, 0) for silence."""
    peak = energies.max(initial=0.0)
    if peak == 0:
        return 0, 0
    loud = np.flatnonzero(energies >= peak * 10 ** (-below_peak_db / 10))
    return int(loud[0]), int(loud[-1]) + 1


def energetic_spans(energies: Energies, frame: float, n_samples: int, n_clip: int) -> list[tuple[int, int]]:
    """Return spans (first sample, last + 1), in order and disjoint, that together hold every energetic frame.

    `frame` is the length of a frame in samples. Spans are `n_clip` samples long, shorter only at the end of the
    recording's `n_samples`, and not by more than half. Each is centred on the energetic frames in it, as far as the one
    before it and the recording's ends allow. A recording in which nothing stands out gives the span around its
    strongest frame, a silent one none.
    """
    peak = energies.max(initial=0.0)
    if peak == 0:
        return []
    if n_samples <= n_clip:
        return [(0, n_samples)]
    kernel = np.ones(min(SMOOTH_FRAMES, len(energies)))
    smooth = np.convolve(energies, kernel / len(kernel), mode="same")
    floor = np.percentile(smooth, FLOOR_PERCENTILE)
    active = np.flatnonzero(smooth > max(floor * ABOVE_FLOOR, smooth.max() * ABOVE_SILENCE))
    if not len(active):
        active = np.array([smooth.argmax()])
    begins = np.floor(active * frame).astype(np.int64)
    ends = np.minimum(np.ceil((active + 1) * frame).astype(np.int64), n_samples)
    spans: list[tuple[int, int]] = []
    # the end of the last span, and the index in `active` of the first frame beyond it
    end, index = 0, 0
    while index < len(active):
        first = max(int(begins[index]), end)
        last = int(ends[max(index, int(np.searchsorted(ends, first + n_clip, side="right")) - 1)])
        start = max(end, min(max(0, (first + last - n_clip) // 2), n_samples - n_clip))
        end = min(start + n_clip, n_samples)
        spans.append((start, end))
        index = int(np.searchsorted(ends, end, side="right"))
    # a stub right behind a whole span: that one gives up some of its own
    if len(spans) > 1 and 2 * (end - start) < n_clip:
        cut = n_samples - (n_clip + 1) // 2
        spans[-2:] = [(spans[-2][0], cut), (cut, n_samples)]
    return spans
