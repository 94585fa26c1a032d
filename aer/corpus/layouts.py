"""The layouts of corpora: class folders; the Birdcall CSV beside its class folders; a CSV of `path,labels`.

Only this module parses them. What becomes of files that are missing, unreadable or not listed is up to its two users:
`discovery`, for training, refuses them; `preparation.sources` continues without them. What another layout takes:
docs/architecture.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aer.corpus.csv_paths import check_class_names, check_distinct, paths_below
from aer.errors import InputError
from aer.utils.text import printable

# where class folders are below a corpus: the first of these that exists
AUDIO_FOLDERS = ("resampled_train_audio", "raw_train_audio", "train_audio")
# names of the CSV that a corpus may have: training reads the first that exists
CORPUS_CSVS = ("train_mod.csv", "train.csv")
# columns of a Birdcall CSV with the names of files: of the prepared clips, and of the recordings
RESAMPLED, FILENAME = "resampled_filename", "filename"
# why something in a corpus is not taken for a recording
NO_AUDIO = "no audio, by its name and content"
FOLDER = "is a folder; recordings stand directly in the folder of their class"
OUTSIDE = "stands outside of the class folders"


@dataclass(frozen=True)
class ClassFolder:
    """What stands in the folder of class folders, and the files in it, in order; hidden ones are passed over."""

    path: Path
    files: tuple[Path, ...]
    # why there are no files: OUTSIDE where it is no folder, or why the folder can't be read
    problem: str = ""


@dataclass(frozen=True)
class CsvListing:
    """The files that a CSV lists, one per row."""

    csv: Path
    # all columns of the CSV: cells by row
    columns: Mapping[str, Sequence[str]]
    # the column that `names` come from
    file_column: str
    # several labels in a cell of `labels`, else one
    label_column: str
    names: Sequence[str]
    # the folder that names are below; None: Birdcall's class folders, names are `class/file name`
    base: Path | None

    @property
    def by_class(self) -> bool:
        """Whether the names are those of files in class folders."""
        return self.base is None

    def paths(self, base: Path) -> list[Path]:
        """Return the files by row, below `base`.

        Raise InputError for a class name in another form than its folder's, a path that leads out of `base`, and a
        file that two rows list.
        """
        if self.by_class:
            check_class_names(self.columns[self.label_column], self.csv)
        paths = paths_below(base, self.names, self.csv)
        check_distinct(paths, self.csv)
        return paths

    def labels(self) -> list[tuple[str, ...]]:
        """Return the labels of each row, none twice."""
        cells = self.columns[self.label_column]
        if self.label_column != "labels":
            return [(cell,) for cell in cells]
        return [tuple(dict.fromkeys(filter(None, map(str.strip, cell.split(";"))))) for cell in cells]

    def rows(self) -> list[dict[str, str]]:
        """Return the cells of each row by column."""
        return [dict(zip(self.columns, cells, strict=True)) for cells in zip(*self.columns.values(), strict=True)]


def visible(folder: Path) -> list[Path]:
    """Return what stands in a folder, in order, less hidden files. Raise InputError if it can't be read."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"folder {printable(folder)} can't be read: {error.strerror}") from error


def list_class_folders(base: Path) -> list[ClassFolder]:
    """Return everything in `base`, in order, with the files in it. Raise InputError if `base` can't be read."""
    folders = []
    for entry in visible(base):
        if not entry.is_dir():
            folders.append(ClassFolder(entry, (), OUTSIDE))
            continue
        try:
            folders.append(ClassFolder(entry, tuple(visible(entry))))
        except InputError as error:
            folders.append(ClassFolder(entry, (), str(error)))
    return folders


def parse_csv(csv: Path, columns: Mapping[str, Sequence[str]], file_columns: Sequence[str], needed: str) -> CsvListing:
    """Return what the CSV lists: its `path` and `labels`, or else `ebird_code` and the first of `file_columns`.

    RESAMPLED comes before `path`: clips that `aer prepare` has made of what the paths name. Raise InputError, which
    says what is `needed`, for a CSV with other columns.
    """
    if {"path", "labels"} <= set(columns):
        file_column = RESAMPLED if RESAMPLED in file_columns and RESAMPLED in columns else "path"
        return CsvListing(csv, columns, file_column, "labels", columns[file_column], csv.parent)
    for file_column in file_columns:
        if {"ebird_code", file_column} <= set(columns):
            rows = zip(columns["ebird_code"], columns[file_column], strict=True)
            names = [f"{code}/{name}" for code, name in rows]
            return CsvListing(csv, columns, file_column, "ebird_code", names, None)
    raise InputError(f"csv {csv} needs the columns {needed}; it has {', '.join(map(printable, columns))}")
