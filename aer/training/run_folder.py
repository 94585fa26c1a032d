"""A run's folder: what is written there before training, and whether a run may be resumed in it."""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pandas as pd

from aer.errors import AerError, InputError
from aer.settings import ADDED, Settings
from aer.training import checkpoint_file
from aer.training.folds_table import compare_folds
from aer.utils import lock
from aer.utils.files import beside, remove_parts, write_whole
from aer.utils.text import as_bytes, printable, some
from aer.utils.versions import versions

# settings that may change when a run is resumed: they leave what was trained so far as it is
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
# the files and folders in a run's folder
SETTINGS, CLASSES, FOLDS, LEFT_OUT, VERSIONS = _AT_START = (
    "settings.json",
    "classes.txt",
    "folds.csv",
    "left_out.csv",
    "versions.json",
)
CHECKPOINTS, TENSORBOARD, HISTORY = "checkpoints", "tensorboard", "metrics.csv"
# a run may leave these before its first epoch is done
UNREADABLE, NONFINITE = "unreadable.csv", "nonfinite_batch.csv"
_OF_EVERY_RUN = {"model", *(name for name, field in Settings.model_fields.items() if field.is_required())}


def choose_run_dir(settings: Settings) -> Path:
    """Return `settings.run_dir`, or with `fresh` the first of its numbered neighbours that is not there yet."""
    if not settings.fresh:
        return settings.run_dir
    # "." has no name to number
    original = folder = settings.run_dir.resolve()
    number = 2
    while folder.exists():
        folder = original.with_name(f"{original.name}-{number}")
        number += 1
    return folder


def check_resumable(folder: Path, settings: Settings, folds_csv: str) -> bool:
    """Return True if the folder holds a run that these settings resume, False if it holds none.

    Raise InputError, with the differences, for a run with other settings or other data, for one that has done more
    epochs than it is to have, and for a folder with something else in it, which a run would overwrite or remove.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise InputError(f"run_dir {folder} is a file; name another --run-dir")
    if not (folder / SETTINGS).exists():
        _check_known(folder, _names(folder) - {lock.NAME, beside(folder / SETTINGS).name})
        return False
    before = _read_settings(folder)
    for name in (CHECKPOINTS, TENSORBOARD):
        if (folder / name).exists() and not (folder / name).is_dir():
            raise InputError(f"{folder / name} is a file where a run has a folder; remove it or name another --run-dir")
    if not checkpoint_file.has_state(folder / CHECKPOINTS):
        _check_nothing_is_lost(folder)
        # stopped before its first epoch was done
        return False
    differences = _differences(before, settings)
    if not differences and (changed := compare_folds(folder / FOLDS, folds_csv)):
        differences = [f"the corpus or its folds have changed: {changed}"]
    if differences:
        raise InputError(
            f"{folder} holds a run with other settings ({'; '.join(differences)}); --fresh starts a new one beside it, "
            "--run-dir names another folder"
        )
    if settings.epochs < before["epochs"]:
        _check_not_done_yet(folder, settings.epochs)
    return True


def _check_not_done_yet(folder: Path, epochs: int) -> None:
    """Raise InputError if the run has done more epochs than it is to have."""
    path, _ = checkpoint_file.find_state(folder / CHECKPOINTS)
    done = checkpoint_file.read(path)["epoch"] if path is not None else 0
    if done > epochs:
        raise InputError(
            f"{folder} holds a run with {done} epochs behind it, and epochs is {epochs}: set --epochs to {done} or "
            "more, or --fresh starts a new one beside it"
        )


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings that a run was started with; raise InputError for a file that no run of aer has written."""
    path = folder / SETTINGS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; name another --run-dir") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged, or not of a run of aer: {error}; name another --run-dir") from error
    if not isinstance(found, dict) or not found.keys() >= _OF_EVERY_RUN or not isinstance(found["epochs"], int):
        raise InputError(f"{path} is not of a run of aer, and would be overwritten; name another --run-dir")
    return found


