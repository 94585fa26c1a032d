"""A run's folder: what is written there before training, and whether a run may go on in it."""

import functools
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import pandas as pd

from aer import __version__, checkpoint, lock
from aer.errors import AerError, InputError
from aer.files import remove_parts, write_whole
from aer.settings import Settings
from aer.text import as_bytes, printable

# Settings that may change when a run goes on: they leave what was trained so far as it is.
HARMLESS = (
    "epochs",
    "workers",
    "device",
    "keep_best",
    "checkpoint_every_steps",
    "max_unreadable_share",
    "run_dir",
    "fresh",
)
PACKAGES = ("torch", "catalyst", "accelerate", "torchlibrosa", "resnest", "soundfile", "soxr", "numpy", "scikit-learn")


def choose_run_dir(settings: Settings) -> Path:
    """`settings.run_dir`, or with `fresh` the first of its numbered neighbours that is not there yet."""
    folder = settings.run_dir.resolve() if settings.fresh else settings.run_dir  # "." has no name to number
    original, number = folder, 2
    while settings.fresh and folder.exists():
        folder = original.with_name(f"{original.name}-{number}")
        number += 1
    return folder


def check_may_go_on(folder: Path, settings: Settings, folds_csv: str) -> bool:
    """True if the folder holds a run that these settings continue, False if it holds none.

    Raises InputError, with the differences, for a run with other settings or other data, and for a folder with
    something else in it.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise InputError(f"run_dir {folder} is a file; name another --run-dir")
    written = folder / "settings.json"
    if not written.exists():
        if any(entry.name != lock.NAME and not entry.name.endswith(".part") for entry in _entries(folder)):
            raise InputError(f"run_dir {folder} holds files that are no run of aer; name another --run-dir")
        return False
    if not checkpoint.is_kept_in(folder / "checkpoints"):
        if (folder / "metrics.csv").exists():
            raise InputError(
                f"{folder} holds a run whose {checkpoint.LAST} and {checkpoint.PREVIOUS} are gone: it can't go on, and "
                "would be overwritten; --fresh starts a new one beside it"
            )
        return False  # stopped before its first epoch was done: nothing to lose
    before, now = _flat(json.loads(written.read_text())), _flat(settings.model_dump(mode="json"))
    # OneCycleLR plans its whole course: another number of epochs is another course
    fixed = ("epochs",) if settings.scheduler == "OneCycleLR" else ()
    harmless = set(HARMLESS) - set(fixed)
    names = sorted(name for name in before.keys() | now.keys() if name.split(".")[0] not in harmless)
    differences = [
        f"{name} {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)
    ]
    if not differences and (folder / "folds.csv").read_bytes() != as_bytes(folds_csv):
        differences = ["the corpus or its folds have changed"]
    if differences:
        raise InputError(
            f"{folder} holds a run with other settings ({'; '.join(differences)}); --fresh starts a new one beside it, "
            "--run-dir names another folder"
        )
    return True


def _write_bytes(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"run_dir {folder} can't be read: {error.strerror}; name another --run-dir") from error


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"mel": {"n_mels": 64}} -> {"mel.n_mels": 64}; parameters of optimizer and scheduler stay whole."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict) and not name.endswith("_params"):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def write_run(folder: Path, settings: Settings, classes: Sequence[str], folds_csv: str, left_out_csv: str) -> None:
    """Makes the folder and writes the effective settings, classes, folds and versions; InputError where it can't.

    Each file is whole or absent, and the settings, by which a run is known, come first.
    """
    texts = {
        "settings.json": json.dumps(settings.model_dump(mode="json"), indent=2) + "\n",
        "classes.txt": "".join(f"{printable(name)}\n" for name in classes),
        "folds.csv": folds_csv,
        "left_out.csv": left_out_csv,
        "versions.json": json.dumps(versions(), indent=2) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_parts(folder)
        for name, text in texts.items():
            content = as_bytes(text)
            write_whole(folder / name, functools.partial(_write_bytes, content), checkpoint.ADVICE)
        (folder / "checkpoints").mkdir(exist_ok=True)
    except (OSError, AerError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"run_dir {folder} can't be written: {reason}; name another --run-dir") from error


def versions() -> dict[str, str]:
    """Versions of aer, Python and the packages whose numbers a model depends on."""
    own = {"aer": __version__, "python": platform.python_version()}
    return own | {name: metadata.version(name) for name in PACKAGES}


def changes(folder: Path, settings: Settings) -> list[str]:
    """A line for each harmless setting, and for each package, that has changed since the run was last started."""
    before, now = json.loads((folder / "settings.json").read_text()), settings.model_dump(mode="json")
    lines = [
        f"changed: {name} {before.get(name)} -> {now[name]}"
        for name in HARMLESS
        if name not in ("run_dir", "fresh") and before.get(name) != now[name]
    ]
    if (folder / "versions.json").exists():
        was = json.loads((folder / "versions.json").read_text())
        lines += [
            f"changed: {name} {was.get(name)} -> {version}; the end may differ in the last digits from that of one go"
            for name, version in versions().items()
            if was.get(name) != version
        ]
    return lines


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """`metrics.csv` of a run: a row per epoch, a column per metric."""
    text = pd.DataFrame(list(history)).to_csv(index=False)
    write_whole(folder / "metrics.csv", lambda file: file.write(text.encode()), checkpoint.ADVICE)
