"""Reports what `aer prepare` made: `train_mod.csv` with the columns of the source, `prepare_report.csv`, a summary."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aer.corpus.layouts import AUDIO_FOLDERS
from aer.corpus.preparation.convert import Target
from aer.corpus.preparation.journal import ADVICE, Entry
from aer.corpus.preparation.sources import Source, Sources
from aer.utils.csv_files import csv_path, csv_text, write_csv
from aer.utils.systems import shell_command
from aer.utils.text import printable

CLIPS_FOLDER = AUDIO_FOLDERS[0]
CLIPS_CSV, REPORT = "train_mod.csv", "prepare_report.csv"
# share of samples beyond full scale from which a recording is named on the console: it may be scaled wrong
CLIPPED_SHARE = 0.05
# how many of the recordings left out are named on the console
MAX_NAMED = 5
# the columns that are added to those of the source's CSV; one of the same name there becomes source_<name>
ADDED = (
    "resampled_filename",
    "resampled_sampling_rate",
    "resampled_channels",
    "duration",
    "original_sampling_rate",
    "offset",
)


@dataclass(frozen=True)
class Places:
    """Where recordings are read from (`raw`, and the CSV that lists them) and the corpus is written to (`root`)."""

    raw: Path
    root: Path
    csv: Path | None

    @property
    def clips(self) -> Path:
        """The class folders of the corpus."""
        return self.root / CLIPS_FOLDER


@dataclass
class Outcome:
    """The outcome of a run of `aer prepare`.

    `entries` has every source that has its clips, by name, `left_out` the reason for every other, and `stale` the files
    in the clips' folders that no recording gives. `n_new` recordings were converted in this run's `duration_s`.
    """

    sources: Sources
    entries: dict[str, Entry]
    left_out: dict[str, str]
    stale: list[str]
    n_new: int
    duration_s: float


def write_tables(places: Places, outcome: Outcome, target: Target) -> None:
    """Write the corpus's CSV, unless it would be empty, and the report. Raise AerError where they can't be written."""
    kept = _kept_columns(outcome.sources.columns)
    rows = [
        {kept[column]: value for column, value in source.row.items()} | added
        for source in outcome.sources.found
        if source.name in outcome.entries
        for added in _added_columns(source, outcome.entries[source.name], target, outcome.sources.class_column)
    ]
    columns = [*kept.values(), *ADDED]
    if rows:
        write_csv(places.root / CLIPS_CSV, columns, [[row[column] for column in columns] for row in rows], ADVICE)
    notes = [(name, "left out", reason) for name, reason in outcome.left_out.items()]
    notes += [(name, "partial", entry.converted.reason) for name, entry in partial(outcome).items()]
    notes += [(name, "note", "; ".join(entry.converted.notes)) for name, entry in noted(outcome).items()]
    notes += [(name, "clipped", note) for name, entry in outcome.entries.items() if (note := _clipping(entry))]
    notes += [
        (name, "stale", "no recording that is there gives this clip: it is not in the CSV") for name in outcome.stale
    ]
    safe = [(csv_path(name), status, csv_text(reason)) for name, status, reason in sorted(notes)]
    write_csv(places.root / REPORT, ["file", "status", "reason"], safe, ADVICE)


def partial(outcome: Outcome) -> dict[str, Entry]:
    """Return those of the entries whose recordings can be heard only in part, by name."""
    return {name: entry for name, entry in outcome.entries.items() if entry.converted.reason}


def noted(outcome: Outcome) -> dict[str, Entry]:
    """Return those of the entries about whose recordings something is odd, by name."""
    return {name: entry for name, entry in outcome.entries.items() if entry.converted.notes}


def _kept_columns(columns: Sequence[str]) -> dict[str, str]:
    """Return a name for each of the source's columns; all differ, from the added ones too."""
    kept: dict[str, str] = {}
    for column in columns:
        name = column
        while name in ADDED or name in kept.values() or (name != column and name in columns):
            name = f"source_{name}"
        kept[column] = name
    return kept


