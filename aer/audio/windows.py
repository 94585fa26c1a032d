"""Windows over a recording: where they lie, and their samples as the recording streams by.

Training validates over these very windows (one after the other); recognition may have them overlap.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from aer.audio.info import Waveform
from aer.audio.io import place


def window_starts(n_samples: int, window_samples: int, hop_samples: int) -> list[int]:
    """Return the first sample of each window over a recording of `n_samples`, in order.

    There is a window every `hop_samples`; the last one is aligned to the end where it would reach beyond it. A
    recording shorter than a window is centred in its only window, which so begins before sample 0. A recording without
    samples has no windows. Raise ValueError for a hop that would leave gaps between windows, or none at all.
    """
    _check_hop(window_samples, hop_samples)
    last = n_samples - window_samples
    if n_samples == 0:
        return []
    if last < 0:
        return [-(-last // 2)]
    starts = list(range(0, last + 1, hop_samples))
    return starts if starts[-1] == last else [*starts, last]


def windows(blocks: Iterable[Waveform], window_samples: int, hop_samples: int) -> Iterator[tuple[int, Waveform]]:
    """Yield (first sample, (window_samples,) float32) of each window that `window_starts` gives, in the same order.

    `blocks` are the recording: mono (samples,), of any lengths. A recording shorter than a window has zeros around it.
    Holds a window and a block in memory. Raise ValueError as `window_starts` does.
    """
    _check_hop(window_samples, hop_samples)
    held = np.zeros(0, dtype=np.float32)
    # the sample that `held` begins with, and the start of the next window
    first = following = 0
    for block in blocks:
        held = np.concatenate([held, block.astype(np.float32, copy=False)])
        while following + window_samples <= first + len(held):
            yield following, held[following - first :][:window_samples].copy()
            following += hop_samples
        # the window at the end may overlap the last one that was given
        spare = max(following - hop_samples - first, 0)
        held, first = held[spare:], first + spare
    n_samples = first + len(held)
    last = n_samples - window_samples
    if 0 < n_samples < window_samples:
        offset = -last // 2
        yield -offset, place(held, window_samples, offset)
    elif n_samples and last != following - hop_samples:
        yield last, held[-window_samples:].copy()


def _check_hop(window_samples: int, hop_samples: int) -> None:
    if not 0 < hop_samples <= window_samples:
        raise ValueError(f"hop_samples {hop_samples} is not from 1 to window_samples {window_samples}")
