"""Finds the recordings of a corpus to train on, their labels and their lengths; `layouts` says how they may lie.

Training must not begin on less than its user has listed: what is missing or contradictory is refused. Only recordings
that can't be read are left out; those that are cut short are used as far as they are there.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from aer.audio.io import check_channel, probe
from aer.audio.sniff import could_be_audio
from aer.corpus.layouts import (
    AUDIO_FOLDERS,
    CORPUS_CSVS,
    FILENAME,
    FOLDER,
    NO_AUDIO,
    OUTSIDE,
    RESAMPLED,
    CsvListing,
    list_class_folders,
    parse_csv,
)
from aer.errors import AudioError, InputError
from aer.utils.channels import MIX, Channels
from aer.utils.csv_files import read_table
from aer.utils.progress import track
from aer.utils.text import printable, some

NEEDED_COLUMNS = f"path and labels, or ebird_code and {FILENAME} (or {RESAMPLED})"
# headers are read while the disk is waited for
PROBE_THREADS = 8
# recordings from which reading headers is worth a progress bar
PROGRESS_FROM = 2000


@dataclass(frozen=True)
class Recording:
    """One labelled recording; without labels, one in which nothing is to be found. `group`: its cell of `group_by`.

    `duration_s` is that of what is there; `cut` says what is missing behind it, "" where nothing is, and `notes`
    what is odd about its header.
    """

    path: Path
    labels: tuple[str, ...]
    duration_s: float
    sample_rate: int
    group: str | None = None
    cut: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """All recordings that can be used, in a fixed order, and the files that can't, with the reason.

    `background` is the label that stood for "nothing is to be found", if any recording had it.
    """

    recordings: tuple[Recording, ...]
    classes: tuple[str, ...]
    left_out: tuple[tuple[Path, str], ...]
    background: str | None = None

    @property
    def n_unlabelled(self) -> int:
        """Number of recordings in which nothing is to be found."""
        return sum(not recording.labels for recording in self.recordings)

    @property
    def cut_short(self) -> list[tuple[Path, str]]:
        """Those recordings that are used as far as they are there, with what is missing."""
        return [(recording.path, recording.cut) for recording in self.recordings if recording.cut]

    @property
    def unreadable(self) -> list[tuple[Path, str]]:
        """Those files left out that are recordings, with the reason."""
        return [(path, reason) for path, reason in self.left_out if reason not in (NO_AUDIO, FOLDER)]


@dataclass(frozen=True)
class _Listed:
    """A recording before its header is read."""

    path: Path
    labels: tuple[str, ...]
    group: str | None = None


def find_corpus(
    root: Path,
    csv: Path | None = None,
    group_by: str | None = None,
    background: str | None = None,
    channels: Channels = MIX,
) -> Corpus:
    """Return the corpus below `root`; labels come from `csv`, from a Birdcall CSV in it, or from its folders' names.

    `group_by` is the CSV's column of groups. `background` is the label of recordings in which nothing is to be found:
    it is no class, and they get no labels. Recordings without the channel that is to be heard can't be read.

    Raise InputError, in one line, for what is missing or contradictory, and where not one recording can be read. Those
    that can't be read are left out, with the reason. `check_classes` and `check_readable` judge what remains.
    """
    if csv is None:
        _check_folder(root)
    chosen = csv or next((root / name for name in CORPUS_CSVS if (root / name).is_file()), None)
    left_out: list[tuple[Path, str]] = []
    if chosen is not None:
        listed = _from_csv(root, chosen, group_by)
    elif group_by is not None:
        raise InputError(f"group_by {group_by!r} is a column of a CSV, and corpus {root} has class folders only")
    else:
        listed, left_out = _from_folders(root)
    found = background if any(background in entry.labels for entry in listed) else None
    if found is not None:
        listed = _without_label(listed, found)
    recordings, unreadable = _probe_all(listed, channels)
    if not recordings:
        path, reason = (unreadable or left_out)[0]
        raise InputError(
            f"no recording of corpus {root} can be read; the first: {printable(path)}: {printable(reason)}"
        )
    classes = tuple(sorted({label for recording in recordings for label in recording.labels}))
    return Corpus(tuple(recordings), classes, (*left_out, *unreadable), found)


def _without_label(listed: Sequence[_Listed], background: str) -> list[_Listed]:
    """Take the background's label off those that have it; raise InputError where one has another label too."""
    both = [entry.path for entry in listed if background in entry.labels and len(entry.labels) > 1]
    if both:
        raise InputError(
            f"{len(both)} recording(s) have the background's label {printable(background)} and others too: "
            f"{some(both)}; one in which something is to be found is no background"
        )
    return [replace(entry, labels=()) if background in entry.labels else entry for entry in listed]


def check_classes(corpus: Corpus) -> None:
    """Raise InputError where there are fewer than two classes: nothing to learn to tell apart."""
    if len(corpus.classes) < 2:
        named = f" ({printable(corpus.classes[0])})" if corpus.classes else ""
        raise InputError(f"the corpus has {len(corpus.classes)} class(es){named}; two are needed")


