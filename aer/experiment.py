"""A run from settings to the best model: corpus, folds, model, loaders, callbacks, and Catalyst's runner."""

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from catalyst import dl
from catalyst.utils.misc import set_global_seed
from torch.utils.data import DataLoader, Dataset

from aer import checkpoint, lock
from aer.blame import Blame
from aer.callbacks import (
    F1Callback,
    MAPCallback,
    ProgressCallback,
    UnreadableCallback,
    ValidationLossCallback,
)
from aer.corpus import Corpus, check_classes, check_readable, find_corpus
from aer.datasets import EpochSampler, TrainClips, ValidationWindows
from aer.engine import Engine, Runner, build_engine, told_how_to_go_on
from aer.errors import InputError
from aer.failures import told_in_one_line
from aer.folds import Split, describe, folds_csv, left_out_csv, split
from aer.leave import leave_bundle, leave_picture, summary
from aer.loggers import EpochLogger, TensorboardHistory
from aer.losses import build_loss
from aer.optim import build_optimizer, build_schedulers
from aer.runs import changes, check_may_go_on, choose_run_dir, write_run
from aer.sample import make_sample_corpus
from aer.sample_corpus import SAMPLE_CORPUS
from aer.settings import AnySettings, near_matches
from aer.signals import leave_ctrl_c_to_the_parent
from aer.state import CheckpointCallback
from aer.steps import BackwardCallback, EpochSeedCallback, LossCallback, MixupCallback, OptimizerCallback
from aer.text import printable

BuildModel = Callable[[Any, int], torch.nn.Module]  # from PannsSettings or ResnestSettings and the number of classes


@dataclass(frozen=True)
class Learner:
    """What is trained, and with what."""

    model: torch.nn.Module
    criterion: torch.nn.Module
    output_key: str  # the model's output that the criterion reads
    optimizer: torch.optim.Optimizer
    schedulers: dict[str, torch.optim.lr_scheduler.LRScheduler]


def train(settings: AnySettings, build_model: BuildModel) -> CheckpointCallback:
    """Trains a model, or goes on with the run in `settings.run_dir`, and prints what came out.

    Whatever can be wrong with the input is found, as InputError, before the run's folder is made.
    """
    engine = build_engine(settings)
    corpus, parts = _find_recordings(settings, engine)
    folds = folds_csv(corpus, parts)
    run_dir, goes_on = _plan(settings, engine, folds)
    epoch_steps = len(parts.train) // _step_clips(settings, engine)
    learner = _build_learner(settings, build_model, corpus, epoch_steps, goes_on)
    if settings.initial_weights is not None and not goes_on:
        taken = checkpoint.load_initial_weights(settings.initial_weights, learner.model, settings, corpus.classes)
        engine.print(taken)
    lock_of_main = lock.held(run_dir) if engine.is_main_process else contextlib.nullcontext()
    runner = Runner()
    with told_in_one_line(runner, engine, settings, run_dir), told_how_to_go_on(engine), lock_of_main:
        if engine.is_main_process:
            _begin(settings, run_dir, goes_on, corpus, folds)
        engine.wait_for_everyone()
        checkpoints = _fit(runner, settings, engine, learner, corpus, parts, run_dir)
        if engine.is_main_process:
            print(summary(settings, checkpoints, len(parts.valid)))
            print(leave_bundle(settings, engine, learner.model, corpus, parts, checkpoints))
            leave_picture(run_dir)  # last: where the disk is full, it is the one to be missed least
    return checkpoints


def _begin(settings: AnySettings, run_dir: Path, goes_on: bool, corpus: Corpus, folds: str) -> None:
    """Writes what a run's folder holds from the start, once it belongs to this process."""
    if check_may_go_on(run_dir, settings, folds) != goes_on:
        raise InputError(f"another process has trained in {run_dir} meanwhile; the same command goes on with its run")
    if goes_on:
        for line in changes(run_dir, settings):
            print(line)
    write_run(run_dir, settings, corpus.classes, folds, left_out_csv(corpus))


