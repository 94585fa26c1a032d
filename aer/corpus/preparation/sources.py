"""Lists raw recordings as people have them; `aer.corpus.layouts` says how they may lie.

Unlike `discovery`, which finds a corpus to train on, this continues where something is wrong with a file: it is
skipped, and the reason is kept.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aer.audio.sniff import could_be_audio
from aer.corpus.layouts import FILENAME, FOLDER, NO_AUDIO, list_class_folders, parse_csv, visible
from aer.errors import InputError
from aer.utils.csv_files import read_table
from aer.utils.text import printable

# why a class folder is skipped
NO_RECORDINGS = "has no recordings"


@dataclass(frozen=True)
class Source:
    """A raw recording.

    `name` is its path below the folder of raw recordings, with slashes; `row` its cells in the corpus's CSV, by column.
    """

    path: Path
    name: str
    size_bytes: int
    mtime_ns: int
    row: dict[str, str]


@dataclass(frozen=True)
class Sources:
    """The raw recordings in order, and the files skipped: name, reason. `base` is the folder that names are below.

    `class_column`: the one of the class whose folder the names of clips are below; None: they are below that of all.
    """

    found: tuple[Source, ...]
    skipped: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    base: Path
    class_column: str | None


def list_sources(base: Path, csv: Path | None) -> Sources:
    """Return the recordings in the class folders below `base`; with a CSV those that it lists, with its columns.

    The CSV has the columns `ebird_code` and `filename`, or `path` (from the CSV's folder) and `labels`. Raise
    InputError, in one line, for a folder or a CSV that can't be read, and for a path that leads out of `base`.
    """
    return _from_folders(base) if csv is None else _from_csv(base, csv)


def _from_folders(base: Path) -> Sources:
    found: list[Source] = []
    skipped: list[tuple[str, str]] = []
    for folder in list_class_folders(base):
        if folder.problem:
            skipped.append((folder.path.name, folder.problem))
        elif not folder.files:
            skipped.append((folder.path.name, NO_RECORDINGS))
        for file in folder.files:
            name = f"{folder.path.name}/{file.name}"
            row = {"ebird_code": folder.path.name, FILENAME: file.name, "xc_id": name}
            _add(file, name, row, found, skipped)
    return Sources(tuple(found), tuple(skipped), ("ebird_code", FILENAME, "xc_id"), base, "ebird_code")


def _from_csv(base: Path, csv: Path) -> Sources:
    table = read_table(csv)
    listing = parse_csv(csv, table, (FILENAME,), f"ebird_code and {FILENAME}, or path and labels")
    folders: list[Path] = []
    if listing.base is None:
        folders = [entry for entry in visible(base) if entry.is_dir()]
        _check_codes(table[listing.label_column], base, csv)
    else:
        base = listing.base
    paths = listing.paths(base)
    # a column of its own in the listing too, and so in its rows
    table.setdefault("xc_id", list(listing.names))
    found: list[Source] = []
    skipped: list[tuple[str, str]] = []
    for path, given, row in zip(paths, listing.names, listing.rows(), strict=True):
        is_plain = not given.startswith((os.pardir, os.sep)) and given == os.path.normpath(given)
        name = given if is_plain and os.sep == "/" else _name_below(base, path)
        _add(path, name, row, found, skipped)
    skipped += [(name, f"is not in {csv.name}") for name in _unlisted(base, listing.names, folders)]
    class_column = listing.label_column if listing.by_class else None
    return Sources(tuple(found), tuple(skipped), tuple(table), base, class_column)


def _check_codes(codes: Iterable[str], base: Path, csv: Path) -> None:
    """Raise InputError for the name of a class that is no folder below `base`: its clips would lie elsewhere."""
    for code in codes:
        if os.pardir in Path(code).parts or Path(code).is_absolute():
            raise InputError(f"csv {csv} lists {printable(code)!r} as ebird_code, which leads out of {base}")


def _name_below(base: Path, path: Path) -> str:
    """Return a path, known to lie below `base`, from there; a CSV may give it absolute, or through links."""
    name = os.path.relpath(path, base)
    if name.startswith(os.pardir):
        name = os.path.relpath(os.path.realpath(path), os.path.realpath(base))
    return Path(name).as_posix()


def _add(path: Path, name: str, row: dict[str, str], found: list[Source], skipped: list[tuple[str, str]]) -> None:
    """Add a file to those found, or to those skipped with the reason."""
    try:
        status = path.stat()
    # a loop of links, a link to nowhere, a row of the CSV without its file
    except OSError as error:
        skipped.append((name, (error.strerror or str(error)).lower()))
        return
    if stat.S_ISDIR(status.st_mode):
        skipped.append((name, FOLDER))
    elif not stat.S_ISREG(status.st_mode):
        skipped.append((name, "is no ordinary file"))
    elif not could_be_audio(path):
        skipped.append((name, NO_AUDIO))
    else:
        found.append(Source(path, name, status.st_size, status.st_mtime_ns, row))


def _unlisted(base: Path, names: Iterable[str], folders: Iterable[Path]) -> list[str]:
    """Return the names of recordings that a CSV does not list, in `folders` and in the folders of those it lists."""
    listed = {os.path.abspath(os.path.join(base, name)) for name in names}  # noqa: PTH100, PTH118 - links stay
    unlisted = []
    absolute = {os.path.dirname(path) for path in listed}.union(map(os.path.abspath, folders))  # noqa: PTH120
    for folder in map(Path, sorted(absolute)):
        try:
            entries = visible(folder)
        except InputError:
            # what the CSV lists of it has been skipped already, with this very reason
            continue
        recordings = filter(could_be_audio, entries)
        unlisted += [_name_below(base, entry) for entry in recordings if str(entry) not in listed]
    return unlisted