def most_unreadable(max_share: float, n_recordings: int) -> int:
    """Return how many of so many recordings may be unreadable: one alone never ends a run, unless the share is 0."""
    return max(1, int(max_share * n_recordings)) if max_share > 0 else 0


def check_readable(corpus: Corpus, max_share: float) -> None:
    """Raise InputError where a larger share of the recordings than `max_share` can't be read."""
    unreadable = corpus.unreadable
    n_listed = len(corpus.recordings) + len(unreadable)
    if len(unreadable) > most_unreadable(max_share, n_listed):
        raise InputError(
            f"{len(unreadable)} of {n_listed} recordings ({len(unreadable) / n_listed:.1%}) can't be read, more than "
            f"max_unreadable_share {max_share:g} lets pass: {some([path for path, _ in unreadable])} (the first: "
            f"{printable(unreadable[0][1])}); mend or remove them, or raise --max-unreadable-share"
        )


def _check_folder(root: Path) -> None:
    if not os.path.isdir(root):  # noqa: PTH112  # pathlib raises for a name that is too long
        what = "no folder" if os.path.lexists(root) else "not there"
        raise InputError(
            f"corpus {root} is {what}; name the folder that holds your recordings (for training: --corpus)"
        )


def _from_folders(root: Path) -> tuple[list[_Listed], list[tuple[Path, str]]]:
    """List a class per folder; other files in them are left out, with the reason."""
    base = next((root / name for name in AUDIO_FOLDERS if (root / name).is_dir()), root)
    folders = [folder for folder in list_class_folders(base) if folder.problem != OUTSIDE]
    if not folders:
        raise InputError(f"corpus {base} has no class folders and no {' or '.join(CORPUS_CSVS)}")
    listed, left_out = [], []
    for folder in folders:
        if folder.problem:
            raise InputError(folder.problem)
        reasons = {file: _why_not(file) for file in folder.files}
        if all(reasons.values()):
            raise InputError(f"class folder {printable(folder.path)} has no recordings: fill it or remove it")
        listed += [_Listed(file, (folder.path.name,)) for file, reason in reasons.items() if not reason]
        left_out += [(file, reason) for file, reason in reasons.items() if reason]
    return listed, left_out


def _why_not(file: Path) -> str:
    """Return why a file in a class folder is not a recording; "" for what should be one, as links to nowhere are."""
    if file.is_dir():
        return FOLDER
    return "" if could_be_audio(file) else NO_AUDIO


def _from_csv(root: Path, csv: Path, group_by: str | None) -> list[_Listed]:
    """List the rows of a Birdcall CSV, or of one with the columns `path` and `labels`; all files must be there."""
    table = read_table(csv)
    if group_by is not None and group_by not in table:
        known = ", ".join(map(printable, table))
        raise InputError(f"group_by: csv {csv} has no column {group_by!r}, it has {known}")
    listing = parse_csv(csv, table, (RESAMPLED, FILENAME), NEEDED_COLUMNS)
    groups = [None] * len(listing.names) if group_by is None else table[group_by]
    rows = zip(listing.paths(_base(root, listing)), listing.labels(), groups, strict=True)
    listed = [_Listed(path, labels, group) for path, labels, group in rows]
    missing = [entry.path for entry in listed if not os.path.isfile(entry.path)]  # noqa: PTH113  # pathlib raises
    if missing:
        windows = os.sep == "/" and any("\\" in str(path) for path in missing)
        raise InputError(
            f"csv {csv} lists {len(missing)} of {len(listed)} files that are not there: {some(missing)}"
            f"{'; write / for each backslash' if windows else ''}"
        )
    return listed


def _base(root: Path, listing: CsvListing) -> Path:
    """Return the folder that the names of a listing are below."""
    if listing.base is not None:
        return root / AUDIO_FOLDERS[0] if listing.file_column == RESAMPLED else listing.base
    _check_folder(root)
    folders = (*AUDIO_FOLDERS[:1] * (listing.file_column == RESAMPLED), *AUDIO_FOLDERS[1:])
    return next((root / name for name in folders if (root / name).is_dir()), root)


def _probe_all(listed: Sequence[_Listed], channels: Channels) -> tuple[list[Recording], list[tuple[Path, str]]]:
    """Read all headers, in threads; return the recordings in the same order, and those that can't be read, with why."""

    def read(entry: _Listed) -> Recording | tuple[Path, str]:
        try:
            info = probe(entry.path, allow_cut_short=True)
            check_channel(entry.path, info, channels)
        except AudioError as error:
            return entry.path, error.reason
        return Recording(entry.path, entry.labels, info.duration_s, info.sample_rate, entry.group, info.cut, info.notes)

    with ThreadPoolExecutor(PROBE_THREADS) as threads:
        is_long = len(listed) >= PROGRESS_FROM
        results = list(track(threads.map(read, listed), len(listed), "reading headers", shown=is_long))
    recordings = [result for result in results if isinstance(result, Recording)]
    return recordings, [result for result in results if not isinstance(result, Recording)]
