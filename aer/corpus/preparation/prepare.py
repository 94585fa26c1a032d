"""Raw recordings -> the corpus that training reads: class folders of clips, `train_mod.csv` and a report.

    datasets/raw_train_audio/<class>/*  [datasets/train.csv]
    -> datasets/resampled_train_audio/<class>/*.wav, datasets/train_mod.csv, datasets/prepare_report.csv

It can be stopped at any moment and run again: clips get their names when they are whole, and the journal lists them.
"""

import functools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from aer.corpus.layouts import AUDIO_FOLDERS
from aer.corpus.preparation import journal, ownership
from aer.corpus.preparation.convert import Job, Target, convert
from aer.corpus.preparation.journal import ADVICE, Begun, Entry, Journal
from aer.corpus.preparation.ownership import clip_paths, files_below
from aer.corpus.preparation.report import CLIPS_CSV, CLIPS_FOLDER, REPORT, Outcome, Places, write_tables
from aer.corpus.preparation.sources import NO_RECORDINGS, Source, Sources, list_sources
from aer.errors import AerError, AudioError, InputError, StoppedError
from aer.utils import lock
from aer.utils.channels import MIX
from aer.utils.file_names import clip_stems
from aer.utils.parallel import map_files, start_early
from aer.utils.progress import ProgressBar
from aer.utils.text import printable

RAW_FOLDERS = AUDIO_FOLDERS[1:]
RAW_CSV, JOURNAL = "train.csv", ".aer_prepare.jsonl"
# to be increased when the same source and target would give other clips than before
RECIPE = 2


def find_places(source: Path, out: Path | None, csv: Path | None) -> Places:
    """Return where to read and write. `source` is the folder of raw class folders, or the one around it.

    Without `out` the corpus is made in the folder around raw_train_audio, or else in `<name>_prepared` beside `source`.
    Raise InputError where `source` is no such folder, or where the corpus would be among the recordings.
    """
    if not source.is_dir():
        raise InputError(f"{printable(source)} is {'no folder' if os.path.lexists(source) else 'not there'}")
    if (source / CLIPS_FOLDER).is_dir() and not any((source / name).is_dir() for name in RAW_FOLDERS):
        raise InputError(f"{printable(source)} is a corpus that is prepared; name the folder of the raw recordings")
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
    """Make the corpus, or what is missing of it, print what is being done, and return the outcome.

    Recordings that can't be used are left out, with the reason. Raise InputError for sources that can't be listed,
    AerError where nothing could be prepared or the corpus can't be written, StoppedError for Ctrl-C.
    """
    began = time.monotonic()
    start_early(convert.__module__)
    sources = list_sources(places.raw, places.csv)
    if not sources.found and all(reason == NO_RECORDINGS for _, reason in sources.skipped):
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
    """Make what is missing of the corpus, while this process holds the lock on its folder."""
    jobs = _jobs(places, sources.found)
    folders = {job.folder for job in jobs.values()}
    ownership.check_folders(places.clips, sources.found, folders)
    known = _known(places, sources.base)
    there = files_below(places.clips, folders)
    made = f"{RECIPE} {target.sample_rate} {target.format} {target.trim_silence_db} {target.segment_s}"
    if target.channels != MIX:
        made += f" {target.channels}"
    done = {
        source.name: known.valid[source.name]
        for source in sources.found
        if _is_done(places, known.valid.get(source.name), source, made, jobs[source.name].stem, there)
    }
    todo = [source for source in sources.found if source.name not in done]
    segmented = target.segment_s is not None
    begun = [Begun(source.name, jobs[source.name].stem, target.format, segmented) for source in todo]
    ownership.check_places(places.clips, begun, jobs, known, there)
    _make_folders(places, folders)
    raw = _relative(sources.base, places.root)
    if begun:
        journal.begin(places.root / JOURNAL, raw, begun)
        known.begun += begun
    already = f", {len(done):,} are done already" if done else ""
    print(f"{len(sources.found):,} recordings in {printable(places.raw)}{already}")
    fresh, left_out = _convert_all(places, todo, jobs, target, made, workers)
    entries = done | fresh
    if todo:
        there = files_below(places.clips, folders)
    stale = _remove_outdated(places, known, entries, there)
    outcome = Outcome(sources, entries, dict(sources.skipped) | left_out, stale, len(fresh), time.monotonic() - began)
    write_tables(places, outcome, target)
    gone = {entry.name: entry for entry in known.entries if entry.name not in entries}
    earlier = [entry for entry in known.entries if entry.name in gone and entry is not gone[entry.name]]
    journal.write(places.root / JOURNAL, raw, [*earlier, *gone.values(), *entries.values()])
    return outcome


