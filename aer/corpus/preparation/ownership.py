"""Which files, where `aer prepare` writes, it has made itself: no others are replaced or removed."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aer.corpus.csv_paths import RealPaths
from aer.corpus.preparation.convert import PART_PREFIX, PART_SUFFIX, Job
from aer.corpus.preparation.journal import Begun, Entry, Journal, folder_of
from aer.corpus.preparation.sources import Source
from aer.errors import InputError
from aer.utils.text import printable, some

# the size of folders and of links to nowhere
NO_FILE = -1


def check_folders(clips: Path, sources: Sequence[Source], folders: Iterable[Path]) -> None:
    """Raise InputError where a recording lies among the clips, or clips would be written among the recordings."""
    real_path = RealPaths()
    inside = os.path.realpath(clips).rstrip(os.sep) + os.sep
    of_sources = [real_path(source.path) for source in sources]
    among = [source.path for source, real in zip(sources, of_sources, strict=True) if real.startswith(inside)]
    if among:
        raise InputError(
            f"{len(among)} recording(s) stand in {printable(clips)}, where the clips go: {some(among)}; name another "
            "--out, or list the raw recordings"
        )
    raw = {os.path.dirname(real) for real in of_sources}.union(  # noqa: PTH120
        os.path.realpath(folder)
        for folder in {os.path.dirname(source.path) for source in sources}  # noqa: PTH120
    )
    targets = {folder: os.path.realpath(folder) for folder in folders}
    counts = Counter(targets.values())
    for folder, real in sorted(targets.items()):
        if real in raw or counts[real] > 1:
            raise InputError(
                f"{printable(folder)} leads to {printable(real)}, where {'recordings' if real in raw else 'others'} "
                "are: remove that link, or name another --out"
            )


def files_below(clips: Path, folders: Iterable[Path]) -> dict[str, int]:
    """Return the size in bytes of everything in `folders` and below `clips`, by path; NO_FILE for other than files.

    Raise InputError for a folder that can't be read.
    """
    sizes: dict[str, int] = {}
    todo, seen = [clips, *folders], set()
    while todo:
        folder = os.fspath(todo.pop())
        if folder in seen or not os.path.isdir(folder):  # noqa: PTH112
            continue
        seen.add(folder)
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise InputError(f"folder {printable(folder)} can't be read: {error.strerror}") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                todo.append(Path(entry.path))
            try:
                sizes[entry.path] = entry.stat().st_size if entry.is_file() else NO_FILE
            # a loop of links
            except OSError:
                sizes[entry.path] = NO_FILE
    return sizes


def sweep(folder: Path) -> None:
    """Remove the unfinished clips that killed processes left in a folder."""
    for entry in os.scandir(folder):
        if entry.name.startswith(PART_PREFIX) and entry.name.endswith(PART_SUFFIX):
            Path(entry.path).unlink(missing_ok=True)


def clip_paths(clips: Path, entry: Entry) -> list[str]:
    """Return the paths of the clips of a recording, as text: thousands of Paths take their time."""
    folder = os.path.join(clips, folder_of(entry.name))  # noqa: PTH118
    return [os.path.join(folder, clip.name) for clip in entry.converted.clips]  # noqa: PTH118


def check_places(
    clips: Path, todo: Sequence[Begun], jobs: Mapping[str, Job], journal: Journal, there: Mapping[str, int]
) -> None:
    """Raise InputError where a clip to be made would replace a file that no line of the journal accounts for.

    `todo` are the recordings to be converted, `jobs` says by name to where, `there` has the size of what is there.
    """
    made: dict[str, set[tuple[str, int]]] = {}
    for entry in journal.entries:
        for path, clip in zip(clip_paths(clips, entry), entry.converted.clips, strict=True):
            made.setdefault(path, set()).add((entry.name, clip.size_bytes))
    by_folder: dict[str, dict[str, list[str]]] = {}
    for path in there:
        folder, name = os.path.split(path)
        for stem in {name.rpartition(".")[0], name.rpartition("_")[0]}:
            by_folder.setdefault(folder, {}).setdefault(stem, []).append(path)
    begun = {line.name: line for line in journal.begun}
    foreign = []
    for new in todo:
        for path in by_folder.get(os.fspath(jobs[new.name].folder), {}).get(new.stem, []):
            file = os.path.basename(path)  # noqa: PTH119
            if not new.gives(file):
                continue
            known = any(name == new.name or size == there[path] for name, size in made.get(path, ()))
            if there[path] == NO_FILE or not (known or (new.name in begun and begun[new.name].gives(file))):
                foreign.append(path)
    if foreign:
        raise InputError(
            f"{len(foreign)} thing(s) that aer prepare has not made stand where clips go: {some(sorted(foreign))}; "
            "move them away, or name another --out"
        )


def outdated(clips: Path, journal: Journal, entries: Mapping[str, Entry], others: set[str]) -> set[str]:
    """Return those of `others` that are clips made with other options, or without an entry; not of gone recordings."""
    by_folder: dict[str, list[str]] = {}
    for path in others:
        by_folder.setdefault(os.path.dirname(path), []).append(path)  # noqa: PTH120
    kept = {path for entry in journal.entries if entry.name not in entries for path in clip_paths(clips, entry)}
    old = {path for entry in journal.entries if entry.name in entries for path in clip_paths(clips, entry)}
    for begun in journal.begun if others else ():
        folder = os.path.join(clips, folder_of(begun.name))  # noqa: PTH118
        names = by_folder.get(folder.rstrip(os.sep), [])
        old |= {path for path in names if begun.gives(os.path.basename(path))}  # noqa: PTH119
    return old & others - kept
