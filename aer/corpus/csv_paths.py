"""Paths that a CSV lists: below their folder, and each once."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from aer.errors import InputError
from aer.utils.text import printable, some


def check_class_names(codes: Iterable[str], csv: Path) -> None:
    """Raise InputError for an `ebird_code` like `robin/` or `./robin`, which would be a class beside `robin`."""
    for code in codes:
        if code and code != (plain := Path(code).as_posix()):
            raise InputError(f"csv {csv} lists {printable(code)!r} as ebird_code: write {printable(plain)}")


def paths_below(base: Path, names: Iterable[str], csv: Path) -> list[Path]:
    """Return `base / name` for each name. Raise InputError for one that leads out of `base`, by a link too."""
    root = os.path.realpath(base)
    real_path = RealPaths()
    paths = []
    for name in names:
        real = real_path(base / name.replace("\0", ""))
        if not name.strip() or "\0" in name or not real.startswith(root.rstrip(os.sep) + os.sep):
            raise InputError(f"csv {csv} lists {printable(name)!r}, which is not below {base}")
        paths.append(base / name)
    return paths


def check_distinct(paths: Sequence[Path], csv: Path) -> None:
    """Raise InputError where two rows of the CSV are for the same file, under whatever names."""
    real = list(map(RealPaths(), paths))
    counts = Counter(real)
    repeated = [path for path, name in zip(paths, real, strict=True) if counts[name] > 1]
    if repeated:
        raise InputError(f"csv {csv} has {len(repeated)} rows for files that other rows list too: {some(repeated)}")


class RealPaths:
    """os.path.realpath for many files in few folders, each of which is resolved once."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}

    def __call__(self, path: Path) -> str:
        folder, name = os.path.split(path)
        if name in (os.curdir, os.pardir) or os.path.islink(path):  # noqa: PTH114
            return os.path.realpath(path)
        if folder not in self.folders:
            self.folders[folder] = os.path.realpath(folder)
        return os.path.join(self.folders[folder], name)  # noqa: PTH118
