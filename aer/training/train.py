"""A run from settings to the best model: corpus, folds, model, loaders, callbacks, and Catalyst's runner."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from catalyst.utils.misc import set_global_seed

from aer.corpus.discovery import Corpus, check_classes, check_readable, find_corpus
from aer.corpus.folds import Split, describe, split
from aer.corpus.sample import SAMPLE_CORPUS
from aer.corpus.sample.make import make_sample_corpus
from aer.errors import InputError
from aer.settings import AnySettings
from aer.training import checkpoint_file
from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.training.engine import Engine, Runner, build_engine
from aer.training.export import leave_bundle, leave_picture, summary
from aer.training.failures import told_how_to_go_on, told_in_one_line
from aer.training.folds_table import folds_csv, left_out_csv
from aer.training.loop import Learner, fit
from aer.training.losses import build_loss
from aer.training.optim import build_optimizer, build_schedulers
from aer.training.run_folder import changes, check_may_go_on, choose_run_dir, write_run
from aer.utils import lock
from aer.utils.text import near_matches, printable

BuildModel = Callable[[Any, int], torch.nn.Module]  # from PannsSettings or ResnestSettings and the number of classes


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
        taken = checkpoint_file.load_initial_weights(settings.initial_weights, learner.model, settings, corpus.classes)
        engine.print(taken)
    lock_of_main = lock.held(run_dir) if engine.is_main_process else contextlib.nullcontext()
    runner = Runner()
    with told_in_one_line(runner, engine, settings, run_dir), told_how_to_go_on(engine), lock_of_main:
        if engine.is_main_process:
            _begin(settings, run_dir, goes_on, corpus, folds)
        engine.wait_for_everyone()
        checkpoints = fit(runner, settings, engine, learner, corpus, parts, run_dir)
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
