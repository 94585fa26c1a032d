"""Scores of the validation windows by the best epoch's model, kept in a run's folder: what thresholds come from.

N recordings, W windows, C classes.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from aer.errors import AerError, InputError
from aer.models import thresholds
from aer.models.panns import frame_scores
from aer.training.datasets import READABLE, ValidationWindows
from aer.training.loaders import build_loader, fetched_whole
from aer.training.metrics import clip_scores
from aer.utils.csv_files import csv_path
from aer.utils.files import write_whole
from aer.utils.progress import track

NAME = "validation_scores.npz"


@dataclass(frozen=True)
class ValidationScores:
    """What a model says of recordings that it has not been trained on. Those that can't be read are left out."""

    recordings: NDArray[np.str_]  # (N,) paths
    folds: NDArray[np.int64]  # (N,)
    classes: tuple[str, ...]
    targets: NDArray[np.bool_]  # (N, C)
    window_recordings: NDArray[np.int64]  # (W,) places in `recordings`, ascending
    window_scores: NDArray[np.float32]  # (W, C) clip-wise
    frame_maxima: (
        NDArray[np.float32] | None
    )  # (W, C) of `frame_scores`, the highest of each window; None: the model has no frames
    weights_sha256: str  # of the model, see `bundle.weights_digest`; of several models: ""

    def by_recording(self, how: Literal["mean", "max"]) -> NDArray[np.float64]:
        """(N, C) scores of recordings, as the metrics of a run take them."""
        _, scores = clip_scores(self.window_scores, self.window_recordings, how)
        return scores


def score(
    model: torch.nn.Module,
    windows: ValidationWindows,
    classes: Sequence[str],
    fold: int,
    weights_sha256: str,
    batch_size: int,
    workers: int,
) -> ValidationScores:
    """Runs the model, in eval mode, over all windows on the device that it is on. Nothing is drawn.

    A recording with a window that can't be read is left out as a whole, as in the metrics. AerError if that is all.
    """
    device = next(model.parameters()).device
    loader = build_loader(windows, batch_size, workers)
    parts: list[tuple[torch.Tensor, ...]] = []
    model.eval()
    with torch.inference_mode():
        batches = fetched_whole(loader)
        for batch in track(batches, len(loader), "scores for thresholds", "batch"):
            output = model(batch["waveform"].to(device))
            frames = frame_scores(output).amax(dim=1) if "framewise_output" in output else None
            outputs = [output["clipwise_output"], *([frames] if frames is not None else [])]
            parts.append((batch["clip"], batch["unreadable"], *(part.float().cpu() for part in outputs)))
    clips, unreadable, *scores = (torch.cat(listed).numpy() for listed in zip(*parts, strict=True))
    readable = ~np.isin(clips, unreadable[unreadable != READABLE])
    if not readable.any():
        raise AerError("no recording of the validation fold can be read")
    used, places = np.unique(clips[readable], return_inverse=True)
    return ValidationScores(
        recordings=np.array([csv_path(windows.recordings[i].path) for i in used.tolist()]),
        folds=np.full(len(used), fold),
        classes=tuple(classes),
        targets=windows.targets.numpy()[used] > 0,
        window_recordings=places,
        window_scores=scores[0][readable],
        frame_maxima=scores[1][readable] if len(scores) > 1 else None,
        weights_sha256=weights_sha256,
    )


def fit_thresholds(scores: ValidationScores) -> dict[str, list[thresholds.ClassThresholds] | None]:
    """{"window": ..., "frame": ...}: per class, from windows that have their recording's labels."""
    targets = scores.targets[scores.window_recordings]
    by_window = thresholds.fit(targets, scores.window_scores, scores.window_recordings)
    by_frame = None
    if scores.frame_maxima is not None:
        by_frame = thresholds.fit(targets, scores.frame_maxima, scores.window_recordings)
    return {"window": by_window, "frame": by_frame}


def as_plain(fitted: dict[str, list[thresholds.ClassThresholds] | None]) -> dict[str, list[object] | None]:
    """What `fit_thresholds` gives, for JSON."""
    return {
        name: None if entries is None else [thresholds.to_dict(entry) for entry in entries]
        for name, entries in fitted.items()
    }


def save(path: Path, scores: ValidationScores, advice: str) -> None:
    """An .npz file, whole or absent; the same scores give the same bytes."""
    arrays = {
        "recordings": scores.recordings,
        "folds": scores.folds,
        "classes": np.array(scores.classes),
        "targets": scores.targets,
        "window_recordings": scores.window_recordings,
        "window_scores": scores.window_scores,
        "weights_sha256": np.array(scores.weights_sha256),
    }
    if scores.frame_maxima is not None:
        arrays["frame_maxima"] = scores.frame_maxima
    write_whole(path, lambda file: np.savez(file, allow_pickle=False, **arrays), advice)


def load(path: Path) -> ValidationScores:
    """Reads what `save` wrote; InputError, in one line, where that can't be done."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return ValidationScores(
            recordings=arrays["recordings"],
            folds=arrays["folds"],
            classes=tuple(arrays["classes"].tolist()),
            targets=arrays["targets"],
            window_recordings=arrays["window_recordings"],
            window_scores=arrays["window_scores"],
            frame_maxima=arrays.get("frame_maxima"),
            weights_sha256=str(arrays["weights_sha256"]),
        )
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: can't be read as scores: {' '.join(str(error).split())[:200]}") from error


def kept(path: Path, weights_sha256: str) -> ValidationScores | None:
    """The scores in the file, if they are whole and by the model of that digest."""
    try:
        scores = load(path)
    except InputError:
        return None
    return scores if scores.weights_sha256 == weights_sha256 else None
