"""The command line: settings from a config module changed by options, errors as one line, and the `aer` command.

torch is imported by what the commands call, not here, so that `--help` answers at once.
"""

import argparse
import contextlib
import functools
import io
import itertools
import math
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
from pydantic import BaseModel, ValidationError

from aer.errors import AerError, InputError, StoppedError, stopped_status
from aer.settings import (
    MAX_SEED,
    SAMPLE_CORPUS,
    SAMPLE_SEED,
    AnySettings,
    PannsSettings,
    ResnestSettings,
    Settings,
    near_matches,
)
from aer.signals import sigterm_as_interrupt

OneKind = TypeVar("OneKind", bound=Settings)
CONFIG = Path("config.py")  # of `aer crossval`: in the folder where it is called


def run_command(work: Callable[[], None]) -> int:
    """Does the work and returns the exit status: 0, or that of the `AerError`, told in one line on stderr."""
    try:
        with sigterm_as_interrupt():
            work()
    except StoppedError as stopped:
        _say_stopped(str(stopped))
        return stopped.exit_status
    except AerError as error:
        # a loader's worker process puts its traceback before the message
        message = str(error).strip().splitlines()[-1]
        print(f"error: {message.removeprefix(f'{type(error).__module__}.{type(error).__name__}: ')}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # `--help | head`: who read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        return 1
    except KeyboardInterrupt as cause:
        _say_stopped("the same command starts again")
        return stopped_status(cause)
    return 0


def _say_stopped(how_to_go_on: str) -> None:
    # the terminal has put ^C where the cursor was
    print(f"{chr(10) if sys.stderr.isatty() else ''}stopped; {how_to_go_on}", file=sys.stderr)


def read_settings(kind: type[OneKind], name: str, default_config: Path, argv: Sequence[str] | None = None) -> OneKind:
    """The settings `name` of the config module, changed by the command line's options.

    `--config PATH` names another module than `default_config`. Raises InputError, with one line, for a module that
    can't be run or lacks the name, and for options that are unknown or out of range.
    """
    config_option = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    config_option.add_argument("--config", type=Path, default=default_config)
    try:
        config_option.exit_on_error = False
        chosen, options = config_option.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise InputError(f"--config: {error.message}") from error
    description = (
        f"{(kind.__doc__ or '').strip()}\n\nThe defaults are those of {chosen.config.name}; "
        "--config PATH names another config module. Each option below overrides one setting for this run."
    )
    return parse_options(kind, options, default=load_config(chosen.config, kind, name), description=description)


def load_config(path: Path, kind: type[OneKind], name: str) -> OneKind:
    """Runs the config module and returns its settings `name`; InputError when that can't be done."""
    if not path.is_file():
        raise InputError(f"config module {path} is not there; --config names another")
    try:
        values = runpy.run_path(str(path))
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, kind)}") from error
    except AerError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        lines: list[int | None] = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
        ]
        line = getattr(error, "lineno", None) or (lines or [None])[-1] or "?"
        raise InputError(f"{path}, line {line}: {type(error).__name__}: {error}") from error
    settings = values.get(name)
    if not isinstance(settings, kind):
        raise InputError(f"{path} must set {name} to {kind.__name__}(...), it is {type(settings).__name__}")
    return settings


def parse_options(kind: type[OneKind], options: Sequence[str], default: OneKind, description: str) -> OneKind:
    """The settings that the options make of the default ones; InputError, with one line, where they make none."""
    try:
        with one_line_errors():
            config = (tyro.conf.HelptextFromCommentsOff,)
            return tyro.cli(kind, args=options, default=default, description=description, config=config)
    except ValidationError as error:
        raise InputError(explain(error, kind)) from error


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Where tyro would print a box of several lines and exit: the ValidationError behind it, or InputError."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise  # --help was answered
        if isinstance(stop.__context__, ValidationError):
            raise stop.__context__ from None
        raise InputError(_unbox(box.getvalue())) from stop


def _unbox(box: str) -> str:
    """The message in the box of text that tyro prints, as one line with the near matches that it offers."""
    rows = [row.strip(" │") for row in box.splitlines()[1:-1]]
    message = " ".join(itertools.takewhile(lambda row: row.strip("─"), rows))
    near = (
        [row.split()[0] for row in rows[rows.index("Perhaps you meant:") :] if row.startswith("--")]
        if ("Perhaps you meant:" in rows)
        else []
    )
    return message + (f" (did you mean {' or '.join(near)}?)" if near else "") + "; --help lists all options"


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """A pydantic error as one line: the setting, what is wrong, the value, and near matches of a misspelt one."""
    return "; ".join(_explain_one(detail, kind) for detail in error.errors(include_url=False))


