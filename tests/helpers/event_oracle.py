"""Events found in all frames at once: what the tracker must find piece by piece."""

import numpy as np
import numpy.typing as npt

from aer.inference.events import EventRules

FRAME_S = 0.02


Found = list[tuple[int, int, int, float]]


def all_at_once(frames: npt.NDArray[np.float32], thresholds: npt.NDArray[np.float64], rules: EventRules) -> Found:
    """(begin, class, end, peak) frame by frame: runs above the lower threshold that somewhere reach the upper one."""
    found: Found = []
    for c, threshold in enumerate(thresholds.tolist()):
        scores = [float(x) for x in frames[:, c]]
        runs: list[list[int]] = []
        for k, score in enumerate(scores):
            if score >= threshold * rules.hysteresis:
                if runs and runs[-1][1] == k:
                    runs[-1][1] = k + 1
                else:
                    runs.append([k, k + 1])
        runs = [run for run in runs if max(scores[run[0] : run[1]]) >= threshold]
        merged: list[list[int]] = []
        for run in runs:
            if merged and (run[0] - merged[-1][1]) * FRAME_S < rules.merge_gap_s:
                merged[-1][1] = run[1]
            else:
                merged.append(run)
        found += [(b, c, e, max(scores[b:e])) for b, e in merged if (e - b) * FRAME_S >= rules.min_duration_s]
    return sorted(found)
