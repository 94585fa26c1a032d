"""Bundles of small models, with thresholds made up."""

import math
from typing import Any

import numpy as np

import config
from aer.models import thresholds
from aer.settings import AnySettings, PannsSettings, ResnestSettings

METRICS = {"epoch": 3, "valid_f1": 0.75, "valid_map": math.nan, "valid_loss": 0.5}


SMALL = {"clip_duration_s": 0.64, "corpus": "/some/where", "background_class": "nocall"}


def small(kind: str, **changes: Any) -> AnySettings:
    if kind == "panns":
        return PannsSettings.model_validate(config.PANNS["sample"].model_dump() | SMALL | changes)
    changes = {"image_height": 32, **changes}
    return ResnestSettings.model_validate(config.RESNEST["sample"].model_dump() | SMALL | changes)


def some_thresholds(n_classes: int, seed: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    targets = random.random((60, n_classes)) < 0.5
    scores = (0.5 * targets + 0.5 * random.random((60, n_classes))).astype(np.float32)
    return [thresholds.to_dict(entry) for entry in thresholds.fit(targets, scores, np.arange(60))]
