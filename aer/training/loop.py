"""Catalyst's runner with all that it is given: model, loaders, callbacks, loggers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from catalyst import dl

from aer.corpus.discovery import Corpus
from aer.corpus.folds import Split
from aer.settings import AnySettings
from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.training.callbacks.loggers import EpochLogger, ProgressCallback, TensorboardHistory
from aer.training.callbacks.metrics import F1Callback, MAPCallback, ValidationLossCallback
from aer.training.callbacks.steps import (
    BackwardCallback,
    EpochSeedCallback,
    LossCallback,
    MixupCallback,
    OptimizerCallback,
)
from aer.training.callbacks.unreadable import UnreadableCallback
from aer.training.datasets import EpochSampler, TrainClips, ValidationWindows
from aer.training.engine import Engine, Runner
from aer.training.loaders import build_loader
from aer.training.nonfinite import Blame


@dataclass(frozen=True)
class Learner:
    """What is trained, and with what."""

    model: torch.nn.Module
    criterion: torch.nn.Module
    output_key: str  # the model's output that the criterion reads
    optimizer: torch.optim.Optimizer
    schedulers: dict[str, torch.optim.lr_scheduler.LRScheduler]


def fit(
    runner: Runner,
    settings: AnySettings,
    engine: Engine,
    learner: Learner,
    corpus: Corpus,
    parts: Split,
    run_dir: Path,
) -> CheckpointCallback:
    """Catalyst's runner with everything that it is given."""
    train_set = TrainClips([corpus.recordings[i] for i in parts.train], corpus.classes, settings)
    valid_set = ValidationWindows([corpus.recordings[i] for i in parts.valid], corpus.classes, settings)
    sampler = EpochSampler(len(train_set), settings.seed)
    names = {
        "train": [str(recording.path) for recording in train_set.recordings],
        "valid": [str(recording.path) for recording in valid_set.recordings],
    }
    loss = LossCallback(learner.criterion, learner.output_key)
    unreadable = UnreadableCallback(names, run_dir, settings.max_unreadable_share)
    blame = Blame(run_dir, names, settings.learning_rate)
    optimizer_steps = OptimizerCallback(blame)
    checkpoints = CheckpointCallback(
        run_dir,
        _about(settings, corpus),
        settings.main_metric,
        settings.keep_best,
        settings.checkpoint_every_steps,
        sampler,
        {"loss": loss, "unreadable": unreadable, "optimizer": optimizer_steps},
    )
    pin_memory = engine.device.type == "cuda"
    runner.train(
        engine=engine,
        model=learner.model,
        criterion=learner.criterion,
        optimizer=learner.optimizer,
        scheduler=learner.schedulers or None,
        loaders={
            # the clips over after the last whole batch wait for another epoch, which draws its order anew
            "train": build_loader(
                train_set, settings.batch_size, settings.workers, pin_memory, sampler=sampler, drop_last=True
            ),
            "valid": build_loader(valid_set, settings.batch_size, settings.workers, pin_memory),
        },
        num_epochs=settings.epochs,
        seed=settings.seed,
        callbacks=[
            EpochSeedCallback(settings.seed, [train_set, sampler]),
            *_training_callbacks(settings, learner, blame, loss, optimizer_steps),
            *_measuring_callbacks(settings, learner, blame),
            unreadable,
            ProgressCallback(),
            checkpoints,
        ],
        loggers=_loggers(checkpoints) if engine.is_main_process else {},
    )
    return checkpoints


def _training_callbacks(
    settings: AnySettings, learner: Learner, blame: Blame, loss: LossCallback, optimizer_steps: OptimizerCallback
) -> list[dl.Callback]:
    """What happens in a training step, from mixup to the learning rate."""
    return [
        *([MixupCallback(settings.mixup.alpha)] if settings.mixup.on != "off" else []),
        loss,
        BackwardCallback(settings.clip_gradient_norm, blame),
        optimizer_steps,
        *_scheduler_callbacks(settings, learner.schedulers),
    ]


def _measuring_callbacks(settings: AnySettings, learner: Learner, blame: Blame) -> list[dl.Callback]:
    return [
        ValidationLossCallback(learner.criterion, learner.output_key, blame),
        F1Callback(settings.f1_threshold, settings.clip_score),
        MAPCallback(settings.clip_score),
    ]


def _about(settings: AnySettings, corpus: Corpus) -> dict[str, Any]:
    """What every checkpoint says of its model."""
    return {
        "model_kind": settings.model,
        "classes": list(corpus.classes),
        "settings": json.dumps(settings.model_dump(mode="json")),
    }


def _scheduler_callbacks(settings: AnySettings, schedulers: Iterable[str]) -> list[dl.SchedulerCallback]:
    """Always our own: Catalyst's runner does not recognise today's schedulers and would never step them."""
    callbacks = []
    if "warmup" in schedulers:
        callbacks.append(dl.SchedulerCallback(scheduler_key="warmup", mode="batch"))
    if "main" in schedulers:
        plateau = {"loader_key": "valid", "metric_key": settings.main_metric}
        watched = plateau if settings.scheduler == "ReduceLROnPlateau" else {}
        callbacks.append(dl.SchedulerCallback(scheduler_key="main", mode=settings.scheduler_step, **watched))
    return callbacks


def _loggers(checkpoints: CheckpointCallback) -> dict[str, Any]:
    return {"console": EpochLogger(checkpoints), "tensorboard": TensorboardHistory(checkpoints)}
