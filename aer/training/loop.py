"""Catalyst's runner with all that it is given: model, loaders, callbacks, loggers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from catalyst import dl
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader

from aer.corpus.discovery import Corpus
from aer.corpus.folds import Split
from aer.settings import AnySettings, MetricName
from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.training.callbacks.loggers import EpochLogger, ProgressCallback, TensorboardHistory
from aer.training.callbacks.metrics import F1Callback, MAPCallback, ValidationLossCallback
from aer.training.callbacks.steps import (
    BackwardCallback,
    EpochSeedCallback,
    HasEpoch,
    LossCallback,
    MixupCallback,
    OptimizerCallback,
)
from aer.training.callbacks.unreadable import UnreadableCallback
from aer.training.datasets import EpochSampler, TrainClips, ValidationWindows
from aer.training.engine import Engine, Runner
from aer.training.loaders import build_loader
from aer.training.nonfinite import NonfiniteReporter


@dataclass(frozen=True)
class Learner:
    """A model with its loss, optimizer and schedulers."""

    model: torch.nn.Module
    criterion: torch.nn.Module
    # the key of the model's output that the criterion reads
    output_key: str
    optimizer: torch.optim.Optimizer
    # "warmup" and "main", where the run has them
    schedulers: Mapping[str, LRScheduler]


@dataclass(frozen=True)
class LoopData:
    """The loaders of both sides, and what the callbacks must know of the data behind them."""

    train: DataLoader[Any]
    valid: DataLoader[Any]
    # the order of the training clips, from which a run is resumed within an epoch
    sampler: EpochSampler
    # all whose draws follow from the epoch, the sampler among them
    epoch_sources: Sequence[HasEpoch]
    # for "train" and "valid": the recordings' names, by the indices in `batch["clip"]`
    names: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class LoopOptions:
    """What a loop takes from the settings of a run; `Settings` explains each."""

    epochs: int
    seed: int
    # for messages: the optimizer has its own
    learning_rate: float
    main_metric: MetricName
    keep_best: int
    checkpoint_every_steps: int | None = None
    max_unreadable_share: float = 1.0
    clip_gradient_norm: float | None = None
    # of Beta(alpha, alpha); None: no mixup
    mixup_alpha: float | None = None
    scheduler_step: Literal["epoch", "batch"] = "epoch"
    f1_threshold: float = 0.5
    clip_score: Literal["mean", "max"] = "mean"

    @classmethod
    def of(cls, settings: AnySettings) -> "LoopOptions":
        """Return the options that the settings of a run ask for."""
        return cls(
            epochs=settings.epochs,
            seed=settings.seed,
            learning_rate=settings.learning_rate,
            main_metric=settings.main_metric,
            keep_best=settings.keep_best,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            max_unreadable_share=settings.max_unreadable_share,
            clip_gradient_norm=settings.clip_gradient_norm,
            mixup_alpha=settings.mixup.alpha if settings.mixup.on != "off" else None,
            scheduler_step=settings.scheduler_step,
            f1_threshold=settings.f1_threshold,
            clip_score=settings.clip_score,
        )


def fit(
    runner: Runner,
    settings: AnySettings,
    engine: Engine,
    learner: Learner,
    corpus: Corpus,
    split: Split,
    run_dir: Path,
) -> CheckpointCallback:
    """Train on one side of the split and validate on the other; return the callback that has the run's history."""
    data = build_data(settings, engine, corpus, split)
    metadata = {
        "model_kind": settings.model,
        "classes": list(corpus.classes),
        "settings": json.dumps(settings.model_dump(mode="json")),
    }
    return run_loop(runner, engine, learner, data, LoopOptions.of(settings), run_dir, metadata)


def build_data(settings: AnySettings, engine: Engine, corpus: Corpus, split: Split) -> LoopData:
    """Build the datasets and loaders of both sides of the split."""
    train_set = TrainClips([corpus.recordings[i] for i in split.train], corpus.classes, settings)
    valid_set = ValidationWindows([corpus.recordings[i] for i in split.valid], corpus.classes, settings)
    sampler = EpochSampler(len(train_set), settings.seed)
    pin_memory = engine.device.type == "cuda"
    return LoopData(
        # the clips that are left after the last whole batch wait for another epoch, which draws its order anew
        train=build_loader(
            train_set, settings.batch_size, settings.workers, pin_memory, sampler=sampler, drop_last=True
        ),
        valid=build_loader(valid_set, settings.batch_size, settings.workers, pin_memory),
        sampler=sampler,
        epoch_sources=[train_set, sampler],
        names={
            "train": [str(recording.path) for recording in train_set.recordings],
            "valid": [str(recording.path) for recording in valid_set.recordings],
        },
    )


