"""Bundles of small models, with thresholds made up."""

import math
from typing import Any

import numpy as np

import config
from aer.models import thresholds
from aer.models.kinds import Kind
from aer.models.registry import MODELS
from aer.settings import AnySettings

METRICS = {"epoch": 3, "valid_f1": 0.75, "valid_map": math.nan, "valid_loss": 0.5}


SMALL = {"clip_duration_s": 0.64, "corpus": "/some/where", "background_class": "nocall"}
SMALL_BY_KIND: dict[str, dict[str, Any]] = {"resnest": {"image_height": 32}}


def small(kind: Kind, **changes: Any) -> AnySettings:
    sample = getattr(config, kind.upper())["sample"].model_dump()
    settings: AnySettings = MODELS[kind].settings.model_validate(sample | SMALL | SMALL_BY_KIND.get(kind, {}) | changes)
    return settings


def some_thresholds(n_classes: int, seed: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    targets = random.random((60, n_classes)) < 0.5
    scores = (0.5 * targets + 0.5 * random.random((60, n_classes))).astype(np.float32)
    return [thresholds.to_dict(entry) for entry in thresholds.fit(targets, scores, np.arange(60))]
