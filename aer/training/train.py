"""A run from settings to the best model: corpus, folds, model, then the loop, and what the run exports."""

import contextlib
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from catalyst.utils.misc import set_global_seed

from aer.corpus.discovery import Corpus, check_classes, check_readable, find_corpus
from aer.corpus.folds import Split, describe, split
from aer.corpus.sample import SAMPLE_CORPUS
from aer.corpus.sample.make import make_sample_corpus
from aer.errors import InputError
from aer.models.registry import BuildModel, without_pretrained
from aer.settings import AnySettings
from aer.training import checkpoint_file
from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.training.engine import Engine, Runner, build_engine
from aer.training.export import export_bundle, export_picture, run_summary
from aer.training.failures import explain_failures, explain_lost_process
from aer.training.folds_table import folds_csv, left_out_csv
from aer.training.loop import Learner, fit
from aer.training.losses import build_loss
from aer.training.optim import build_optimizer, build_schedulers
from aer.training.run_folder import check_resumable, choose_run_dir, harmless_changes, write_run
from aer.utils import lock
from aer.utils.text import near_matches, printable


def train(settings: AnySettings, build_model: BuildModel) -> CheckpointCallback:
    """Train a model, or resume the run in `settings.run_dir`, print the result and return the run's checkpoints.

    Raise InputError, before the run's folder is made, for whatever is wrong with the input.
    """
    engine = build_engine(settings)
    corpus, sides = _find_recordings(settings, engine)
    folds = folds_csv(corpus, sides)
    run_dir, resumes = _choose_run(settings, engine, folds)
    epoch_steps = len(sides.train) // _step_clips(settings, engine)
    learner = _build_learner(settings, build_model, corpus, epoch_steps, resumes)
    if settings.initial_weights is not None and not resumes:
        note = checkpoint_file.load_initial_weights(settings.initial_weights, learner.model, settings, corpus.classes)
        engine.print(note)
    main_lock = lock.held(run_dir) if engine.is_main_process else contextlib.nullcontext()
    runner = Runner()
    with explain_failures(runner, engine, settings, run_dir), explain_lost_process(engine), main_lock:
        if engine.is_main_process:
            _write_start(settings, run_dir, resumes, corpus, folds)
        engine.wait_for_everyone()
        checkpoints = fit(runner, settings, engine, learner, corpus, sides, run_dir)
        if engine.is_main_process:
            print(run_summary(settings, checkpoints, len(sides.valid)))
            print(export_bundle(settings, engine, learner.model, corpus, sides, checkpoints))
            # last: where the disk is full, it is missed least
            export_picture(run_dir)
    return checkpoints


def _find_recordings(settings: AnySettings, engine: Engine) -> tuple[Corpus, Split]:
    """Return the corpus, which is checked, and its two sides; make the sample corpus if it is asked for and missing."""
    wants_sample = settings.corpus == SAMPLE_CORPUS and settings.csv is None
    if wants_sample and engine.is_local_main_process and not SAMPLE_CORPUS.exists():
        engine.print(make_sample_corpus(SAMPLE_CORPUS))
    engine.wait_for_everyone()
    corpus = find_corpus(settings.corpus, settings.csv, settings.group_by, settings.background_class, settings.channels)
    if corpus.background != settings.background_class:
        name = settings.background_class or ""
        raise InputError(
            f"background_class: no recording has the label {printable(name)!r}{near_matches(name, corpus.classes)}"
        )
    check_readable(corpus, settings.max_unreadable_share)
    check_classes(corpus)
    if settings.loss_func == "CrossEntropy":
        _check_single_labels(corpus)
    sides = split(corpus, settings)
    if _step_clips(settings, engine) > len(sides.train):
        raise InputError(
            f"batch_size {settings.batch_size} x {engine.num_processes} process(es) is larger than the training set "
            f"of {len(sides.train)} clips: set --batch-size to {len(sides.train) // engine.num_processes} at most"
        )
    engine.print(describe(corpus, sides))
    return corpus, sides


def _check_single_labels(corpus: Corpus) -> None:
    """Raise InputError if a recording has another number of labels than one."""
    other = [recording.path for recording in corpus.recordings if len(recording.labels) != 1]
    if other:
        raise InputError(
            f"loss_func CrossEntropy takes one class per recording, and {len(other)} have none or several "
            f"({printable(other[0])}, ...): take BCEWithLogits"
        )


def _step_clips(settings: AnySettings, engine: Engine) -> int:
    """Return the clips in a step of all processes."""
    return settings.batch_size * int(engine.num_processes)


def _choose_run(settings: AnySettings, engine: Engine, folds: str) -> tuple[Path, bool]:
    """Return the run's folder and whether a run is resumed in it, as the main process finds it before it writes."""
    choice: list[Any] = [None]
    if engine.is_main_process:
        run_dir = choose_run_dir(settings)
        choice = [(run_dir, check_resumable(run_dir, settings, folds))]
    broadcast_object_list(choice)
    run_dir, resumes = choice[0]
    return run_dir, resumes


def _build_learner(
    settings: AnySettings, build_model: BuildModel, corpus: Corpus, epoch_steps: int, resumes: bool
) -> Learner:
    """Build model, loss, optimizer and schedulers. `epoch_steps`: steps of an epoch."""
    # the same first weights on every process
    set_global_seed(settings.seed)
    if resumes:
        # the checkpoint replaces all weights: those that the run began with may be gone by now
        settings = without_pretrained(settings)
    model = build_model(settings, len(corpus.classes))
    criterion, output_key = build_loss(settings.loss_func)
    optimizer = build_optimizer(settings, model)
    return Learner(model, criterion, output_key, optimizer, build_schedulers(settings, optimizer, epoch_steps))


def _write_start(settings: AnySettings, run_dir: Path, resumes: bool, corpus: Corpus, folds: str) -> None:
    """Write what a run's folder holds from the start, once it belongs to this process."""
    if check_resumable(run_dir, settings, folds) != resumes:
        raise InputError(f"another process has trained in {run_dir} meanwhile; the same command goes on with its run")
    if resumes:
        for line in harmless_changes(run_dir, settings):
            print(line)
    write_run(run_dir, settings, corpus.classes, folds, left_out_csv(corpus))
