"""What the tests of inference share."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.recordings import write
from helpers.tiny_predict import RATE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of all kinds, longer and shorter than a window, at the model's rate and at others."""
    for number, duration_s in enumerate((3.7, 1.0, 0.33, 2.5, 12.01, 6.0)):
        write(tmp_path / f"site/{number}.wav", duration_s, number)
    write(tmp_path / "site/stereo.flac", 2.2, 7, rate=44100, channels=2)
    write(tmp_path / "many/channels.wav", 1.7, 8, channels=8)
    write(tmp_path / "many/ultrasonic.wav", 1.3, 9, rate=192_000)
    soundfile.write(tmp_path / "many/silent.wav", np.zeros(3 * RATE), RATE)
    soundfile.write(tmp_path / "many/one_sample.wav", np.full(1, 0.75), RATE)
    return tmp_path
