"""Times a 5 s crop from the middle of a 60 s recording beside reading the whole: python benchmarks/crop_speed.py

WAV, FLAC, MP3 and Ogg Vorbis at 32 kHz, read at that rate; the best of several rounds, in turns, as other work on the
machine only adds. `cold`: the first crop of a file, before anything is known of it. Exits with status 1 where a crop
is less than 8 times (WAV, FLAC) or 6 times (MP3, Ogg) as fast as the whole.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))

from aer.audio import flac_reader, mpeg_reader, ogg_reader, readers
from aer.audio.io import read_crop

RATE, WHOLE_S, CROP_S = 32000, 60.0, 5.0
CACHED = (
    readers._kind,
    readers._sound,
    flac_reader._header_and_end,
    mpeg_reader._mpeg_index,
    ogg_reader._ogg_index,
)
LEAST = {"wav": 8, "flac": 8, "mp3": 6, "ogg": 6}


def timed(read: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    since_s = time.perf_counter()
    read()
    return time.perf_counter() - since_s


def measure(path: Path, rounds: int) -> tuple[float, float, float]:
    """Return the best times of the whole, of a crop, and of the first crop of a file."""
    whole_s: list[float] = []
    crop_s: list[float] = []
    cold_s: list[float] = []

    def read_middle() -> None:
        read_crop(path, (WHOLE_S - CROP_S) / 2, CROP_S, RATE)

    for _ in range(rounds):
        for cached in CACHED:
            cached.cache_clear()
        cold_s.append(timed(read_middle))
        whole_s.append(timed(lambda: read_crop(path, 0, None, RATE)))
        crop_s.append(timed(read_middle))
    return min(whole_s), min(crop_s), min(cold_s)


def ratios(folder: Path, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Return for each format the times of the whole, of a crop, and of the first crop."""
    random = np.random.default_rng(0)
    samples = random.normal(scale=0.1, size=round(WHOLE_S * RATE)).astype(np.float32)
    times = {}
    for suffix in LEAST:
        path = folder / f"a.{suffix}"
        soundfile.write(path, samples, RATE)
        times[suffix] = measure(path, rounds)
    return times


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=25)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        times = ratios(Path(name), chosen.rounds)
    print(f"{'format':8}{'whole ms':>10}{'crop ms':>10}{'ratio':>8}{'cold':>8}{'least':>8}")
    slow = []
    for suffix, (whole_s, crop_s, cold_s) in times.items():
        ratio = whole_s / crop_s
        line = f"{suffix:8}{1000 * whole_s:10.2f}{1000 * crop_s:10.2f}{ratio:8.1f}{whole_s / cold_s:8.1f}"
        print(f"{line}{LEAST[suffix]:8}")
        slow += [suffix] * (ratio < LEAST[suffix])
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
