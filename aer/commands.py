"""The `aer` command: its subcommands and their options. What does the work is imported when it is called.

So `--help` answers at once, and no command waits for what another one needs.
"""

import functools
import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from aer.cli import check_range, one_line_errors, run_command
from aer.errors import InputError
from aer.recognition import evaluate, predict
from aer.sample_corpus import SAMPLE_CORPUS, SAMPLE_SEED

CONFIG = Path("config.py")  # of `aer crossval`: in the folder where it is called


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
    from aer.prepare import find_places
    from aer.prepare import prepare as prepare_corpus
    from aer.prepared import summary

    for option, value in {
        "sample-rate": sample_rate,
        "trim-silence": trim_silence,
        "workers": workers,
    }.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{option} must be above 0, it is {value:g}")
    check_range({"--sample-rate": sample_rate}, 1000, 768_000)
    check_range({"--segment": segment}, 0.01, math.inf)  # clips are named by their milliseconds
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
    from aer.settings import MAX_SEED
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
    from aer.config_module import read_settings
    from aer.settings import AnySettings, PannsSettings, ResnestSettings

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
    app.command(_bound(predict))
    app.command(_bound(evaluate))

    def work() -> None:
        match sys.argv[1:]:
            case ["crossval", "panns" | "resnest" as model, *options]:  # which are read with the config module
                crossval(model, tuple(options))
                return
        repeated = [option for option, n in Counter(name.split("=")[0] for name in sys.argv).items() if n > 1]
        repeated = [option for option in repeated if option.startswith("--")]
        if repeated:  # the last one alone would count
            raise InputError(f"{repeated[0]} is given more than once: give it once, with all its values")
        with one_line_errors():
            command = app.cli(prog="aer", description="Train and run audio-event recognisers.")
        command()

    sys.exit(run_command(work))
