"""Events as other programs read them: CSV, Raven selection tables, Audacity label tracks, JSON.

Every writer takes the results of one recording after the other and keeps none of them, so memory stays bounded.
Names and labels come from outside: in CSVs they are cells that no program takes for a formula (see `csv_files`), in
tab-separated tables one printable cell, in JSON and Parquet valid UTF-8.
"""

import contextlib
import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, TextIO

from aer.audio.io import probe
from aer.errors import AerError, AudioError
from aer.inference.results import Event, FileResult, span
from aer.utils.csv_files import UnixLines, csv_path, csv_text
from aer.utils.file_names import clip_stems
from aer.utils.files import write_whole
from aer.utils.text import encodable, printable, valid_utf8

ADVICE = "make room, or name another folder with --out"
EVENT_COLUMNS = ("file", "start_s", "end_s", "label", "score", "probability")
FILE_COLUMNS = ("file", "status", "reason", "duration_s", "windows", "events")
RAVEN_SUFFIX, AUDACITY_SUFFIX = ".Table.1.selections.txt", ".txt"
RAVEN_COLUMNS = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin File", "Begin Path", "File Offset (s)", "Annotation", "Score", "Probability"),
)
FULL_BAND_HZ = (0.0, math.inf)
# the top of a selection in a recording whose header can't be read any more
UNKNOWN_NYQUIST_HZ = 24000.0
# of seconds and scores: a microsecond is less than a sample
DECIMALS = 6

# can be iterated over again and again
Results = Iterable[FileResult]


def write_events_csv(results: Results, path: Path) -> None:
    """Write a row per event: EVENT_COLUMNS. A probability that is not known is an empty cell."""
    rows = (
        [csv_path(result.name), *_times(result, event), csv_text(encodable(event.label)), *_numbers(event)]
        for result in results
        for event in result.events
    )
    write_rows(path, EVENT_COLUMNS, rows)


def write_files_csv(results: Results, path: Path) -> list[str]:
    """Write a row per recording, whatever came of it: FILE_COLUMNS. Return the names.

    Raise ValueError where two are the same.
    """
    names: list[str] = []

    def rows() -> Iterator[Sequence[object]]:
        for result in results:
            names.append(result.name)
            counts = [round(float(result.duration_s), DECIMALS), len(result.starts_s), len(result.events)]
            yield [csv_path(result.name), result.status, csv_text(encodable(result.reason)), *counts]

    write_rows(path, FILE_COLUMNS, rows())
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"two results have the same name: {repeated[:3]}")
    return names


def write_raven(results: Results, tables: dict[str, Path], band_hz: tuple[float, float] = FULL_BAND_HZ) -> list[Path]:
    """Write a selection table per recording that was read, at its path in `tables`; return the paths written.

    One without events has its header. Selections reach from the lower to the upper end of `band_hz`, at most to half
    the recording's sample rate.
    """
    written = []
    for result in _readable(results):
        low_hz, high_hz = _band_of(band_hz, result)
        source = Path(os.path.abspath(result.path))  # noqa: PTH100 - Raven finds the sound by it; links stay
        rows = [
            (
                *(number, "Spectrogram 1", 1, *_times_text(result, event), f"{low_hz:.1f}", f"{high_hz:.1f}"),
                *(_cell(source.name), _cell(os.fspath(source)), _times_text(result, event)[0], _cell(event.label)),
                *_numbers(event),
            )
            for number, event in enumerate(result.events, start=1)
        ]
        written.append(tables[result.name])
        _write_tabs(written[-1], [RAVEN_COLUMNS, *rows])
    return written


def write_audacity(results: Results, tables: dict[str, Path]) -> list[Path]:
    """Write a label track per recording that was read, as Audacity imports it: start, end, label. Return the paths."""
    written = []
    for result in _readable(results):
        written.append(tables[result.name])
        _write_tabs(written[-1], [(*_times_text(result, event), _cell(event.label)) for event in result.events])
    return written


def write_json(results: Results, path: Path) -> None:
    """Write one document: {"format": 1, "recordings": [...]}, a recording with its events on each line."""

    def write(file: TextIO) -> None:
        file.write('{"format": 1, "recordings": [')
        for number, result in enumerate(results):
            file.write(",\n" if number else "\n")
            json.dump(_document(result), file, ensure_ascii=False, allow_nan=False)
        file.write("\n]}\n")

    write_text(path, write)


