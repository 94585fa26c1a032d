"""`aer prepare` as its users call it, raw recordings for it, and what it should make of them."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

from helpers import launcher
from helpers.paths import ROOT, SHARED

FSDD = SHARED / "data" / "fsdd"

COMMAND = (sys.executable, "-m", "aer", "prepare")


def prepare(*arguments: object, status: int = 0, **options: object) -> str:
    """Run the command; return what it printed on both outputs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = launcher.run([*COMMAND, *arguments], env=environment, timeout=120, **options)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def noise(n_samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, channels)).astype(np.float32)


def add(root: Path, name: str, samples: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    path = root / "raw_train_audio" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def expected(path: Path, rate: int) -> np.ndarray:
    """The oracle: the whole file at once through libsndfile and soxr, rounded to 16 bits."""
    samples, rate_in = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    resampled = mono if rate_in == rate else soxr.resample(mono, rate_in, rate, quality="VHQ")
    return np.clip(np.rint(resampled.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)


def clip(root: Path, name: str) -> np.ndarray:
    samples, _ = soundfile.read(root / "resampled_train_audio" / name, dtype="int16")
    return samples


def snapshot(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "raw_train_audio" not in path.parts
    }


def report(root: Path) -> dict[str, tuple[str, str]]:
    """Return status and reason by file, but for notes: a recording at a low rate has one."""
    table = pd.read_csv(root / "prepare_report.csv", encoding_errors="surrogateescape", keep_default_na=False)
    return {row.file: (row.status, row.reason) for row in table.itertuples() if row.status != "note"}


def bursts(rate: int, duration_s: float, at_s: list[float]) -> np.ndarray:
    """Faint noise with 0.2 s of loud noise at the given times."""
    random_numbers = np.random.default_rng(1)
    samples = 0.001 * random_numbers.standard_normal(round(duration_s * rate))
    for start in at_s:
        burst = slice(round(start * rate), round((start + 0.2) * rate))
        samples[burst] += 0.2 * random_numbers.standard_normal(burst.stop - burst.start)
    return samples
