"""Windows of a stream against the whole recording in memory, and against those over which training validates."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
from aer.audio.windows import window_starts, windows
from aer.settings import PannsSettings
from aer.training.datasets import ValidationWindows

RATE = 16000
SETTINGS = PannsSettings.model_validate(
    config.PANNS["sample"].model_dump() | {"clip_duration_s": 1.0, "sample_rate": RATE}
)


def cut(whole: npt.NDArray[np.float32], cuts: list[int]) -> list[npt.NDArray[np.float32]]:
    """Cut the recording into blocks that end at these samples; some may be empty."""
    return np.split(whole, sorted(sample % (len(whole) + 1) for sample in cuts))


@given(
    n_samples=st.integers(0, 90),
    window_samples=st.integers(1, 30),
    hop=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 90), max_size=12),
)
def test_windows_are_those_of_the_whole(n_samples: int, window_samples: int, hop: int, cuts: list[int]) -> None:
    hop = min(hop, window_samples)
    whole = np.arange(1, n_samples + 1, dtype=np.float32)
    found = list(windows(cut(whole, cuts), window_samples, hop))
    assert [start for start, _ in found] == window_starts(n_samples, window_samples, hop)
    if n_samples < window_samples:
        before = (window_samples - n_samples) // 2
        padded = np.pad(whole, (before, window_samples - n_samples - before))
        expected = [(-before, padded)] if n_samples else []
    else:
        last = n_samples - window_samples
        expected = [(start, whole[start : start + window_samples]) for start in sorted({*range(0, last, hop), last})]
    assert [start for start, _ in found] == [start for start, _ in expected]
    for (_, waveform), (_, wanted) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(waveform, wanted)
        assert waveform.dtype == np.float32


def test_windows_are_copies() -> None:
    first, second = windows([np.arange(6, dtype=np.float32)], 4, 2)
    first[1][:] = -1
    assert second[1].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(("window_samples", "hop"), [(4, 0), (4, 5), (0, 0)])
def test_no_windows_with_gaps_between_them(window_samples: int, hop: int) -> None:
    with pytest.raises(ValueError, match="hop_samples"):
        list(windows([np.zeros(9, np.float32)], window_samples, hop))
    with pytest.raises(ValueError, match="hop_samples"):
        window_starts(9, window_samples, hop)


def test_where_windows_lie() -> None:
    assert window_starts(9, 4, 4) == [0, 4, 5]  # the last one ends where the recording does
    assert window_starts(8, 4, 4) == [0, 4]
    assert window_starts(9, 4, 2) == [0, 2, 4, 5]
    assert window_starts(1, 4, 4) == [-1]  # centred: one sample of silence before it, two after it
    assert window_starts(2, 5, 3) == [-1]
    assert window_starts(0, 4, 4) == []


@given(n_samples=st.integers(0, 10_000), clip_samples=st.integers(1, 300))
def test_validation_reads_from_the_same_starts(n_samples: int, clip_samples: int) -> None:
    class OneClip(ValidationWindows):
        def __init__(self) -> None:
            self.clip_samples = clip_samples

    # the rule as it was before both had it from one function
    last = max(n_samples - clip_samples, 0)
    assert OneClip()._starts(n_samples) == sorted({*range(0, last + 1, clip_samples), last})
