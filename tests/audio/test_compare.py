"""A small share of benchmarks/compare_with_ffmpeg.py, where the ffmpeg program is there."""

import shutil
from pathlib import Path

import compare_with_ffmpeg
import hard_recordings
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg") or not shutil.which("ffprobe"), reason="needs ffmpeg")


def test_what_ffmpeg_hears_is_heard(tmp_path: Path) -> None:
    hard_recordings.make(tmp_path / "made", 34, seed=3)
    verdicts = [verdict for _, verdict in compare_with_ffmpeg.compare(tmp_path / "made", seed=3)]
    assert [verdict for verdict in verdicts if verdict.wrong] == []
    assert len(verdicts) == 34 and len({verdict.fault for verdict in verdicts}) == len(hard_recordings.FAULTS)


def test_less_than_ffmpeg_hears_is_wrong(tmp_path: Path) -> None:
    hard_recordings.make(tmp_path / "made", 2, seed=0)
    one, other = sorted((tmp_path / "made").glob("*.wav"))
    random = np.random.default_rng(0)
    assert "ffmpeg" in compare_with_ffmpeg.judge(one, other, "", "", True, random).wrong