def _find_recordings(settings: AnySettings, engine: Engine) -> tuple[Corpus, Split]:
    """The corpus and who is held out; the sample corpus is made where it is missing."""
    wanted = settings.corpus == SAMPLE_CORPUS and settings.csv is None
    if wanted and engine.is_local_main_process and not SAMPLE_CORPUS.exists():
        engine.print(make_sample_corpus(SAMPLE_CORPUS))
    engine.wait_for_everyone()
    corpus = find_corpus(settings.corpus, settings.csv, settings.group_by, settings.background_class)
    if corpus.background != settings.background_class:
        name = settings.background_class or ""
        raise InputError(
            f"background_class: no recording has the label {printable(name)!r}{near_matches(name, corpus.classes)}"
        )
    check_readable(corpus, settings.max_unreadable_share)
    check_classes(corpus)
    if settings.loss_func == "CrossEntropy":
        _check_single_labels(corpus)
    parts = split(corpus, settings)
    if _step_clips(settings, engine) > len(parts.train):
        raise InputError(
            f"batch_size {settings.batch_size} x {engine.num_processes} process(es) is larger than the training set "
            f"of {len(parts.train)} clips: set --batch-size to {len(parts.train) // engine.num_processes} at most"
        )
    engine.print(describe(corpus, parts))
    return corpus, parts


def _check_single_labels(corpus: Corpus) -> None:
    other = [recording.path for recording in corpus.recordings if len(recording.labels) != 1]
    if other:
        raise InputError(
            f"loss_func CrossEntropy takes one class per recording, and {len(other)} have none or several "
            f"({printable(other[0])}, ...): take BCEWithLogits"
        )


def _step_clips(settings: AnySettings, engine: Engine) -> int:
    """Clips in a step of all processes."""
    return settings.batch_size * int(engine.num_processes)


def _plan(settings: AnySettings, engine: Engine, folds: str) -> tuple[Path, bool]:
    """The run's folder and whether a run goes on in it, as the main process finds them before it writes there."""
    plan: list[Any] = [None]
    if engine.is_main_process:
        run_dir = choose_run_dir(settings)
        plan = [(run_dir, check_may_go_on(run_dir, settings, folds))]
    broadcast_object_list(plan)
    run_dir, goes_on = plan[0]
    return run_dir, goes_on


def _build_learner(
    settings: AnySettings, build_model: BuildModel, corpus: Corpus, epoch_steps: int, goes_on: bool
) -> Learner:
    set_global_seed(settings.seed)  # the same first weights on every process
    if goes_on:  # the checkpoint replaces all weights: those that the run began with may be gone by now
        unneeded = {"pretrained_panns": None, "pretrained": False}.items()
        settings = settings.model_copy(update={name: off for name, off in unneeded if hasattr(settings, name)})
    model = build_model(settings, len(corpus.classes))
    criterion, output_key = build_loss(settings.loss_func)
    optimizer = build_optimizer(settings, model)
    return Learner(model, criterion, output_key, optimizer, build_schedulers(settings, optimizer, epoch_steps))


def _fit(
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
    runner.train(
        engine=engine,
        model=learner.model,
        criterion=learner.criterion,
        optimizer=learner.optimizer,
        scheduler=learner.schedulers or None,
        loaders={
            # the clips over after the last whole batch wait for another epoch, which draws its order anew
            "train": _loader(settings, engine, train_set, sampler=sampler, drop_last=True),
            "valid": _loader(settings, engine, valid_set),
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


def _loader(settings: AnySettings, engine: Engine, dataset: Dataset[Any], **arguments: Any) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        batch_size=settings.batch_size,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=engine.device.type == "cuda",
        worker_init_fn=leave_ctrl_c_to_the_parent,
        # its own: workers that live on draw their seed once, others every epoch, and the model's draws must not shift
        generator=torch.Generator(),
        **arguments,
    )


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