def _check_nothing_is_lost(folder: Path) -> None:
    """Raise InputError if a run without a state has more in its folder than one that was stopped in its first epoch."""
    checkpoints, tensorboard = folder / CHECKPOINTS, folder / TENSORBOARD
    inside = _names(checkpoints) if checkpoints.exists() else set()
    # the first epoch's own file is written before the first state: it will be written again
    if (folder / HISTORY).exists() or any(
        checkpoint_file.epoch_of(name) for name in inside - {checkpoint_file.epoch_file(1)}
    ):
        raise InputError(
            f"{folder} holds a run whose {checkpoint_file.LAST} and {checkpoint_file.PREVIOUS} are gone: it can't go "
            "on, and would be overwritten; --fresh starts a new one beside it"
        )
    own = _with_parts({*_AT_START, UNREADABLE, NONFINITE}) | {lock.NAME, CHECKPOINTS, TENSORBOARD}
    weights = {checkpoint_file.epoch_file(1), checkpoint_file.BEST}
    unknown = _names(folder) - own
    unknown |= {f"{CHECKPOINTS}/{name}" for name in inside - weights - _with_parts({*weights, checkpoint_file.LAST})}
    unknown |= {f"{TENSORBOARD}/{path.relative_to(tensorboard)}" for path in tensorboard.rglob("*") if path.is_file()}
    _check_known(folder, unknown)


def _with_parts(names: Iterable[str]) -> set[str]:
    """Return file names, and those that the files have while they are written."""
    return {known for name in names for known in (name, beside(Path(name)).name)}


def _check_known(folder: Path, unknown: Iterable[str]) -> None:
    """Raise InputError if there are any unknown files."""
    if unknown := sorted(unknown):
        raise InputError(
            f"run_dir {folder} holds files that are no run of aer ({some(unknown)}); name another --run-dir"
        )


def _differences(before: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return what of a run's settings may not change, and has: "batch_size 8 -> 4"."""
    was, now = _flat({**ADDED, **before}), _flat(settings.model_dump(mode="json"))
    # OneCycleLR plans its whole course: another number of epochs is another course
    fixed = ("epochs",) if settings.scheduler == "OneCycleLR" else ()
    harmless = set(HARMLESS) - set(fixed)
    names = sorted(name for name in was.keys() | now.keys() if name.split(".")[0] not in harmless)
    return [printable(f"{name} {was.get(name)} -> {now.get(name)}") for name in names if was.get(name) != now.get(name)]


def _write_bytes(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _names(folder: Path) -> set[str]:
    """Return the names in a folder; raise InputError if it can't be read."""
    try:
        return {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise InputError(f"{folder} can't be read: {error.strerror}; name another --run-dir") from error


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"mel.n_mels": 64} for {"mel": {"n_mels": 64}}; parameters of optimizer and scheduler stay whole."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict) and not name.endswith("_params"):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def write_run(folder: Path, settings: Settings, classes: Sequence[str], folds_csv: str, left_out_csv: str) -> None:
    """Make the folder and write the effective settings, classes, folds and versions; raise InputError if it can't.

    Each file is whole or absent, and the settings, by which a run is recognised, come first.
    """
    texts = {
        SETTINGS: json.dumps(settings.model_dump(mode="json"), indent=2) + "\n",
        CLASSES: "".join(f"{printable(name)}\n" for name in classes),
        FOLDS: folds_csv,
        LEFT_OUT: left_out_csv,
        VERSIONS: json.dumps(versions(), indent=2) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_parts(folder)
        for name, text in texts.items():
            content = as_bytes(text)
            write_whole(folder / name, functools.partial(_write_bytes, content), checkpoint_file.WRITE_ADVICE)
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
    except (OSError, AerError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"run_dir {folder} can't be written: {reason}; name another --run-dir") from error


def harmless_changes(folder: Path, settings: Settings) -> list[str]:
    """Return a line for each harmless setting, and each package, that has changed since the run was last started."""
    before, now = _read_settings(folder), settings.model_dump(mode="json")
    lines = [
        printable(f"changed: {name} {before.get(name)} -> {now[name]}")
        for name in HARMLESS
        if name not in ("run_dir", "fresh") and before.get(name) != now[name]
    ]
    if not (folder / VERSIONS).exists():
        return lines
    try:
        was = dict(json.loads((folder / VERSIONS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        unknown = f"{folder / VERSIONS} can't be read ({error}): whether a package's version has changed is not known"
        return [*lines, printable(unknown)]
    own = versions()
    return lines + [
        printable(
            f"changed: {name} {was.get(name)} -> {own[name]}; the end may differ in the last digits from that of one go"
        )
        for name in own
        if was.get(name) != own[name]
    ]


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write `metrics.csv` of a run: a row per epoch, a column per metric."""
    text = pd.DataFrame(list(history)).to_csv(index=False)
    write_whole(folder / HISTORY, lambda file: file.write(text.encode()), checkpoint_file.WRITE_ADVICE)
