"""What recognition found, as files below a folder, in the formats that people ask for.

    files.csv                       always: the status of each recording
    events.csv                      csv
    events.parquet, scores.parquet  parquet
    raven/<recording>.Table.1.selections.txt, audacity/<recording>.txt
    events.json                     json
    submission.csv                  kaggle
    embeddings.parquet              `write_embeddings`

Results are read recording by recording, once per file that is written. The same results give the same bytes.
A new format is its name in `formats`, a writer in `WRITERS`, and a test; docs/architecture.md lists all places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aer.errors import InputError
from aer.outputs import kaggle, parquet, tables
from aer.outputs.formats import FORMATS, Format
from aer.outputs.tables import AUDACITY_SUFFIX, FULL_BAND_HZ, RAVEN_SUFFIX, Results, make_folder, table_paths


@dataclass(frozen=True)
class Job:
    """What a writer of a format gets."""

    results: Results
    # of the recordings, in the order of the results
    names: Sequence[str]
    out: Path
    test_csv: Path | None
    # lower and upper end of what the model listens to
    band_hz: tuple[float, float]
    # called with lines that users should read
    say: Callable[[str], object]


def _write_csv(job: Job) -> list[Path]:
    path = job.out / "events.csv"
    tables.write_events_csv(job.results, path)
    return [path]


def _write_parquet(job: Job) -> list[Path]:
    events, scores = job.out / "events.parquet", job.out / "scores.parquet"
    parquet.write_events(job.results, events)
    parquet.write_scores(job.results, scores)
    return [events, scores]


def _write_raven(job: Job) -> list[Path]:
    paths = table_paths(job.out / "raven", job.names, RAVEN_SUFFIX)
    return tables.write_raven(job.results, paths, job.band_hz)


def _write_audacity(job: Job) -> list[Path]:
    return tables.write_audacity(job.results, table_paths(job.out / "audacity", job.names, AUDACITY_SUFFIX))


def _write_json(job: Job) -> list[Path]:
    path = job.out / "events.json"
    tables.write_json(job.results, path)
    return [path]


def _write_kaggle(job: Job) -> list[Path]:
    path = job.out / "submission.csv"
    kaggle.write_kaggle(job.results, kaggle.read_rows(_required(job.test_csv)), path, job.say)
    return [path]


# writes the files of a format and returns their paths
WRITERS: dict[Format, Callable[[Job], list[Path]]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
    "raven": _write_raven,
    "audacity": _write_audacity,
    "json": _write_json,
    "kaggle": _write_kaggle,
}


def check(
    chosen: Sequence[Format],
    test_csv: Path | None = None,
    embeddings: bool = False,
    classes: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> None:
    """Raise InputError for what would fail after hours of work.

    That is unknown formats, pyarrow or test.csv missing, classes that can't stand in an answer, and recordings
    (`names`) that test.csv does not ask for.
    """
    unknown = [name for name in chosen if name not in WRITERS]
    if unknown:
        raise InputError(f"unknown format {unknown[0]!r}: there are {', '.join(FORMATS)}")
    if "parquet" in chosen or embeddings:
        parquet.require_pyarrow()
    if "kaggle" in chosen:
        rows = kaggle.read_rows(_required(test_csv))
        kaggle.check_classes(classes)
        if names is not None:
            kaggle.match(rows, names)


def write(
    chosen: Sequence[Format],
    results: Results,
    out: Path,
    test_csv: Path | None = None,
    band_hz: tuple[float, float] = FULL_BAND_HZ,
    say: Callable[[str], object] = print,
) -> list[Path]:
    """Write files.csv and the `chosen` formats below `out`; return what was written, in that order.

    Raven's selections span `band_hz` (what the model listens to); `say` gets what users should know. Raise TypeError
    where `results` can't be iterated over again and again, InputError as `check` does, and AerError where `out` can't
    be written.
    """
    if iter(results) is results:
        raise TypeError("results can be read only once: a list, or an object with __iter__, is needed")
    check(chosen, test_csv)
    make_folder(out)
    files_csv = out / "files.csv"
    names = tables.write_files_csv(results, files_csv)
    job = Job(results, names, out, test_csv, band_hz, say)
    return [files_csv, *(path for name in dict.fromkeys(chosen) for path in WRITERS[name](job))]


def write_embeddings(results: Results, out: Path) -> Path:
    """Write embeddings.parquet below `out` (file, start_s, end_s, embedding of every window); return its path.

    Raise InputError where pyarrow is missing, and AerError where `out` can't be written.
    """
    parquet.require_pyarrow()
    make_folder(out)
    path = out / "embeddings.parquet"
    parquet.write_embeddings(results, path)
    return path


def _required(test_csv: Path | None) -> Path:
    if test_csv is None:
        raise InputError("--format kaggle answers a test.csv: name it with --test-csv")
    return test_csv