def _added_columns(source: Source, entry: Entry, target: Target, class_column: str | None) -> list[dict[str, object]]:
    """Return the added columns of each clip of the source, with file names as `discovery` expects them."""
    folder = source.name.rpartition("/")[0]
    # below the folder of the class
    if class_column is not None:
        below = Path(os.path.relpath(folder, source.row[class_column])).as_posix()
        folder = "" if below == os.curdir else below
    return [
        {
            "resampled_filename": f"{folder}/{clip.name}" if folder else clip.name,
            "resampled_sampling_rate": target.sample_rate,
            "resampled_channels": 1,
            "duration": f"{clip.n_samples / target.sample_rate:.6f}",
            "original_sampling_rate": entry.converted.sample_rate,
            "offset": f"{clip.offset_s:.6f}",
        }
        for clip in entry.converted.clips
    ]


def _clipping(entry: Entry, least_share: float = 0.0) -> str:
    """Return the note on a recording with samples beyond full scale; "" if their share is below `least_share`, or 0."""
    n_clipped = sum(clip.n_clipped for clip in entry.converted.clips)
    share = n_clipped / sum(clip.n_samples for clip in entry.converted.clips)
    if not n_clipped or share < least_share:
        return ""
    return f"{n_clipped:,} samples ({share:.2%}) lay beyond full scale and were limited to it"


def summary(places: Places, outcome: Outcome, target: Target) -> str:
    """Return what a user should know of the outcome, in a few lines."""
    clips = [clip for entry in outcome.entries.values() for clip in entry.converted.clips]
    hours = sum(clip.n_samples for clip in clips) / target.sample_rate / 3600
    n_all, n_out = len(outcome.entries), len(outcome.left_out)
    cut = f" as {len(clips):,} clips" if target.segment_s is not None else ""
    now = f"{outcome.n_new:,} of them now, in {outcome.duration_s:.1f} s"
    lines = [
        f"{n_all:,} recordings are prepared{cut} ({hours:.2f} h at {target.sample_rate} Hz), {now}",
        f"  {printable(places.clips)}/  {printable(places.root / CLIPS_CSV)}",
    ]
    loud = [(name, note) for name, entry in outcome.entries.items() if (note := _clipping(entry, CLIPPED_SHARE))]
    broken = partial(outcome)
    notes = [f"{n_out:,} left out"] * bool(n_out)
    notes += [f"{len(broken):,} heard only in part"] * bool(broken)
    n_clipped = sum(any(clip.n_clipped for clip in entry.converted.clips) for entry in outcome.entries.values())
    notes += [f"{len(noted(outcome)):,} with notes"] * bool(noted(outcome))
    notes += [f"{n_clipped:,} louder than full scale"] * bool(n_clipped)
    notes += [f"{len(outcome.stale):,} files there that no recording gives"] * bool(outcome.stale)
    if notes:
        lines.append(f"{', '.join(notes)}: {printable(places.root / REPORT)} names them")
    lines += [f"  {printable(name)}: {printable(why)}" for name, why in list(outcome.left_out.items())[:MAX_NAMED]]
    lines += [f"  and {n_out - MAX_NAMED:,} more"] * (n_out > MAX_NAMED)
    lines += [
        f"  {printable(name)}: partial: {printable(entry.converted.reason)}"
        for name, entry in list(broken.items())[:MAX_NAMED]
    ]
    lines += [f"  and {len(broken) - MAX_NAMED:,} more"] * (len(broken) > MAX_NAMED)
    lines += [f"  {printable(name)}: {note}" for name, note in loud[:MAX_NAMED]]
    if n_out > n_all:
        lines.append("more was left out than prepared: look at the reasons before you train on the rest")
    command = ["python", "train_panns.py", "--corpus", printable(places.root), "--run-dir", "runs/NAME"]
    grouped = ["--group-by", "xc_id"] if target.segment_s is not None else []
    lines.append(f"next: {shell_command([*command, *grouped])}")
    return "\n".join(lines)
