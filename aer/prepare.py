"""Raw recordings -> the corpus that training reads: class folders of clips, `train_mod.csv` and a report.

    datasets/raw_train_audio/<class>/*  [datasets/train.csv]
    -> datasets/resampled_train_audio/<class>/*.wav, datasets/train_mod.csv, datasets/prepare_report.csv

Can be stopped at any moment and run again: clips get their names when they are whole, and the journal knows them.
"""

import functools
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from aer import claims, journal, lock
from aer.claims import clip_paths, files_below
from aer.convert import Job, Target, convert
from aer.corpus import AUDIO_FOLDERS
from aer.errors import AerError, AudioError, InputError, StoppedError
from aer.files import write_csv
from aer.journal import ADVICE, Begun, Entry, Journal
from aer.parallel import map_files, start_early
from aer.sources import Source, Sources, clip_stems, list_sources
from aer.text import csv_path, csv_text, printable

CLIPS_FOLDER, *RAW_FOLDERS = AUDIO_FOLDERS
CLIPS_CSV, RAW_CSV, REPORT, JOURNAL = "train_mod.csv", "train.csv", "prepare_report.csv", ".aer_prepare.jsonl"
RECIPE = 2  # raised when the same source and target would give other clips than before
FEW = 5  # how many of the recordings left out are named on the console
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
    """Where recordings come from and the corpus goes to."""

    raw: Path
    root: Path
    csv: Path | None

    @property
    def clips(self) -> Path:
        """The class folders of the corpus."""
        return self.root / CLIPS_FOLDER


@dataclass
class Outcome:
    """What came of it."""

    sources: Sources
    entries: dict[str, Entry]  # of every source that has its clips
    left_out: dict[str, str]  # name: reason
    stale: list[str]  # files in the clips' folders that no recording gives
    n_new: int
    seconds: float


def find_places(source: Path, out: Path | None, csv: Path | None) -> Places:
    """`source` is the folder of raw class folders or the one around it; InputError where it is neither.

    Without `out` the corpus goes around a folder called raw_train_audio, and for any other to `<name>_prepared`.
    """
    if not source.is_dir():
        raise InputError(f"{printable(source)} is {'no folder' if os.path.lexists(source) else 'not there'}")
    raw = next((source / name for name in RAW_FOLDERS if (source / name).is_dir()), source)
    name = raw.absolute().name
    around = Path(os.path.normpath(raw / ".."))
    if name in RAW_FOLDERS:
        root, default_csv = around, around / RAW_CSV
    else:
        root, default_csv = around / f"{name}_prepared", raw / RAW_CSV
    places = Places(raw, out or root, csv or (default_csv if default_csv.is_file() else None))
    if places.clips.resolve().is_relative_to(raw.resolve()) or raw.resolve().is_relative_to(places.clips.resolve()):
        raise InputError(
            f"the corpus would go into {printable(places.clips)}, among the recordings; name another --out"
        )
    return places


def prepare(places: Places, target: Target, workers: int) -> Outcome:
    """Makes the corpus, or what of it is missing, and prints what it does.

    Recordings that can't be used are left out, with the reason. Raises InputError for sources that can't be listed,
    AerError where nothing could be prepared or the corpus can't be written, StoppedError for Ctrl-C.
    """
    began = time.monotonic()
    start_early(convert.__module__)
    sources = list_sources(places.raw, places.csv)
    if not sources.found and not sources.passed_by:
        raise InputError(f"{printable(places.raw)} has no recordings: it needs a folder of them for each class")
    with lock.held(places.root, "--out"):
        outcome = _make(places, sources, target, workers, began)
    if not outcome.entries:
        name, reason = next(iter(outcome.left_out.items()))
        raise AerError(
            f"none of the recordings in {printable(places.raw)} could be prepared; {printable(places.root / REPORT)} "
            f"has the reasons, the first: {printable(name)}: {printable(reason)}"
        )
    return outcome