def _remove_outdated(
    places: Places, known: Journal, entries: Mapping[str, Entry], there: Mapping[str, int]
) -> list[str]:
    """Remove clips that no recording gives any more; return the other files that are not clips of this corpus."""
    current = {path for entry in entries.values() for path in clip_paths(places.clips, entry)}
    others = {path for path in there.keys() - current if there[path] != ownership.NO_FILE}
    old = ownership.outdated(places.clips, known, entries, others)
    for path in old:
        Path(path).unlink(missing_ok=True)
    return sorted(Path(path).relative_to(places.clips).as_posix() for path in others - old)


def _known(places: Places, base: Path) -> Journal:
    """Read the journal; raise InputError if it is of other recordings, or if aer would replace tables of the user's."""
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
    """Return `base` relative to `root`, so that both can be moved together. A link keeps its own name."""
    real = os.path.realpath(base)
    if base.name not in ("", os.pardir):
        real = os.path.join(os.path.realpath(base.parent), base.name)  # noqa: PTH118
    try:
        return Path(os.path.relpath(real, os.path.realpath(root))).as_posix()
    # on another drive
    except ValueError:
        return Path(real).as_posix()


def _same_folder(one: Path, other: Path) -> bool:
    return one.is_dir() and one.samefile(other)


def _make_folders(places: Places, folders: set[Path]) -> None:
    try:
        for folder in folders | {places.clips}:
            folder.mkdir(parents=True, exist_ok=True)
            ownership.sweep(folder)
    except OSError as error:
        raise InputError(f"can't write to {printable(places.root)}: {error.strerror}; name another --out") from error


def _jobs(places: Places, sources: Sequence[Source]) -> dict[str, Job]:
    """Return what is to be converted, and to where, by the source's name."""
    stems = clip_stems([source.name for source in sources])
    # one Path for all the recordings of a folder
    folders = {name: places.clips / name for name in {journal.folder_of(source.name) for source in sources}}
    return {
        source.name: Job(source.path, folders[journal.folder_of(source.name)], stem)
        for source, stem in zip(sources, stems, strict=True)
    }


def _is_done(
    places: Places, entry: Entry | None, source: Source, made: str, stem: str, there: Mapping[str, int]
) -> bool:
    """Return whether the clips of the source as it is now are all there, under the names that they would get now."""
    if entry is None or not entry.is_of(source, stem, made):
        return False
    sizes = [clip.size_bytes for clip in entry.converted.clips]
    return [there.get(path) for path in clip_paths(places.clips, entry)] == sizes


def _convert_all(
    places: Places, todo: Sequence[Source], jobs: Mapping[str, Job], target: Target, made: str, workers: int
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Convert the sources; return the new entries by name, and why the others could not be converted."""
    entries: dict[str, Entry] = {}
    failed: dict[str, str] = {}
    source_of = {jobs[source.name]: source for source in todo}
    sizes = [source.size_bytes for source in todo]
    bar = ProgressBar(sum(sizes), "preparing", "B", scaled=True)
    results = map_files(functools.partial(convert, target), list(source_of), sizes, workers)
    try:
        with bar, (places.root / JOURNAL).open("ab") as file:
            for job, result in results:
                source = source_of[job]
                if isinstance(result, AudioError):
                    failed[source.name] = result.reason
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
            ownership.sweep(folder)
    return entries, {source.name: failed[source.name] for source in todo if source.name in failed}
