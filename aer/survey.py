"""What is in a corpus, without training: sizes, levels, the same audio twice. `aer corpus` prints it."""

import csv
import hashlib
import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from aer.audio import Waveform, open_stream
from aer.corpus import Corpus, Recording
from aer.errors import AudioError, InputError
from aer.files import write_whole
from aer.folds import assign_folds
from aer.parallel import map_files
from aer.text import as_bytes, csv_path, csv_text, printable

FULL_SCALE = 32767 / 32768  # the largest positive sample of 16 bits
CLIPPED_SAMPLES = 10  # at full scale, from which a recording counts as clipped
QUIET_DBFS = -60.0  # root mean square below which a recording counts as nearly silent
FEW = 5  # examples that are named
DETAILS = (
    *("path", "labels", "duration_s", "sample_rate", "fold"),
    *("peak_dbfs", "rms_dbfs", "full_scale_samples", "digest", "duplicate_of"),
)


@dataclass(frozen=True)
class Levels:
    """What one pass over a recording's samples shows."""

    digest: str  # equal for equal samples at an equal rate, whatever the file's format
    peak: float
    rms: float
    n_full_scale: int


@dataclass(frozen=True)
class Survey:
    """A corpus looked at. Lists follow `corpus.recordings`; None where a recording could not be decoded."""

    corpus: Corpus
    levels: tuple[Levels | None, ...]  # empty: only headers were read
    failed: tuple[tuple[Path, str], ...]
    folds: NDArray[np.int64] | None
    no_folds: str  # why there are none


def measure(blocks: Iterable[Waveform], sample_rate: int) -> Levels:
    """Levels of a recording in mono blocks (samples,)."""
    digest = hashlib.blake2b(str(sample_rate).encode(), digest_size=16)
    peak = squares = 0.0
    n_samples = n_full_scale = 0
    for block in blocks:
        digest.update(np.ascontiguousarray(block).tobytes())
        magnitudes = np.abs(block)
        peak = max(peak, float(magnitudes.max(initial=0)))
        n_full_scale += int(np.count_nonzero(magnitudes >= FULL_SCALE))
        squares += float(np.square(block, dtype=np.float64).sum())
        n_samples += len(block)
    return Levels(digest.hexdigest(), peak, math.sqrt(squares / max(1, n_samples)), n_full_scale)


def measure_file(path: Path) -> Levels:
    """Levels of a recording; AudioError where it can't be read."""
    with open_stream(path) as (info, blocks):
        return measure(blocks, info.sample_rate)


def dbfs(amplitude: float) -> float:
    """Decibels relative to full scale."""
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def duplicates(levels: Sequence[Levels | None]) -> list[list[int]]:
    """Places of recordings with the same samples, grouped, in order."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, level in enumerate(levels):
        if level is not None:
            groups[level.digest].append(place)
    return [group for group in groups.values() if len(group) > 1]


def survey(corpus: Corpus, grouped: bool, n_folds: int, fold_seed: int, quick: bool, workers: int) -> Survey:
    """Looks at every recording (`quick`: at its header only), and at the folds that training would make."""
    try:
        folds, no_folds = assign_folds(corpus, n_folds, fold_seed, grouped), ""
    except InputError as error:
        folds, no_folds = None, str(error)
    if quick:
        return Survey(corpus, (), (), folds, no_folds)
    paths = [recording.path for recording in corpus.recordings]
    sizes = [path.stat().st_size for path in paths]
    found: dict[Path, Levels | AudioError] = {}
    with tqdm(total=sum(sizes), unit="B", unit_scale=True, desc="listening", disable=None, leave=False) as bar:
        for path, result in map_files(measure_file, paths, sizes, workers):
            found[path] = result
            bar.update(path.stat().st_size)
    results = [found[path] for path in paths]
    levels = tuple(result if isinstance(result, Levels) else None for result in results)
    failed = tuple(
        (path, str(result).removeprefix(f"{printable(path)}: "))
        for path, result in zip(paths, results, strict=True)
        if isinstance(result, AudioError)
    )
    return Survey(corpus, levels, failed, folds, no_folds)


def describe(seen: Survey) -> str:
    """The survey as text for the console."""
    recordings = seen.corpus.recordings
    hours = sum(recording.duration_s for recording in recordings) / 3600
    lines = [f"{len(recordings):,} clips, {hours:.2f} hours, {len(seen.corpus.classes)} classes", ""]
    lines += _class_table(seen.corpus)
    rates = Counter(recording.sample_rate for recording in recordings)
    lines += ["", "sample rates: " + ", ".join(f"{rate} Hz ({count:,})" for rate, count in rates.most_common())]
    lines += _examples("left out", [f"{printable(path)}: {printable(why)}" for path, why in seen.corpus.left_out])
    lines += _examples("can't be decoded", [f"{printable(path)}: {printable(why)}" for path, why in seen.failed])
    if seen.levels:
        lines += _level_lines(seen)
        lines += _duplicate_lines(seen)
    return "\n".join(lines)


def per_class(corpus: Corpus) -> dict[str, list[float]]:
    """The durations of each class's recordings in seconds."""
    durations: dict[str, list[float]] = {name: [] for name in corpus.classes}
    for recording in corpus.recordings:
        for label in recording.labels:
            durations[label].append(recording.duration_s)
    return durations


