"""Samples as 16-bit integers."""

import numpy as np
import numpy.typing as npt

from aer.audio.info import Waveform

# the 16-bit value that 1.0 stands for
FULL_SCALE = 32768


def quantise(waveform: Waveform) -> tuple[npt.NDArray[np.int16], int]:
    """Return round(32768 * x) in 16 bits (samples,), and how many samples lay beyond full scale and were clipped."""
    scaled = np.rint(waveform * np.float32(FULL_SCALE))
    n_clipped = 0
    if scaled.max(initial=0) >= FULL_SCALE or scaled.min(initial=0) < -FULL_SCALE:
        # 1.0 itself is full scale
        n_clipped = int(np.count_nonzero(np.abs(scaled) > FULL_SCALE))
        np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled)
    return scaled.astype(np.int16), n_clipped
