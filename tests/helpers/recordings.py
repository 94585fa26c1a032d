"""Recordings of noise, and what recognition gives for them; what the tests of inference share."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from aer.inference.pipeline import recognise
from aer.inference.plan import Plan
from aer.inference.recordings import Recording, find_recordings
from aer.inference.results import FileResult
from helpers.tiny_predict import RATE

Floats = npt.NDArray[np.float32]


def bursts(duration_s: float, seed: int, rate: int = RATE, channels: int = 1) -> Floats:
    """Noise (samples, channels) whose loudness jumps at random."""
    random = np.random.default_rng(seed)
    n_samples = round(duration_s * rate)
    loudness = np.repeat(random.choice([0.05, 0.3, 0.6, 0.9], 1 + n_samples * 20 // rate), -(-rate // 20))[:n_samples]
    return (loudness[:, None] * random.uniform(-1, 1, (n_samples, channels))).astype(np.float32)


def write(path: Path, duration_s: float, seed: int, rate: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, bursts(duration_s, seed, rate, channels), rate, subtype="PCM_16")
    return path


def recordings_of(folder: Path) -> list[Recording]:
    return find_recordings([folder])


def recognised(recordings: list[Recording], plan: Plan, batch_size: int = 4, threads: int = 2) -> list[FileResult]:
    advances: list[float] = []
    done = list(recognise(recordings, plan, batch_size, threads, advances.append))
    assert all(n_bytes > 0 for n_bytes in advances)
    assert len(advances) == sum(len(result.starts_s) for _, result in done)
    assert [recording for recording, _ in done] == recordings
    return [result for _, result in done]


def same(one: FileResult, other: FileResult) -> bool:
    """Equal in everything, bit for bit."""
    values = [[getattr(result, field.name) for field in dataclasses.fields(result)] for result in (one, other)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(*values, strict=True))


def in_memory(path: Path) -> Floats:
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)
    if rate == RATE:
        return mono
    return soxr.resample(mono, rate, RATE, quality="VHQ")[: len(mono) * RATE // rate]
