"""Windows over a recording that is streamed: the very ones over which training validates, and overlapping ones."""

from collections.abc import Iterable, Iterator

import numpy as np

from aer.audio.info import Waveform
from aer.audio.io import place


def windows(blocks: Iterable[Waveform], window_samples: int, hop_samples: int) -> Iterator[tuple[int, Waveform]]:
    """(first sample, (window_samples,) float32) every `hop_samples`, from mono blocks (samples,) of any lengths.

    The last window is aligned to the end where it would reach beyond. A recording shorter than a window is centred in
    zeros, and its window begins before 0. Nothing for a stream without samples. Holds a window and a block at a time.
    """
    if not 0 < hop_samples <= window_samples:
        raise ValueError(f"hop_samples {hop_samples} is not from 1 to window_samples {window_samples}")
    held = np.zeros(0, dtype=np.float32)
    first = following = 0  # the sample that `held` begins with; the start of the window that comes next
    for block in blocks:
        held = np.concatenate([held, block.astype(np.float32, copy=False)])
        while following + window_samples <= first + len(held):
            yield following, held[following - first :][:window_samples].copy()
            following += hop_samples
        # the last window given may be needed once more, for the one at the end
        spare = max(following - hop_samples - first, 0)
        held, first = held[spare:], first + spare
    n_samples = first + len(held)
    last = n_samples - window_samples
    if 0 < n_samples < window_samples:
        offset = -last // 2
        yield -offset, place(held, window_samples, offset)
    elif n_samples and last != following - hop_samples:
        yield last, held[-window_samples:].copy()
