"""Settings of small inputs for both models."""

from pathlib import Path
from typing import Any

from aer.settings import MelSettings, PannsSettings, ResnestSettings

SAMPLE_RATE = 32000
N_CLASSES = 5
COMMON: dict[str, Any] = {
    "corpus": Path("unused"), "run_dir": Path("unused"), "sample_rate": SAMPLE_RATE, "clip_duration_s": 1,
    "n_folds": 5, "fold": 0, "fold_seed": 0, "seed": 0, "epochs": 1, "batch_size": 2, "learning_rate": 1e-4,
    "loss_func": "BCEWithLogits", "warmup_steps": 0, "workers": 0,
}  # fmt: skip
PANNS_MEL = MelSettings(window_samples=1024, hop_samples=320, n_mels=64, fmin_hz=50, fmax_hz=14000)
IMAGE_MEL = MelSettings(window_samples=1024, hop_samples=512, n_mels=64, fmin_hz=20, fmax_hz=16000)


def panns_settings(**changes: Any) -> PannsSettings:
    """A second at the published front end, from scratch."""
    return PannsSettings(**{**COMMON, "mel": PANNS_MEL, **changes})


def resnest_settings(**changes: Any) -> ResnestSettings:
    """A second as an image 64 high, from scratch."""
    return ResnestSettings(**{**COMMON, "mel": IMAGE_MEL, "image_height": 64, "pretrained": False, **changes})
