"""Trained models at work: batches of windows -> scores. One bundle, or several whose scores are averaged.

B windows of S samples, T frames, C classes.
"""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError

from aer.errors import InputError
from aer.inference.events import Scores
from aer.models import thresholds
from aer.models.bundle import Bundle
from aer.models.panns import frame_scores
from aer.utils.channels import Channels
from aer.utils.devices import pick_device
from aer.utils.text import printable

# the threshold of classes with too few recordings in validation to find a better one
NO_THRESHOLD = 0.5


@dataclass(frozen=True)
class Output:
    """The models' output for a batch of windows."""

    # (B, C)
    scores: Scores
    # (B, T, C) of `frame_scores`
    frames: Scores | None
    # (B, 2048 x models), one model's after the other's
    embeddings: Scores | None


class Recogniser:
    """The models of one or more bundles, on a device.

    Raise InputError where they do not fit together: other classes, sample rates or (without `window_s`) windows, or
    (without `channels`) other channels.
    """

    def __init__(
        self, bundles: Sequence[Bundle], window_s: float | None, device: str, channels: Channels | None = None
    ):
        self.bundles = tuple(bundles)
        first = bundles[0]
        for other in bundles[1:]:
            _check_fits(first, other, window_s, channels)
        self.classes = first.classes
        # that they were trained on
        self.channels = first.settings.channels
        self.sample_rate = first.settings.sample_rate
        self.window_s = window_s or first.settings.clip_duration_s
        self.hop_samples = first.settings.mel.hop_samples
        for bundle in bundles:
            _check_window(bundle, self.window_s)
        self.window_samples = round(self.window_s * self.sample_rate)
        same_hop = {bundle.settings.mel.hop_samples for bundle in bundles} == {self.hop_samples}
        self.has_frames = same_hop and all(bundle.thresholds.get("frame") for bundle in bundles)
        self.device = _device(device)
        self.models = [bundle.build_model().to(self.device) for bundle in bundles]

    def __call__(self, waveforms: npt.NDArray[np.float32], embeddings: bool = False, frames: bool = True) -> Output:
        """Return scores of windows (B, S), with frames and embeddings where these are asked for."""
        batch = torch.from_numpy(waveforms).to(self.device)
        with torch.inference_mode():
            outputs = [model(batch) for model in self.models]
        listed = [output["clipwise_output"] for output in outputs]
        return Output(
            _mean(listed),
            _mean([frame_scores(output) for output in outputs]) if frames and self.has_frames else None,
            torch.cat([output["embedding"] for output in outputs], 1).float().cpu().numpy() if embeddings else None,
        )

    def thresholds_of(
        self, kind: str, threshold: float | None, precision: float | None
    ) -> tuple[npt.NDArray[np.float64], dict[str, str]]:
        """Return the threshold of each class (C,), and the reason for classes that got another than asked for.

        `kind`: "window" or "frame". `threshold` holds for all classes. `precision`: the lowest threshold that reaches
        it in validation. Otherwise the one with the best F1. Several bundles: the mean of theirs.
        """
        if threshold is not None:
            return np.full(len(self.classes), threshold), {}
        chosen, notes = np.zeros(len(self.classes)), {}
        for index, name in enumerate(self.classes):
            entries = [entries[index] for entries in self._entries(kind)]
            found = [
                entry.best_f1 if precision is None else thresholds.at_precision(entry, precision) for entry in entries
            ]
            known = [value for value in found if value is not None]
            if len(known) < len(found):
                lacking = entries[found.index(None)]
                not_reached = precision is not None and lacking.curve
                notes[name] = f"precision {precision:g} not reached" if not_reached else lacking.note
            if known:
                chosen[index] = np.mean(known)
            else:
                # where the wanted precision can't be reached the class is not reported; else a guess, with a note
                chosen[index] = NO_THRESHOLD if precision is None else np.inf
        return chosen, notes

    def probabilities(self, kind: str, class_index: int, scores: npt.NDArray[np.float64]) -> list[float | None]:
        """Return calibrated probabilities of a class at scores (N,): the bundles' mean, None where one has none."""
        found = [thresholds.probability(entries[class_index], scores) for entries in self._entries(kind)]
        known = [values for values in found if values is not None]
        if not known or len(known) < len(found):
            return [None] * len(scores)
        mean: list[float | None] = np.mean(known, axis=0).tolist()
        return mean

    @functools.lru_cache(maxsize=2)  # noqa: B019 - there is one of these in a process
    def _entries(self, kind: str) -> list[list[thresholds.ClassThresholds]]:
        return [list(map(thresholds.from_dict, bundle.thresholds[kind])) for bundle in self.bundles]


def _mean(outputs: Sequence[torch.Tensor]) -> Scores:
    mean: Scores = (outputs[0] if len(outputs) == 1 else torch.stack(list(outputs)).mean(0)).float().cpu().numpy()
    return mean


def _check_fits(first: Bundle, other: Bundle, window_s: float | None, channels: Channels | None) -> None:
    """Raise InputError for two bundles whose scores can't be averaged."""
    names = f"{printable(first.path)} and {printable(other.path)}"
    if other.classes != first.classes:
        differing = sorted(set(other.classes) ^ set(first.classes))
        raise InputError(
            f"{names} have other classes ({', '.join(map(printable, differing[:5]))}): they can't be averaged"
        )
    pairs: list[tuple[str, Any, Any]] = [
        ("sample rates", first.settings.sample_rate, other.settings.sample_rate),
    ]
    if window_s is None:
        pairs.append(("windows in s", first.settings.clip_duration_s, other.settings.clip_duration_s))
    if channels is None:
        pairs.append(("channels", first.settings.channels, other.settings.channels))
    hints = {"windows in s": "; --window sets one", "channels": "; --channels sets them"}
    for what, ours, theirs in pairs:
        if ours != theirs:
            shown = " and ".join(value if isinstance(value, str) else f"{value:g}" for value in (ours, theirs))
            raise InputError(f"{names} have other {what} ({shown}): they can't be averaged{hints.get(what, '')}")


def _check_window(bundle: Bundle, window_s: float) -> None:
    """Raise InputError for a window that the model can't take."""
    try:
        type(bundle.settings).model_validate(bundle.settings.model_dump() | {"clip_duration_s": window_s})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--window {window_s:g}: {printable(bundle.path)} can't take it: {reason}") from error


def _device(name: str) -> torch.device:
    """Return the device of that name; under torchrun each process of a machine takes a GPU of its own."""
    chosen = pick_device(name, "--device")
    if chosen == "cuda":
        return torch.device(chosen, int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device(chosen)
