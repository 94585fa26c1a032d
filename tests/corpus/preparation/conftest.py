"""Raw recordings to prepare."""

from pathlib import Path

import pytest
from helpers.prepare_runs import add, noise


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for index, (name, rate, channels) in enumerate(
        [("robin/a.wav", 44100, 2), ("robin/b.flac", 22050, 1), ("wren/c.ogg", 48000, 2), ("wren/d.wav", 32000, 1)]
    ):
        add(tmp_path, name, noise(rate + 17, channels, index), rate)
    return tmp_path