def _make(places: Places, sources: Sources, target: Target, workers: int, began: float) -> Outcome:
    """What is missing of the corpus, in a folder that is this process's."""
    jobs = _jobs(places, sources.found)
    folders = {job.folder for job in jobs.values()}
    claims.check_folders(places.clips, sources.found, folders)
    known = _known(places, sources.base)
    there = files_below(places.clips, folders)
    made = f"{RECIPE} {target.sample_rate} {target.format} {target.trim_silence_db} {target.segment_s}"
    done = {
        source.name: known.valid[source.name]
        for source in sources.found
        if _is_done(places, known.valid.get(source.name), source, made, jobs[source.name].stem, there)
    }
    todo = [source for source in sources.found if source.name not in done]
    segmented = target.segment_s is not None
    begun = [Begun(source.name, jobs[source.name].stem, target.format, segmented) for source in todo]
    claims.check_places(places.clips, begun, jobs, known, there)
    _make_folders(places, folders)
    raw = _relative(sources.base, places.root)
    if begun:
        journal.begin(places.root / JOURNAL, raw, begun)
        known.begun += begun
    already = f", {len(done):,} are done already" if done else ""
    print(f"{len(sources.found):,} recordings in {printable(places.raw)}{already}")
    fresh, left_out = _convert_all(places, todo, jobs, target, made, workers)
    entries = done | fresh
    current = {path for entry in entries.values() for path in clip_paths(places.clips, entry)}
    if todo:
        there = files_below(places.clips, folders)
    others = {path for path in there.keys() - current if there[path] != claims.NO_FILE}
    old = claims.outdated(places.clips, known, entries, others)
    for path in old:
        Path(path).unlink(missing_ok=True)
    stale = sorted(Path(path).relative_to(places.clips).as_posix() for path in others - old)
    outcome = Outcome(sources, entries, dict(sources.passed_by) | left_out, stale, len(fresh), time.monotonic() - began)
    _write_tables(places, outcome, target)
    gone = {entry.name: entry for entry in known.lines if entry.name not in entries}
    earlier = [entry for entry in known.lines if entry.name in gone and entry is not gone[entry.name]]
    journal.write(places.root / JOURNAL, raw, [*earlier, *gone.values(), *entries.values()])
    return outcome


def _known(places: Places, base: Path) -> Journal:
    """The journal; InputError where it is of other recordings, or where tables would replace what is not aer's."""
    root = places.root
    if places.csv is not None:
        for name in (CLIPS_CSV, REPORT):
            if (root / name).exists() and (root / name).samefile(places.csv):
                raise InputError(f"--csv {printable(places.csv)} is written by this command; name a copy of it")
    known = journal.read(root / JOURNAL)
    if known is None:
        if os.path.lexists(root / CLIPS_CSV):
            raise InputError(
                f"{printable(root / CLIPS_CSV)} is there, and aer prepare has not made it: move it away, or name "
                "another --out"
            )
        return Journal()
    now = _relative(base, root)
    if known.raw not in (None, now) and not _same_folder(root / str(known.raw), base):
        raise InputError(
            f"{printable(root)} was made from {printable(str(known.raw))} (as seen from it), and this is "
            f"{printable(now)}; name another --out"
        )
    return known


def _relative(base: Path, root: Path) -> str:
    """`base` as seen from `root`, so that both can be moved together. A link by its own name, not where it leads."""
    real = os.path.realpath(base)
    if base.name not in ("", os.pardir):
        real = os.path.join(os.path.realpath(base.parent), base.name)  # noqa: PTH118
    try:
        return Path(os.path.relpath(real, os.path.realpath(root))).as_posix()
    except ValueError:  # another drive
        return Path(real).as_posix()


def _same_folder(one: Path, other: Path) -> bool:
    return one.is_dir() and one.samefile(other)


def _make_folders(places: Places, folders: set[Path]) -> None:
    try:
        for folder in folders | {places.clips}:
            folder.mkdir(parents=True, exist_ok=True)
            claims.sweep(folder)
    except OSError as error:
        raise InputError(f"can't write to {printable(places.root)}: {error.strerror}; name another --out") from error


def _jobs(places: Places, sources: Sequence[Source]) -> dict[str, Job]:
    stems = clip_stems([source.name for source in sources])
    names = {source.name: source.name.rpartition("/")[0] for source in sources}
    folders = {name: places.clips / name for name in names.values()}
    return {
        source.name: Job(source.path, folders[names[source.name]], stem)
        for source, stem in zip(sources, stems, strict=True)
    }


def _is_done(
    places: Places, entry: Entry | None, source: Source, made: str, stem: str, there: Mapping[str, int]
) -> bool:
    """Whether the clips of the source as it is now are all there, under the names that they would get now."""
    if entry is None or not entry.is_of(source, stem, made):
        return False
    sizes = [clip.size_bytes for clip in entry.converted.clips]
    return [there.get(path) for path in clip_paths(places.clips, entry)] == sizes