def _explain_one(detail: Any, kind: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    given = detail["input"]
    if detail["type"] == "extra_forbidden":
        *parents, name = detail["loc"]
        return f"there is no setting {where}{near_matches(str(name), _siblings(kind, parents))}"
    if detail["type"] == "missing":
        return f"setting {where} is missing"
    if detail["type"] == "value_error":  # written by aer.settings, which names the values
        message = str(detail["ctx"]["error"])
        return f"{where}: {message}" if where else message
    near = near_matches(given, detail.get("ctx", {}).get("expected", "").split("'")) if isinstance(given, str) else ""
    return f"{where}: {detail['msg'][:1].lower()}{detail['msg'][1:]}, it is {given!r}{near}"


def _siblings(kind: type[BaseModel], parents: Sequence[str]) -> Iterable[str]:
    """The names that a setting at this place can have: those of `kind`, or of the settings nested in it."""
    for parent in parents:
        nested = kind.model_fields[parent].annotation
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            return ()
        kind = nested
    return kind.model_fields


def sample(root: Annotated[Path, tyro.conf.Positional] = SAMPLE_CORPUS, seed: int = SAMPLE_SEED) -> None:
    """Makes the synthetic sample corpus.

    Args:
        root: folder to make; it must not be there yet
        seed: another seed gives another corpus
    """
    from aer.sample import make_sample_corpus

    print(make_sample_corpus(root, seed))


def prepare(
    source: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    csv: Path | None = None,
    sample_rate: int = 32_000,
    format: Literal["wav", "flac"] = "wav",
    trim_silence: Annotated[float | None, tyro.conf.arg(metavar="DB")] = None,
    segment: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    workers: int | None = None,
) -> None:
    """Turns raw recordings of any format into the corpus that training reads; can be stopped and run again.

    Args:
        source: folder with a folder of recordings per class (raw_train_audio), or the folder around it
        out: folder of the corpus; default: the one around raw_train_audio
        csv: CSV that lists the recordings; default: train.csv where there is one
        sample_rate: samples per second of the clips: the sample_rate that you train with
        format: of the clips, 16 bits in both; flac takes half of the room and reads slower
        trim_silence: cut off both ends what is so many decibels below the loudest 10 ms
        segment: cut longer recordings into clips of so many seconds around their energetic parts
        workers: processes; default: one per core
    """
    from aer.convert import Target
    from aer.parallel import cores
    from aer.prepare import find_places, summary
    from aer.prepare import prepare as prepare_corpus

    for option, value in {
        "sample-rate": sample_rate,
        "trim-silence": trim_silence,
        "segment": segment,
        "workers": workers,
    }.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{option} must be above 0, it is {value:g}")
    target = Target(sample_rate, format, trim_silence, segment)
    places = find_places(source, out, csv)
    print(summary(places, prepare_corpus(places, target, workers or cores()), target))


def corpus(
    path: Annotated[Path, tyro.conf.Positional],
    csv: Path | None = None,
    group_by: str | None = None,
    n_folds: int = 5,
    fold_seed: int = 42,
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None,
    details: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None,
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    workers: int | None = None,
) -> None:
    """Shows what is in a corpus: sizes, lengths, folds, duplicates, clipping and silence. Trains nothing.

    Args:
        path: folder of the corpus, as for training
        csv: CSV that lists the recordings; default: the corpus' own, or its class folders
        group_by: CSV column whose values never stand in two folds
        n_folds: number of folds
        fold_seed: seed of the assignment to folds
        plot: picture to draw: clips and minutes per class, durations
        details: CSV to write, a row per recording
        quick: read headers only: no duplicates, no levels
        workers: processes; default: one per core
    """
    from aer.corpus import BIRDCALL_CSVS, find_corpus
    from aer.parallel import cores
    from aer.survey import survey
    from aer.survey_report import check_outputs, describe, write_details, write_plot

    for option, value, least in (("n-folds", n_folds, 2), ("fold-seed", fold_seed, 0), ("workers", workers, 1)):
        if value is not None and not least <= value <= MAX_SEED:
            raise InputError(f"--{option} must be {least} or more, {MAX_SEED} at most, it is {value}")
    outputs = {"--plot": (plot, ".png"), "--details": (details, ".csv")}
    check_outputs(outputs, [csv, *(path / name for name in BIRDCALL_CSVS)])
    found = survey(
        find_corpus(path, csv, group_by), n_folds, fold_seed, group_by is not None, workers or cores(), quick
    )
    print(describe(found, path))
    if plot is not None:
        write_plot(found, plot)
    if details is not None:
        write_details(found, details)


def summary(bundle: Annotated[Path, tyro.conf.Positional]) -> None:
    """Says what is in a bundle (best.aer): model, front end, size, cost, metrics, thresholds.

    Args:
        bundle: the file that training has left in its run's folder
    """
    from aer.summary import summary as summary_of

    print(summary_of(bundle))


def crossval(
    model: Annotated[Literal["panns", "resnest"], tyro.conf.Positional],
    options: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
) -> None:
    """Trains a model per fold, each heard on the fold that it has not been trained on; can be stopped and run again.

    It goes into the folder --run-dir, or beside the run_dir of config.py: runs/panns-folds.

    Args:
        model: the one of config.py to train
        options: those of train_panns.py or train_resnest.py; `aer crossval panns --help` lists them
    """
    own = {option.replace("_", "-").partition("=")[0] for option in options}
    if "--fold" in own:
        raise InputError("crossval trains all folds: leave --fold out")
    settings: AnySettings = (
        read_settings(PannsSettings, model, CONFIG, options)
        if model == "panns"
        else read_settings(ResnestSettings, model, CONFIG, options)
    )
    if "--run-dir" not in own:  # that of the config module is a single run's
        settings = settings.model_copy(update={"run_dir": settings.run_dir.with_name(f"{settings.run_dir.name}-folds")})

    from aer.crossval import crossval as train_all_folds
    from aer.models.panns import build_panns
    from aer.models.resnest import build_resnest

    train_all_folds(settings, build_panns if model == "panns" else build_resnest)


def _bound(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The command with its arguments taken but not yet run, so that options are read before work begins."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(command, *args, **kwargs)

    return bind


def main() -> None:
    """The `aer` command."""
    app = tyro.extras.SubcommandApp()
    app.command(_bound(sample))
    app.command(_bound(prepare))
    app.command(_bound(corpus))
    app.command(_bound(summary))
    app.command(_bound(crossval))

    def work() -> None:
        match sys.argv[1:]:
            case ["crossval", "panns" | "resnest" as model, *options]:  # which are read with the config module
                crossval(model, tuple(options))
                return
        with one_line_errors():
            command = app.cli(prog="aer", description="Train and run audio-event recognisers.")
        command()

    sys.exit(run_command(work))
