"""Finds the recordings of a corpus, their labels and their lengths.

Three layouts: class folders; the Birdcall CSV beside its class folders; a CSV of `path,labels`.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from aer.audio.info import SUFFIXES
from aer.audio.io import probe
from aer.corpus.csv_paths import check_distinct, check_plain, inside
from aer.errors import AudioError, InputError
from aer.utils.csv_files import read_table
from aer.utils.progress import track
from aer.utils.text import printable, some

# where class folders stand below a corpus, the first that is there
AUDIO_FOLDERS = ("resampled_train_audio", "raw_train_audio", "train_audio")
# name of a CSV in a corpus: the column with the file names in it, and the folder that they are in
BIRDCALL_CSVS = {
    "train_mod.csv": ("resampled_filename", "resampled_train_audio"),
    "train.csv": ("filename", "raw_train_audio"),
}
# why something is left out that nobody takes for a recording
NO_AUDIO = "no audio file by its name"
FOLDER = "is a folder; recordings stand directly in the folder of their class"
PROBE_THREADS = 8  # headers are read while the disk is waited for
PROGRESS_FROM = 2000  # recordings from which reading headers is worth a progress bar


@dataclass(frozen=True)
class Recording:
    """One labelled recording."""

    path: Path
    labels: tuple[str, ...]  # none: nothing is to be found in it
    duration_s: float
    sample_rate: int
    group: str | None = None  # its value of `group_by`


@dataclass(frozen=True)
class Corpus:
    """All recordings that can be used, in a fixed order, and those that can't, with the reason."""

    recordings: tuple[Recording, ...]
    classes: tuple[str, ...]
    left_out: tuple[tuple[Path, str], ...]
    background: str | None = None  # the label that stood for "nothing is to be found", if any recording had it

    @property
    def n_unlabelled(self) -> int:
        """Recordings in which nothing is to be found."""
        return sum(not recording.labels for recording in self.recordings)

    @property
    def unreadable(self) -> list[tuple[Path, str]]:
        """Of those left out, the ones that are recordings."""
        return [(path, reason) for path, reason in self.left_out if reason not in (NO_AUDIO, FOLDER)]


@dataclass(frozen=True)
class _Listed:
    """A recording before its header is read."""

    path: Path
    labels: tuple[str, ...]
    group: str | None = None


def find_corpus(
    root: Path, csv: Path | None = None, group_by: str | None = None, background: str | None = None
) -> Corpus:
    """The corpus below `root`; labels come from `csv`, from a Birdcall CSV in it, or from the names of its folders.

    `background` is the label of recordings in which nothing is to be found: they have no labels, it is no class.

    Raises InputError, in one line, for what is missing or contradictory. Recordings that can't be read are left out,
    with the reason; if that is all of them, it is an error too. How many classes there are is for `check_classes`.
    """
    if csv is None:
        _check_folder(root)
    chosen = csv or next((root / name for name in BIRDCALL_CSVS if (root / name).is_file()), None)
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
    recordings, unreadable = _probe_all(listed)
    if not recordings:
        path, reason = (unreadable or left_out)[0]
        raise InputError(
            f"no recording of corpus {root} can be read; the first: {printable(path)}: {printable(reason)}"
        )
    classes = tuple(sorted({label for recording in recordings for label in recording.labels}))
    return Corpus(tuple(recordings), classes, (*left_out, *unreadable), found)


def _without_label(listed: Sequence[_Listed], background: str) -> list[_Listed]:
    """Those with the background's label have none; InputError where one has another label too."""
    both = [entry.path for entry in listed if background in entry.labels and len(entry.labels) > 1]
    if both:
        raise InputError(
            f"{len(both)} recording(s) have the background's label {printable(background)} and others too: "
            f"{some(both)}; one in which something is to be found is no background"
        )
    return [replace(entry, labels=()) if background in entry.labels else entry for entry in listed]


def check_classes(corpus: Corpus) -> None:
    """InputError where there are too few classes to learn to tell them apart."""
    if len(corpus.classes) < 2:
        named = f" ({printable(corpus.classes[0])})" if corpus.classes else ""
        raise InputError(f"the corpus has {len(corpus.classes)} class(es){named}; two are needed")


def most_unreadable(max_share: float, n_recordings: int) -> int:
    """How many unreadable ones of so many recordings a run bears: one alone never ends it, unless the share is 0."""
    return max(1, int(max_share * n_recordings)) if max_share > 0 else 0


