"""Small corpora, made in milliseconds."""

from pathlib import Path

import numpy as np
import soundfile

from aer.corpus.discovery import Corpus, Recording

RATE = 16000
FORMATS = ("wav", "flac", "ogg", "mp3")


# Small enough for seconds per epoch; SGD keeps the checkpoints of 80 million weights at a third of Adam's size.
SMALL = (
    "--clip-duration-s 0.64 --mel.window-samples 512 --mel.hop-samples 320 --mel.n-mels 32 --batch-size 4 --epochs 2 "
    "--n-folds 3 --optimizer SGD --learning-rate 1e-3 --keep-best 1 --device cpu"
)


def write_clip(path: Path, frequency_hz: float, duration_s: float, seed: int, channels: int = 1) -> None:
    random = np.random.default_rng(seed)
    time_s = np.arange(int(duration_s * RATE)) / RATE
    tone = 0.3 * np.sin(2 * np.pi * frequency_hz * time_s) + 0.01 * random.standard_normal(time_s.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.tile(tone[:, None], channels), RATE)


def make_corpus(root: Path, clips_per_class: int = 9) -> Path:
    """Class folders with two classes, clips of 0.3 to 1.5 s in four formats, mono and stereo."""
    for c, (name, frequency_hz) in enumerate({"robin": 1000.0, "wren": 3000.0}.items()):
        for i in range(clips_per_class):
            path = root / name / f"{name}_{i}.{FORMATS[i % 4]}"
            write_clip(path, frequency_hz, 0.3 + 0.15 * i, seed=100 * c + i, channels=1 + i % 2)
    return root


def in_memory(labels: list[tuple[str, ...]], groups: list[str] | None = None) -> Corpus:
    """Return a corpus of recordings of a second with these labels, and groups; there are no files."""
    recordings = [
        Recording(Path(f"{i}.wav"), names, 1.0, 8000, groups[i] if groups else None) for i, names in enumerate(labels)
    ]
    return Corpus(tuple(recordings), tuple(sorted({name for names in labels for name in names})), ())
