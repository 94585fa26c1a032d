"""Runs of the tiny model on recordings that differ in loudness."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import soundfile

import config
from aer.settings import PannsSettings

RATE = 16000


TINY = {
    "clip_duration_s": 1.0,
    "batch_size": 4,
    "n_folds": 3,
    "epochs": 2,
    "learning_rate": 0.3,
    "warmup_steps": 0,
    "scheduler": None,
    "device": "cpu",
    "loss_func": "BCEWithLogits",
    "main_metric": "loss",
    "background_class": "nocall",
    "max_unreadable_share": 0.5,
}


def make_loud_and_quiet(root: Path) -> Path:
    """Recordings of up to 3 s: robins are loud, wrens quiet, nothing is silence; two have samples that are NaN."""
    for c, (name, loudness) in enumerate({"nocall": 0.0, "robin": 0.9, "wren": 0.3}.items()):
        (root / name).mkdir(parents=True)
        for i in range(9):
            noise = np.random.default_rng(100 * c + i).uniform(-loudness, loudness, RATE // 2 * (1 + i % 6))
            soundfile.write(root / name / f"{name}_{i}.flac", noise, RATE)
    for i in (1, 5):
        broken = root / f"wren/wren_{i}.flac"
        # whatever its name says: a WAV, as FLAC can't hold what is no number
        not_a_number = np.full(RATE, np.nan, np.float32)
        soundfile.write(broken, not_a_number, RATE, subtype="FLOAT", format="WAV")
    return root


def tiny_settings(folder: Path, **changes: Any) -> PannsSettings:
    """A run with the tiny model on `folder`/corpus."""
    made = {**TINY, "corpus": folder / "corpus", "run_dir": folder / "run", **changes}
    return PannsSettings.model_validate(config.PANNS["sample"].model_dump() | made)


def bundle_metadata(path: Path) -> dict[str, Any]:
    """The JSON of a bundle; `bundle.load` would miss Cnn14's weights in it."""
    with safetensors.safe_open(path, "pt") as file:
        metadata: dict[str, Any] = json.loads(file.metadata()["aer"])
    return metadata