def check_readable(corpus: Corpus, max_share: float) -> None:
    """InputError where more recordings can't be read than a run bears."""
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
    """A class per folder; other files in them are left out."""
    base = next((root / name for name in AUDIO_FOLDERS if (root / name).is_dir()), root)
    folders = [entry for entry in _entries(base) if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise InputError(f"corpus {base} has no class folders and no {' or '.join(BIRDCALL_CSVS)}")
    listed, left_out = [], []
    for folder in folders:
        files = [entry for entry in _entries(folder) if not entry.name.startswith(".")]
        reasons = {file: _why_not(file) for file in files}
        if all(reasons.values()):
            raise InputError(f"class folder {printable(folder)} has no recordings: fill it or remove it")
        listed += [_Listed(file, (folder.name,)) for file, reason in reasons.items() if not reason]
        left_out += [(file, reason) for file, reason in reasons.items() if reason]
    return listed, left_out


def _why_not(file: Path) -> str:
    """Why something in a class folder is no recording, "" for all that should be one: links to nowhere are."""
    if file.is_dir():
        return FOLDER
    return "" if file.suffix.lower() in SUFFIXES else NO_AUDIO


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"folder {printable(folder)} can't be read: {error.strerror}") from error


def _from_csv(root: Path, csv: Path, group_by: str | None) -> list[_Listed]:
    """The rows of a Birdcall CSV, or of one with the columns `path` and `labels`."""
    table = read_table(csv)
    if group_by is not None and group_by not in table:
        known = ", ".join(map(printable, table))
        raise InputError(f"group_by: csv {csv} has no column {group_by!r}, it has {known}")
    columns = set(table)
    if {"path", "labels"} <= columns:
        base, name = csv.parent, "path"
        if "resampled_filename" in columns:  # of the clips that were made of them
            base, name = root / AUDIO_FOLDERS[0], "resampled_filename"
        paths = table[name]
        labels = [tuple(dict.fromkeys(filter(None, map(str.strip, cell.split(";"))))) for cell in table["labels"]]
    else:
        base, paths = _birdcall_paths(root, csv, table)
        labels = [(code,) for code in table["ebird_code"]]
    groups = [None] * len(paths) if group_by is None else table[group_by]
    rows = zip(inside(base, paths, csv), labels, groups, strict=True)
    listed = [_Listed(path, names, group) for path, names, group in rows]
    check_distinct([entry.path for entry in listed], csv)
    missing = [entry.path for entry in listed if not os.path.isfile(entry.path)]  # noqa: PTH113  # pathlib raises
    if missing:
        windows = os.sep == "/" and any("\\" in str(path) for path in missing)
        raise InputError(
            f"csv {csv} lists {len(missing)} of {len(listed)} files that are not there: {some(missing)}"
            f"{'; write / for each backslash' if windows else ''}"
        )
    return listed


def _birdcall_paths(root: Path, csv: Path, table: Mapping[str, list[str]]) -> tuple[Path, list[str]]:
    """The folder of the class folders, and the files below it as `ebird_code/file name`."""
    for column, folder in BIRDCALL_CSVS.values():
        if {"ebird_code", column} <= set(table):
            _check_folder(root)
            check_plain(table["ebird_code"], csv)
            folders = dict.fromkeys([folder, *AUDIO_FOLDERS[1:]])
            base = next((root / name for name in folders if (root / name).is_dir()), root)
            return base, [f"{code}/{name}" for code, name in zip(table["ebird_code"], table[column], strict=True)]
    raise InputError(
        f"csv {csv} needs the columns path and labels, or ebird_code and filename (or resampled_filename); "
        f"it has {', '.join(map(printable, table))}"
    )


def _probe_all(listed: Sequence[_Listed]) -> tuple[list[Recording], list[tuple[Path, str]]]:
    """Reads all headers, in threads, and keeps the order."""

    def read(entry: _Listed) -> Recording | tuple[Path, str]:
        try:
            info = probe(entry.path)
        except AudioError as error:
            return entry.path, error.reason
        return Recording(entry.path, entry.labels, info.duration_s, info.sample_rate, entry.group)

    with ThreadPoolExecutor(PROBE_THREADS) as threads:
        is_long = len(listed) >= PROGRESS_FROM
        results = list(track(threads.map(read, listed), len(listed), "reading headers", shown=is_long))
    recordings = [result for result in results if isinstance(result, Recording)]
    return recordings, [result for result in results if not isinstance(result, Recording)]