def _class_table(corpus: Corpus) -> list[str]:
    rows: list[tuple[str, ...]] = [("class", "clips", "minutes", "shortest s", "median s", "longest s")]
    for name, durations in per_class(corpus).items():
        numbers = (sum(durations) / 60, min(durations), float(np.median(durations)), max(durations))
        rows.append((printable(name), f"{len(durations):,}", *(f"{number:.1f}" for number in numbers)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _examples(what: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - FEW:,} more"] if len(items) > FEW else []
    return [f"{what}: {len(items):,}", *(f"  {item}" for item in items[:FEW]), *more]


def _level_lines(seen: Survey) -> list[str]:
    pairs = [
        (recording, level)
        for recording, level in zip(seen.corpus.recordings, seen.levels, strict=True)
        if level is not None
    ]
    clipped = [
        f"{printable(recording.path)}: {level.n_full_scale:,} samples"
        for recording, level in pairs
        if level.n_full_scale >= CLIPPED_SAMPLES
    ]
    quiet = [
        f"{printable(recording.path)}: {dbfs(level.rms):.0f} dBFS"
        for recording, level in pairs
        if dbfs(level.rms) < QUIET_DBFS
    ]
    return [
        *_examples(f"clipped, with {CLIPPED_SAMPLES} samples or more at full scale", clipped),
        *_examples(f"nearly silent, below {QUIET_DBFS:g} dBFS", quiet),
    ]


def _duplicate_lines(seen: Survey) -> list[str]:
    recordings = seen.corpus.recordings
    groups = duplicates(seen.levels)
    lines = [seen.no_folds] if seen.no_folds else []
    if not groups:
        return [*lines, "no audio is there twice"]

    def told(some: Sequence[list[int]]) -> list[str]:
        return [" = ".join(_named(recordings[place]) for place in group) for group in some]

    across_classes = [group for group in groups if len({recordings[place].labels for place in group}) > 1]
    lines += _examples("the same audio more than once", told(groups))
    lines += _examples("  of these with different labels (one of them must be wrong)", told(across_classes))
    if seen.folds is not None:
        folds = seen.folds
        across_folds = [group for group in groups if len({int(folds[place]) for place in group}) > 1]
        lines += _examples("  of these in different folds (validation would hear what was learnt)", told(across_folds))
    return lines


def _named(recording: Recording) -> str:
    return f"{printable(recording.path)} ({', '.join(map(printable, recording.labels)) or 'no label'})"


def write_details(path: Path, seen: Survey) -> None:
    """A CSV with a row per recording."""
    first: Mapping[int, int] = {place: group[0] for group in duplicates(seen.levels) for place in group[1:]}
    recordings = seen.corpus.recordings
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(DETAILS)
    for place, recording in enumerate(recordings):
        level = seen.levels[place] if seen.levels else None
        known = (
            [f"{dbfs(level.peak):.2f}", f"{dbfs(level.rms):.2f}", level.n_full_scale, level.digest]
            if level
            else [""] * 4
        )
        twin = csv_path(recordings[first[place]].path) if place in first else ""
        fold = "" if seen.folds is None else int(seen.folds[place])
        labels = csv_text(";".join(recording.labels))
        head = [csv_path(recording.path), labels, f"{recording.duration_s:.6f}", recording.sample_rate, fold]
        writer.writerow([*head, *known, twin])
    content = as_bytes(text.getvalue())
    write_whole(path, lambda file: file.write(content), "name another file for --details")
