"""What a run exports when it is done: the recogniser, the picture of its history, and the last lines on the console."""

import math
from pathlib import Path

import torch

from aer.corpus.discovery import Corpus
from aer.corpus.folds import Split
from aer.errors import AerError
from aer.models import bundle
from aer.settings import AnySettings
from aer.training import checkpoint_file, validation_scores
from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.training.datasets import ValidationWindows
from aer.training.engine import Engine
from aer.training.plots import plot_history
from aer.training.run_folder import HISTORY
from aer.utils.files import write_whole


def run_summary(settings: AnySettings, checkpoints: CheckpointCallback, n_valid: int) -> str:
    """Return the last lines of a run: the best epoch's metrics and where its model is.

    `n_valid`: validation recordings. Raise AerError if there is no best epoch, or no longer.
    """
    if not checkpoints.best:
        if not all(math.isnan(row[f"valid_{settings.main_metric}"]) for row in checkpoints.history):
            raise AerError(f"the weights of the best epochs are gone from {checkpoints.folder}; --fresh trains anew")
        raise AerError(f"no epoch had a {settings.main_metric} that is a number: is there a clip of every class?")
    epoch = checkpoints.best[0]["epoch"]
    row, n_epochs = checkpoints.history[epoch - 1], len(checkpoints.history)
    return (
        f"best by {settings.main_metric}: epoch {epoch} of {n_epochs}, on {n_valid} held-out recordings\n"
        f"macro F1 {row['valid_f1']:.4f}\n"
        f"mAP      {row['valid_map']:.4f}\n"
        f"best model: {checkpoints.best_path}\n"
        f"logs: {checkpoints.run_dir / 'metrics.csv'}, metrics.png, tensorboard/"
    )


def export_bundle(
    settings: AnySettings,
    engine: Engine,
    model: torch.nn.Module,
    corpus: Corpus,
    split: Split,
    checkpoints: CheckpointCallback,
) -> str:
    """Write the best epoch's model as a bundle, with thresholds from the validation windows, unless it is there.

    Return the line that names it. The main process does it alone, in float32, as recognition will compute, also after
    mixed precision.
    """
    best = checkpoint_file.load(checkpoints.folder / checkpoints.best[0]["file"])
    weights = best["model"]
    metadata = bundle.build_metadata(settings, corpus.classes, best["epoch"], best["metrics"], weights)
    path, scores_path = checkpoints.run_dir / bundle.NAME, checkpoints.run_dir / validation_scores.NAME
    digest = metadata["weights_sha256"]
    scores = validation_scores.load_if_by(scores_path, digest)
    if scores is None:
        model = engine.unwrap_model(model, keep_fp32_wrapper=False)
        model.load_state_dict(weights)
        windows = ValidationWindows([corpus.recordings[i] for i in split.valid], corpus.classes, settings)
        fold = split.folds[split.valid[0]]
        scores = validation_scores.score_windows(
            model, windows, corpus.classes, fold, digest, settings.batch_size, settings.workers
        )
        validation_scores.save(scores_path, scores, checkpoint_file.WRITE_ADVICE)
    if not bundle.has_metadata(path, metadata):
        thresholds = validation_scores.thresholds_to_json(validation_scores.fit_thresholds(scores))
        bundle.write(path, metadata, thresholds, weights, checkpoint_file.WRITE_ADVICE)
    return f"recogniser: {path}, that model in one file with its thresholds, for aer summary and aer predict"


def export_picture(run_dir: Path) -> None:
    """Draw the curves of the run's history into `metrics.png`."""
    write_whole(
        run_dir / "metrics.png", lambda file: plot_history(run_dir / HISTORY, file), checkpoint_file.WRITE_ADVICE
    )
