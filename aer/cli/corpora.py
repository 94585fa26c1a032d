"""`aer sample`, `aer prepare` and `aer corpus`. The modules that do the work are imported by the commands."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from aer.cli.errors import check_above_zero, check_outputs, check_range, check_workers
from aer.cli.options import OneChannels, Processes, check_channels
from aer.corpus.sample import SAMPLE_CORPUS, SAMPLE_SEED
from aer.utils.channels import MIX


def sample(root: Annotated[Path, tyro.conf.Positional] = SAMPLE_CORPUS, seed: int = SAMPLE_SEED) -> None:
    """Makes the synthetic sample corpus.

    Args:
        root: folder to make; it must not be there yet
        seed: another seed gives another corpus
    """
    from aer.corpus.sample.make import make_sample_corpus

    print(make_sample_corpus(root, seed))


def prepare(
    source: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    csv: Path | None = None,
    sample_rate: int = 32_000,
    format: Literal["wav", "flac"] = "wav",
    trim_silence: Annotated[float | None, tyro.conf.arg(metavar="DB")] = None,
    segment: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    channels: OneChannels = MIX,
    workers: Processes = None,
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
    """
    from aer.corpus.preparation.convert import Target
    from aer.corpus.preparation.prepare import find_places
    from aer.corpus.preparation.prepare import prepare as prepare_corpus
    from aer.corpus.preparation.report import summary
    from aer.utils.systems import cores

    check_range({"--sample-rate": sample_rate}, 1000, 768_000)
    check_above_zero({"--trim-silence": trim_silence})
    check_channels(channels)
    check_workers(workers)
    # clips are named by their milliseconds
    check_range({"--segment": segment}, 0.01)
    target = Target(sample_rate, format, trim_silence, segment, channels)
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
    channels: OneChannels = MIX,
    workers: Processes = None,
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
    """
    from aer.corpus.discovery import find_corpus
    from aer.corpus.layouts import CORPUS_CSVS
    from aer.corpus.survey import survey
    from aer.corpus.survey_report import describe, write_details, write_plot
    from aer.settings import MAX_SEED
    from aer.utils.systems import cores

    check_range({"--n-folds": n_folds}, 2, MAX_SEED)
    check_range({"--fold-seed": fold_seed}, 0, MAX_SEED)
    check_channels(channels)
    check_workers(workers)
    outputs = {"--plot": (plot, ".png"), "--details": (details, ".csv")}
    check_outputs(outputs, [csv, *(path / name for name in CORPUS_CSVS)])
    listed = find_corpus(path, csv, group_by, channels=channels)
    found = survey(listed, n_folds, fold_seed, group_by is not None, workers or cores(), quick, channels)
    print(describe(found, path))
    if plot is not None:
        write_plot(found, plot)
    if details is not None:
        write_details(found, details)