def run_loop(
    runner: Runner,
    engine: Engine,
    learner: Learner,
    data: LoopData,
    options: LoopOptions,
    run_dir: Path,
    metadata: Mapping[str, Any],
    more_callbacks: Sequence[dl.Callback] = (),
) -> CheckpointCallback:
    """Train for `options.epochs`, or resume the run in `run_dir`; return the callback that has the run's history.

    `metadata`: plain values that every checkpoint carries (kind of model, classes, settings).
    """
    loss = LossCallback(learner.criterion, learner.output_key)
    unreadable = UnreadableCallback(data.names, run_dir, options.max_unreadable_share)
    reporter = NonfiniteReporter(run_dir, data.names, options.learning_rate)
    optimizer_steps = OptimizerCallback(reporter)
    checkpoints = CheckpointCallback(
        run_dir,
        metadata,
        options.main_metric,
        options.keep_best,
        options.checkpoint_every_steps,
        data.sampler,
        {"loss": loss, "unreadable": unreadable, "optimizer": optimizer_steps},
    )
    # Catalyst sorts them by their `order`, and keeps the sequence of those with the same one
    callbacks = [
        EpochSeedCallback(options.seed, data.epoch_sources),
        *([MixupCallback(options.mixup_alpha)] if options.mixup_alpha is not None else []),
        loss,
        BackwardCallback(options.clip_gradient_norm, reporter),
        optimizer_steps,
        *_scheduler_callbacks(learner.schedulers, options),
        *metric_callbacks(learner.criterion, learner.output_key, reporter, options),
        unreadable,
        ProgressCallback(),
        *more_callbacks,
        checkpoints,
    ]
    _start(runner, engine, learner, data, options, callbacks, _loggers(checkpoints) if engine.is_main_process else {})
    return checkpoints


def _start(
    runner: Runner,
    engine: Engine,
    learner: Learner,
    data: LoopData,
    options: LoopOptions,
    callbacks: list[dl.Callback],
    loggers: dict[str, Any],
) -> None:
    """Run Catalyst's loop from the first epoch, or the one that the checkpoint callback finds, to the last."""
    runner.train(
        engine=engine,
        model=learner.model,
        criterion=learner.criterion,
        optimizer=learner.optimizer,
        scheduler=dict(learner.schedulers) or None,
        loaders={"train": data.train, "valid": data.valid},
        num_epochs=options.epochs,
        seed=options.seed,
        callbacks=callbacks,
        loggers=loggers,
    )


def metric_callbacks(
    criterion: torch.nn.Module, output_key: str, reporter: NonfiniteReporter, options: LoopOptions
) -> list[dl.Callback]:
    """Build what measures a model on the validation loader: `loss`, `f1` and `map`, in this order."""
    return [
        ValidationLossCallback(criterion, output_key, reporter),
        F1Callback(options.f1_threshold, options.clip_score),
        MAPCallback(options.clip_score),
    ]


def _scheduler_callbacks(schedulers: Mapping[str, LRScheduler], options: LoopOptions) -> list[dl.SchedulerCallback]:
    """Build them here: Catalyst's runner does not recognise today's schedulers and would never step them."""
    callbacks = []
    if "warmup" in schedulers:
        callbacks.append(dl.SchedulerCallback(scheduler_key="warmup", mode="batch"))
    if "main" in schedulers:
        plateau = {"loader_key": "valid", "metric_key": options.main_metric}
        watched = plateau if isinstance(schedulers["main"], ReduceLROnPlateau) else {}
        callbacks.append(dl.SchedulerCallback(scheduler_key="main", mode=options.scheduler_step, **watched))
    return callbacks


def _loggers(checkpoints: CheckpointCallback) -> dict[str, Any]:
    return {"console": EpochLogger(checkpoints), "tensorboard": TensorboardHistory(checkpoints)}
