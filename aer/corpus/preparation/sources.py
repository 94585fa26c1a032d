"""Raw recordings as people have them, and the names that their clips get. Unlike the reading of a corpus to train on,
this goes on where something is amiss, and says of every file that it passes by why it did.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aer.audio.info import SUFFIXES
from aer.corpus.csv_paths import check_distinct, check_plain, inside
from aer.corpus.discovery import FOLDER, NO_AUDIO
from aer.errors import InputError
from aer.utils.csv_files import read_table
from aer.utils.text import printable

NO_RECORDINGS = "has no recordings"  # said of a class folder


@dataclass(frozen=True)
class Source:
    """A raw recording."""

    path: Path
    name: str  # its path below the folder of raw recordings, with slashes
    size_bytes: int
    mtime_ns: int
    row: dict[str, str]  # its columns in the corpus's CSV


@dataclass(frozen=True)
class Sources:
    """The raw recordings that there are, in order, and the files passed by: name, reason."""

    found: tuple[Source, ...]
    passed_by: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    base: Path  # the folder that the names are below


def list_sources(base: Path, csv: Path | None) -> Sources:
    """The recordings in the class folders below `base`; with a CSV those that it lists, with its columns.

    The CSV has the columns `ebird_code` and `filename`, or `path` (from the CSV's folder) and `labels`. Raises
    InputError, in one line, for a folder or a CSV that can't be read, and for a path that leads out of `base`.
    """
    return _from_folders(base) if csv is None else _from_csv(base, csv)


def _from_folders(base: Path) -> Sources:
    found: list[Source] = []
    passed_by: list[tuple[str, str]] = []
    for folder in _visible(base):
        if not folder.is_dir():
            passed_by.append((folder.name, "stands outside of the class folders"))
            continue
        try:
            files = _visible(folder)
        except InputError as error:
            passed_by.append((folder.name, str(error)))
            continue
        if not files:
            passed_by.append((folder.name, NO_RECORDINGS))
        for file in files:
            name = f"{folder.name}/{file.name}"
            row = {"ebird_code": folder.name, "filename": file.name, "xc_id": name}
            _sort_in(file, name, row, found, passed_by)
    return Sources(tuple(found), tuple(passed_by), ("ebird_code", "filename", "xc_id"), base)


def _from_csv(base: Path, csv: Path) -> Sources:
    table = read_table(csv)
    columns = set(table)
    folders: list[Path] = []
    if {"path", "labels"} <= columns:
        base, names = csv.parent, table["path"]
    elif {"ebird_code", "filename"} <= columns:
        names = [f"{code}/{name}" for code, name in zip(table["ebird_code"], table["filename"], strict=True)]
        folders = [entry for entry in _visible(base) if entry.is_dir()]
        out = [code for code in table["ebird_code"] if os.pardir in Path(code).parts or Path(code).is_absolute()]
        if out:
            raise InputError(f"csv {csv} lists {printable(out[0])!r} as ebird_code, which leads out of {base}")
        check_plain(table["ebird_code"], csv)
    else:
        known = ", ".join(map(printable, table))
        raise InputError(f"csv {csv} needs the columns ebird_code and filename, or path and labels; it has {known}")
    paths = inside(base, names, csv)
    check_distinct(paths, csv)
    if "xc_id" not in columns:
        table["xc_id"] = names
    found: list[Source] = []
    passed_by: list[tuple[str, str]] = []
    for path, given, cells in zip(paths, names, zip(*table.values(), strict=True), strict=True):
        plain = not given.startswith((os.pardir, os.sep)) and given == os.path.normpath(given)
        name = given if plain and os.sep == "/" else _name_below(base, path)
        _sort_in(path, name, dict(zip(table, cells, strict=True)), found, passed_by)
    passed_by += [(name, f"is not in {csv.name}") for name in _unlisted(base, names, folders)]
    return Sources(tuple(found), tuple(passed_by), tuple(table), base)


def _name_below(base: Path, path: Path) -> str:
    """The path below `base`, where it is known to be; a CSV may give it absolute, or by way of links."""
    name = os.path.relpath(path, base)
    if name.startswith(os.pardir):
        name = os.path.relpath(os.path.realpath(path), os.path.realpath(base))
    return Path(name).as_posix()


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"folder {printable(folder)} can't be read: {error.strerror}") from error


def _sort_in(path: Path, name: str, row: dict[str, str], found: list[Source], passed_by: list[tuple[str, str]]) -> None:
    try:
        status = path.stat()
    except OSError as error:  # a loop of links, a link to nowhere, a row of the CSV without its file
        passed_by.append((name, (error.strerror or str(error)).lower()))
        return
    if stat.S_ISDIR(status.st_mode):
        passed_by.append((name, FOLDER))
    elif not stat.S_ISREG(status.st_mode):
        passed_by.append((name, "is no ordinary file"))
    elif path.suffix.lower() not in SUFFIXES:
        passed_by.append((name, NO_AUDIO))
    else:
        found.append(Source(path, name, status.st_size, status.st_mtime_ns, row))


def _unlisted(base: Path, names: Iterable[str], folders: Iterable[Path]) -> list[str]:
    """Recordings that a CSV does not list, in `folders` and in those of the recordings that it does list."""
    listed = {os.path.abspath(os.path.join(base, name)) for name in names}  # noqa: PTH100, PTH118 - links stay
    unlisted = []
    absolute = {os.path.dirname(path) for path in listed}.union(map(os.path.abspath, folders))  # noqa: PTH120
    for folder in map(Path, sorted(absolute)):
        try:
            entries = _visible(folder)
        except InputError:
            continue  # what the CSV lists of it has been passed by already, with this very reason
        recordings = [entry for entry in entries if entry.suffix.lower() in SUFFIXES]
        unlisted += [_name_below(base, entry) for entry in recordings if str(entry) not in listed]
    return unlisted