def table_paths(folder: Path, names: Sequence[str], suffix: str) -> dict[str, Path]:
    """Return a file below `folder` for each recording, in the same subfolder; `a.wav` and `a.mp3` are kept apart.

    Raise ValueError for a name that leads out of the folder.
    """
    paths = {}
    for name, stem in zip(names, clip_stems(names), strict=True):
        inner = PurePosixPath(name).parent
        if inner.is_absolute() or ".." in inner.parts:
            raise ValueError(f"{name!r} leads out of the output folder")
        paths[name] = folder / inner / f"{stem}{suffix}"
    folders = {parent for path in paths.values() for parent in path.parents}
    taken = folders | set(paths.values())
    for name, path in paths.items():
        # `x.wav` beside a folder `x.txt`
        while path in folders or (path != paths[name] and path in taken):
            path = path.with_name(f"_{path.name}")
        paths[name] = path
        taken.add(path)
    return paths


def make_folder(folder: Path) -> None:
    """Make the folder and those above it. Raise AerError where that can't be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AerError(f"can't make the folder {printable(folder)}: {error.strerror}; {ADVICE}") from error


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV, row by row, that is whole or absent. Raise AerError where it can't be written."""

    def write(file: TextIO) -> None:
        writer = csv.writer(UnixLines(file), lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows(rows)

    write_text(path, write)


def write_text(path: Path, write: Callable[[TextIO], object]) -> None:
    """Write a text file that is whole or absent; bytes of names that are not UTF-8 stay as they are."""

    def encoded(file: IO[bytes]) -> None:
        with _text(file) as text:
            write(text)

    write_whole(path, encoded, ADVICE)


def _readable(results: Results) -> Iterator[FileResult]:
    """Return the results of recordings that were read, at least in part."""
    return (result for result in results if result.status in ("ok", "partial"))


@contextlib.contextmanager
def _text(file: IO[bytes]) -> Iterator[TextIO]:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        # flushes; the file is its owner's to close
        text.detach()


def _write_tabs(path: Path, rows: Iterable[Sequence[object]]) -> None:
    make_folder(path.parent)
    write_text(path, lambda file: file.writelines("\t".join(map(str, row)) + "\n" for row in rows))


def _cell(text: str) -> str:
    """Return text as one cell of a tab-separated table. These have no quoting, but some readers take `"` for it."""
    return csv_text(printable(text).replace('"', "'"))


def _times(result: FileResult, event: Event) -> tuple[float, float]:
    """Return start and end in s as numbers."""
    start_s, end_s = span(result, event)
    return round(start_s, DECIMALS), round(end_s, DECIMALS)


def _times_text(result: FileResult, event: Event) -> tuple[str, str]:
    """Return start and end in s as text, never with an exponent."""
    start_s, end_s = span(result, event)
    return f"{start_s:.{DECIMALS}f}", f"{end_s:.{DECIMALS}f}"


def _numbers(event: Event) -> tuple[float, float | str]:
    """Return score and probability, rounded; an empty cell for a probability that is not known."""
    probability = "" if event.probability is None else round(float(event.probability), DECIMALS)
    return round(float(event.score), DECIMALS), probability


def _band_of(band_hz: tuple[float, float], result: FileResult) -> tuple[float, float]:
    """Return the band in Hz, limited to half the recording's sample rate."""
    try:
        nyquist_hz = probe(Path(result.path), allow_cut_short=True).sample_rate / 2
    except AudioError:
        # gone since it was recognised
        nyquist_hz = UNKNOWN_NYQUIST_HZ
    return min(band_hz[0], nyquist_hz), min(band_hz[1], nyquist_hz)


def _document(result: FileResult) -> dict[str, object]:
    events = []
    for event in result.events:
        (start_s, end_s), (score, probability) = _times(result, event), _numbers(event)
        known = {"start_s": start_s, "end_s": end_s, "label": valid_utf8(event.label), "score": score}
        events.append(known | {"probability": None if probability == "" else probability})
    return {
        "file": valid_utf8(result.name),
        "status": result.status,
        "reason": valid_utf8(result.reason),
        "duration_s": round(float(result.duration_s), DECIMALS),
        "windows": len(result.starts_s),
        "events": events,
    }