def _convert_all(
    places: Places, todo: Sequence[Source], jobs: Mapping[str, Job], target: Target, made: str, workers: int
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Converts the sources; gives the new entries by name, and the reasons of those that could not be converted."""
    entries: dict[str, Entry] = {}
    failed: dict[str, str] = {}
    source_of = {jobs[source.name]: source for source in todo}
    sizes = [source.size_bytes for source in todo]
    bar = tqdm(total=sum(sizes), unit="B", unit_scale=True, desc="preparing", disable=None, leave=False)
    results = map_files(functools.partial(convert, target), list(source_of), sizes, workers)
    try:
        with bar, (places.root / JOURNAL).open("ab") as file:
            for job, result in results:
                source = source_of[job]
                if isinstance(result, AudioError):
                    failed[source.name] = str(result).removeprefix(f"{printable(source.path)}: ")
                else:
                    entry = Entry(source.name, source.size_bytes, source.mtime_ns, job.stem, made, result)
                    journal.append(file, entry)
                    entries[source.name] = entry
                bar.set_postfix_str(f"{len(entries) + len(failed):,} of {len(todo):,}", refresh=False)
                bar.update(source.size_bytes)
    except OSError as error:
        raise AerError(f"can't write {printable(places.root / JOURNAL)}: {error.strerror}; {ADVICE}") from error
    except KeyboardInterrupt as cause:
        message = f"{len(entries):,} of {len(todo):,} recordings are done; the same command goes on"
        raise StoppedError(message, cause) from cause
    finally:
        results.close()
        for folder in {job.folder for job in jobs.values()}:
            claims.sweep(folder)
    return entries, {source.name: failed[source.name] for source in todo if source.name in failed}


def _write_tables(places: Places, outcome: Outcome, target: Target) -> None:
    kept = _kept_columns(outcome.sources.columns)
    rows = [
        {kept[column]: value for column, value in source.row.items()} | added
        for source in outcome.sources.found
        if source.name in outcome.entries
        for added in _added_columns(source, outcome.entries[source.name], target, outcome.sources.columns)
    ]
    columns = [*kept.values(), *ADDED]
    if rows:
        write_csv(places.root / CLIPS_CSV, columns, [[row[column] for column in columns] for row in rows], ADVICE)
    notes = [(name, "left out", reason) for name, reason in outcome.left_out.items()]
    notes += [(name, "clipped", note) for name, entry in outcome.entries.items() if (note := _clipping(entry))]
    notes += [
        (name, "stale", "no recording that is there gives this clip: it is not in the CSV") for name in outcome.stale
    ]
    safe = [(csv_path(name), status, csv_text(reason)) for name, status, reason in sorted(notes)]
    write_csv(places.root / REPORT, ["file", "status", "reason"], safe, ADVICE)


def _kept_columns(columns: Sequence[str]) -> dict[str, str]:
    """What the source's columns are called beside those that are added: all different."""
    kept: dict[str, str] = {}
    for column in columns:
        name = column
        while name in ADDED or name in kept.values() or (name != column and name in columns):
            name = f"source_{name}"
        kept[column] = name
    return kept


def _added_columns(source: Source, entry: Entry, target: Target, columns: Sequence[str]) -> list[dict[str, object]]:
    """A row's new columns, for each clip of the source; file names as the reading of a corpus wants them."""
    folder = source.name.rpartition("/")[0]
    if not {"path", "labels"} <= set(columns):  # below the folder of the class
        below = Path(os.path.relpath(folder, source.row["ebird_code"])).as_posix()
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


def _clipping(entry: Entry) -> str:
    n_clipped = sum(clip.n_clipped for clip in entry.converted.clips)
    n_samples = sum(clip.n_samples for clip in entry.converted.clips)
    share = n_clipped / n_samples
    return f"{n_clipped:,} samples ({share:.2%}) lay beyond full scale and were limited to it" if n_clipped else ""


def summary(places: Places, outcome: Outcome, target: Target) -> str:
    """What a user should know of it, in a few lines."""
    clips = [clip for entry in outcome.entries.values() for clip in entry.converted.clips]
    hours = sum(clip.n_samples for clip in clips) / target.sample_rate / 3600
    n_all, n_out = len(outcome.entries), len(outcome.left_out)
    cut = f" as {len(clips):,} clips" if target.segment_s is not None else ""
    now = f"{outcome.n_new:,} of them now, in {outcome.seconds:.1f} s"
    lines = [
        f"{n_all:,} recordings are prepared{cut} ({hours:.2f} h at {target.sample_rate} Hz), {now}",
        f"  {printable(places.clips)}/  {printable(places.root / CLIPS_CSV)}",
    ]
    notes = [f"{n_out:,} left out"] * bool(n_out)
    n_clipped = sum(any(clip.n_clipped for clip in entry.converted.clips) for entry in outcome.entries.values())
    notes += [f"{n_clipped:,} louder than full scale"] * bool(n_clipped)
    notes += [f"{len(outcome.stale):,} files there that no recording gives"] * bool(outcome.stale)
    if notes:
        lines.append(f"{', '.join(notes)}: {printable(places.root / REPORT)} names them")
    lines += [f"  {printable(name)}: {printable(why)}" for name, why in list(outcome.left_out.items())[:FEW]]
    lines += [f"  and {n_out - FEW:,} more"] * (n_out > FEW)
    if n_out > n_all:
        lines.append("more was left out than prepared: look at the reasons before you train on the rest")
    grouped = " --group-by xc_id" if target.segment_s is not None else ""
    lines.append(
        f"next: python train_panns.py --corpus {shlex.quote(printable(places.root))} --run-dir runs/NAME{grouped}"
    )
    return "\n".join(lines)
