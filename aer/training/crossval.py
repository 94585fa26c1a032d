"""Cross-validation: a model per fold, each validated on the recordings that it has not been trained on.

It leaves in its folder: `fold-K/` (a run as any other), `fold-K.aer` (that run's model, with the thresholds from all
folds), `out_of_fold_scores.npz` (all recordings) and `crossval.csv` (the figures).
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from aer.errors import AerError, InputError
from aer.models import bundle
from aer.models.registry import BuildModel
from aer.settings import AnySettings
from aer.training import checkpoint_file, validation_scores
from aer.training.engine import build_engine
from aer.training.metrics import macro_f1, mean_average_precision
from aer.training.train import train
from aer.training.validation_scores import ValidationScores
from aer.utils import lock
from aer.utils.csv_files import write_csv

POOLED = "out_of_fold_scores.npz"
FIGURES = "crossval.csv"


def crossval(settings: AnySettings, build_model: BuildModel) -> None:
    """Train all folds one after another into `settings.run_dir`, or resume where that stopped, and print the result.

    Raise InputError if the settings hold out anything but a fold by its number, or the folder is a run's.
    """
    _check(settings)
    engine = build_engine(settings)
    for fold in range(settings.n_folds):
        run_dir = _run_dir(settings.run_dir, fold)
        engine.print(f"fold {fold} of 0 to {settings.n_folds - 1}, in {run_dir}")
        train(settings.model_copy(update={"fold": fold, "run_dir": run_dir}), build_model)
        engine.print()
    if engine.is_main_process:
        # until here each fold's run has held its own
        with lock.held(settings.run_dir):
            print(collect(settings))


def _run_dir(folder: Path, fold: int) -> Path:
    return folder / f"fold-{fold}"


def _check(settings: AnySettings) -> None:
    """Raise InputError if these settings are not those of a cross-validation."""
    if settings.validation_groups:
        raise InputError(
            "crossval holds out each of n_folds folds once, and validation_groups is set: leave it empty (with "
            "group_by alone, a group is in one fold only)"
        )
    if settings.fresh:
        raise InputError("crossval goes on with what is in its folder: leave --fresh out, and name another --run-dir")
    if (settings.run_dir / "settings.json").exists():
        raise InputError(f"{settings.run_dir} holds a run of a single fold: name another --run-dir for all folds")
    if settings.run_dir.exists() and not settings.run_dir.is_dir():
        raise InputError(f"run_dir {settings.run_dir} is a file; name another --run-dir")


def collect(settings: AnySettings) -> str:
    """Make one set of scores, figures and thresholds of all folds' runs; return the lines that say what came out.

    Raise InputError if a fold's scores can't be read, and AerError if the folds do not fit together.
    """
    folder, clip_score, threshold = settings.run_dir, settings.clip_score, settings.f1_threshold
    runs = [_run_dir(folder, fold) for fold in range(settings.n_folds)]
    scores = [validation_scores.load(run / validation_scores.NAME) for run in runs]
    pooled = pool(scores)
    rows = [_figures(str(fold), part, clip_score, threshold) for fold, part in enumerate(scores)]
    rows.append(all_folds := _figures("all", pooled, clip_score, threshold))
    validation_scores.save(folder / POOLED, pooled, checkpoint_file.WRITE_ADVICE)
    header = list(all_folds)
    write_csv(folder / FIGURES, header, [[row[name] for name in header] for row in rows], checkpoint_file.WRITE_ADVICE)
    fitted = validation_scores.thresholds_to_json(validation_scores.fit_thresholds(pooled))
    for fold, run in enumerate(runs):
        figures = {"crossval_f1": all_folds["macro_f1"], "crossval_map": all_folds["map"]}
        _export_fold(settings, fold, run, fitted, figures)
    table = pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.4f}")
    return (
        f"{table}\n"
        f"over all {len(pooled.recordings)} recordings, each by the model that has not been trained on it: "
        f"macro F1 {all_folds['macro_f1']:.4f}, mAP {all_folds['map']:.4f}\n"
        "(each fold's best epoch was chosen on that fold, so new recordings will do a little worse)\n"
        f"recognisers: {folder / 'fold-0.aer'} to fold-{settings.n_folds - 1}.aer, with thresholds from all folds: "
        "aer predict averages the scores of those that it is given\n"
        f"figures: {folder / FIGURES}; scores: {folder / POOLED}"
    )


def pool(scores: Sequence[ValidationScores]) -> ValidationScores:
    """Return the scores of all folds as one; raise AerError if the folds do not fit together."""
    first = scores[0]
    names = np.concatenate([part.recordings for part in scores])
    has_frames = first.frame_maxima is not None
    if any(part.classes != first.classes or (part.frame_maxima is not None) != has_frames for part in scores):
        raise AerError("the folds' runs have other classes or models: has the corpus changed between them?")
    if len(set(names.tolist())) != len(names):
        raise AerError("a recording is held out in two folds: has the corpus changed between them?")
    before = np.cumsum([0, *(len(part.recordings) for part in scores)])
    windows = [part.window_recordings + n for part, n in zip(scores, before[:-1], strict=True)]
    frames = [part.frame_maxima for part in scores if part.frame_maxima is not None]
    return dataclasses.replace(
        first,
        recordings=names,
        folds=np.concatenate([part.folds for part in scores]),
        targets=np.concatenate([part.targets for part in scores]),
        window_recordings=np.concatenate(windows),
        window_scores=np.concatenate([part.window_scores for part in scores]),
        frame_maxima=np.concatenate(frames) if frames else None,
        weights_sha256="",
    )


def _figures(
    fold: str, scores: ValidationScores, clip_score: Literal["mean", "max"], threshold: float
) -> dict[str, Any]:
    """Return a row of `crossval.csv`."""
    by_recording = scores.by_recording(clip_score)
    return {
        "fold": fold,
        "recordings": len(scores.recordings),
        "macro_f1": macro_f1(scores.targets, by_recording, threshold),
        "map": mean_average_precision(scores.targets, by_recording),
    }


def _export_fold(
    settings: AnySettings, fold: int, run: Path, fitted: dict[str, Any], figures: dict[str, float]
) -> None:
    """Write `fold-K.aer`: what the run's best checkpoint holds, with thresholds and figures of all folds."""
    best = checkpoint_file.load(run / "checkpoints" / checkpoint_file.BEST)
    metrics = {**best["metrics"], **{name: value for name, value in figures.items() if math.isfinite(value)}}
    own = settings.model_copy(update={"fold": fold})
    metadata = bundle.build_metadata(own, best["classes"], best["epoch"], metrics, best["model"])
    bundle.write(run.with_name(f"{run.name}.aer"), metadata, fitted, best["model"], checkpoint_file.WRITE_ADVICE)
