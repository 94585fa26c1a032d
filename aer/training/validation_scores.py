"""Scores of the validation windows by the best epoch's model, kept in a run's folder: thresholds are fitted to them.

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
from aer.training.loaders import build_loader, uninterrupted_batches
from aer.training.metrics import clip_scores
from aer.utils.csv_files import csv_path
from aer.utils.files import write_whole
from aer.utils.progress import track

NAME = "validation_scores.npz"


@dataclass(frozen=True)
class ValidationScores:
    """A model's scores of recordings that it has not been trained on. Those that can't be read are left out."""

    # (N,) paths
    recordings: NDArray[np.str_]
    # (N,)
    folds: NDArray[np.int64]
    classes: tuple[str, ...]
    # (N, C)
    targets: NDArray[np.bool_]
    # (W,) indices of `recordings`, ascending
    window_recordings: NDArray[np.int64]
    # (W, C) clip-wise probabilities
    window_scores: NDArray[np.float32]
    # (W, C) the highest of each window's `frame_scores`; None: the model has no frames
    frame_maxima: NDArray[np.float32] | None
    # of the model, see `bundle.weights_digest`; of several models: ""
    weights_sha256: str

    def by_recording(self, clip_score: Literal["mean", "max"]) -> NDArray[np.float64]:
        """Return the scores (N, C) of recordings, as the metrics of a run take them."""
        _, scores = clip_scores(self.window_scores, self.window_recordings, clip_score)
        return scores


def score_windows(
    model: torch.nn.Module,
    windows: ValidationWindows,
    classes: Sequence[str],
    fold: int,
    weights_sha256: str,
    batch_size: int,
    workers: int,
) -> ValidationScores:
    """Run the model, in eval mode, over all windows on the device that it is on. Nothing is drawn.

    A recording with a window that can't be read is left out as a whole, as in the metrics. Raise AerError if none is
    left.
    """
    device = next(model.parameters()).device
    # workers that are kept would end with the loader, in a destructor, where Ctrl-C gets lost
    loader = build_loader(windows, batch_size, workers, keep_workers=False)
    rows: list[tuple[torch.Tensor, ...]] = []
    model.eval()
    with torch.inference_mode():
        batches = uninterrupted_batches(loader)
        for batch in track(batches, len(loader), "scores for thresholds", "batch"):
            output = model(batch["waveform"].to(device))
            frames = frame_scores(output).amax(dim=1) if "framewise_output" in output else None
            outputs = [output["clipwise_output"], *([frames] if frames is not None else [])]
            rows.append((batch["clip"], batch["unreadable"], *(output.float().cpu() for output in outputs)))
    clips, unreadable, *scores = (torch.cat(column).numpy() for column in zip(*rows, strict=True))
    readable = ~np.isin(clips, unreadable[unreadable != READABLE])
    if not readable.any():
        raise AerError("no recording of the validation fold can be read")
    used, window_recordings = np.unique(clips[readable], return_inverse=True)
    return ValidationScores(
        recordings=np.array([csv_path(windows.recordings[i].path) for i in used.tolist()]),
        folds=np.full(len(used), fold),
        classes=tuple(classes),
        targets=windows.targets.numpy()[used] > 0,
        window_recordings=window_recordings,
        window_scores=scores[0][readable],
        frame_maxima=scores[1][readable] if len(scores) > 1 else None,
        weights_sha256=weights_sha256,
    )


def fit_thresholds(scores: ValidationScores) -> dict[str, list[thresholds.ClassThresholds] | None]:
    """Return {"window": ..., "frame": ...}: thresholds per class, from windows with their recording's labels."""
    targets = scores.targets[scores.window_recordings]
    by_window = thresholds.fit(targets, scores.window_scores, scores.window_recordings)
    by_frame = None
    if scores.frame_maxima is not None:
        by_frame = thresholds.fit(targets, scores.frame_maxima, scores.window_recordings)
    return {"window": by_window, "frame": by_frame}


def thresholds_to_json(fitted: dict[str, list[thresholds.ClassThresholds] | None]) -> dict[str, list[object] | None]:
    """Return what `fit_thresholds` returned as JSON can hold it."""
    return {
        name: None if entries is None else [thresholds.to_dict(entry) for entry in entries]
        for name, entries in fitted.items()
    }


def save(path: Path, scores: ValidationScores, advice: str) -> None:
    """Write an .npz file, whole or absent; the same scores give the same bytes.

    Raise AerError, which ends with `advice`, if it can't be written.
    """
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
    """Read what `save` wrote; raise InputError, in one line, if that can't be done."""
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


def load_if_by(path: Path, weights_sha256: str) -> ValidationScores | None:
    """Return the scores in the file if they are whole and by the model of that digest, else None."""
    try:
        scores = load(path)
    except InputError:
        return None
    return scores if scores.weights_sha256 == weights_sha256 else None
