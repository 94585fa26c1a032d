"""What recognition found, as files below a folder, in the formats that people ask for.

    files.csv                       always: what came of each recording
    events.csv                      csv
    events.parquet, scores.parquet  parquet
    raven/<recording>.Table.1.selections.txt, audacity/<recording>.txt
    events.json                     json
    submission.csv                  kaggle
    embeddings.parquet              `write_embeddings`

Results are read recording by recording, once per file that is written. The same results give the same bytes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from aer.errors import InputError
from aer.outputs import kaggle, parquet, tables
from aer.outputs.tables import AUDACITY_SUFFIX, FULL_BAND_HZ, RAVEN_SUFFIX, Results, make_folder, table_paths

FORMATS = ("csv", "parquet", "raven", "audacity", "json", "kaggle")


def check(
    chosen: Sequence[str],
    test_csv: Path | None = None,
    embeddings: bool = False,
    classes: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> None:
    """InputError for what would fail after hours of work.

    That is unknown formats, pyarrow or test.csv missing, odd classes, and recordings (`names`) that test.csv does not
    ask for.
    """
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise InputError(f"unknown format {unknown[0]!r}: there are {', '.join(FORMATS)}")
    if "parquet" in chosen or embeddings:
        parquet.require_pyarrow()
    if "kaggle" in chosen:
        rows = kaggle.read_rows(_named(test_csv))
        kaggle.check_classes(classes)
        if names is not None:
            kaggle.match(rows, names)


def write(
    chosen: Sequence[str],
    results: Results,
    out: Path,
    test_csv: Path | None = None,
    band_hz: tuple[float, float] = FULL_BAND_HZ,
    say: Callable[[str], object] = print,
) -> list[Path]:
    """Writes files.csv and the `chosen` formats below `out`, and gives what was written, in that order.

    Raven's selections span `band_hz` (what the model listens to); `say` gets what users should know. `results` must be
    iterable again and again. Raises InputError as `check` does, and AerError where `out` can't be written.
    """
    if iter(results) is results:
        raise TypeError("results can be read only once: a list, or an object with __iter__, is needed")
    check(chosen, test_csv)
    make_folder(out)
    written = [out / "files.csv"]
    names = tables.write_files_csv(results, written[0])
    for name in dict.fromkeys(chosen):
        if name == "csv":
            written.append(out / "events.csv")
            tables.write_events_csv(results, written[-1])
        elif name == "parquet":
            written += [out / "events.parquet", out / "scores.parquet"]
            parquet.write_events(results, written[-2])
            parquet.write_scores(results, written[-1])
        elif name == "raven":
            paths = table_paths(out / "raven", names, RAVEN_SUFFIX)
            written += tables.write_raven(results, paths, band_hz)
        elif name == "audacity":
            paths = table_paths(out / "audacity", names, AUDACITY_SUFFIX)
            written += tables.write_audacity(results, paths)
        elif name == "json":
            written.append(out / "events.json")
            tables.write_json(results, written[-1])
        else:
            written.append(out / "submission.csv")
            kaggle.write_kaggle(results, kaggle.read_rows(_named(test_csv)), written[-1], say)
    return written


def write_embeddings(results: Results, out: Path) -> Path:
    """embeddings.parquet below `out`: file, start_s, end_s, embedding of every window."""
    parquet.require_pyarrow()
    make_folder(out)
    path = out / "embeddings.parquet"
    parquet.write_embeddings(results, path)
    return path


def _named(test_csv: Path | None) -> Path:
    if test_csv is None:
        raise InputError("--format kaggle answers a test.csv: name it with --test-csv")
    return test_csv
