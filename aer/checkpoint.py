"""Checkpoints as files: written whole or not at all, and read without running code from them."""

import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from aer.errors import AerError, InputError

FORMAT = 1  # raised when a reader of today's files could no longer read tomorrow's


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Lets `write` fill a file beside `path`, flushes it to the disk and renames it: `path` is old or new, never half.

    Raises AerError where the disk is full or the folder can't be written; what stood at `path` is then untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _flush_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch turns a write that failed into a RuntimeError
        beside.unlink(missing_ok=True)
        raise AerError(
            f"can't write {path}: {error}; make room or name another --run-dir (earlier checkpoints are whole, and the "
            "same command goes on from the last one)"
        ) from error


def link_whole(target: Path, path: Path) -> None:
    """Makes `path` another name of the file `target` in the same folder, in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.unlink(missing_ok=True)
    try:
        beside.hardlink_to(target)
        beside.replace(path)
        _flush_folder(path.parent)
    except OSError:  # a file system without hard links: a second copy does
        write_whole(path, lambda file: _copy(target, file))
    finally:
        beside.unlink(missing_ok=True)  # a rename onto the very same file leaves the old name


def _copy(source: Path, file: IO[bytes]) -> None:
    with source.open("rb") as opened:
        while block := opened.read(1 << 24):
            file.write(block)


def _flush_folder(folder: Path) -> None:
    """Makes a rename in the folder outlast a power cut, on systems where a folder can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Writes tensors and plain values, with the format's number."""
    write_whole(path, lambda file: torch.save({"format": FORMAT, **content}, file))


def load(path: Path) -> dict[str, Any]:
    """Reads what `save` wrote, onto the CPU, memory-mapped.

    Raises InputError, in one line, for a file that is missing, damaged, of another format or that would run code.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is no checkpoint of aer, or is damaged: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of aer in format {FORMAT}")
    return content


def load_initial_weights(path: Path, model: torch.nn.Module, kind: str, classes: tuple[str, ...]) -> str:
    """Gives the model the weights of an earlier run's checkpoint; returns a line that says what was taken.

    With the same classes all weights are taken; with others, all but those of the head (`model.head_prefixes`).
    Raises InputError for another kind of model or shapes that do not fit.
    """
    content = load(path)
    if content["model_kind"] != kind:
        raise InputError(f"{path} holds a {content['model_kind']} model, and this run trains {kind}")
    weights = content["model"]
    if tuple(content["classes"]) == classes:
        taken, own = weights, {}
    else:
        prefixes: tuple[str, ...] = model.head_prefixes  # type: ignore[assignment]
        taken = {name: value for name, value in weights.items() if not name.startswith(prefixes)}
        own = {name: value for name, value in model.state_dict().items() if name.startswith(prefixes)}
    try:
        model.load_state_dict({**taken, **own}, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} does not fit this model, were other mel settings used? {reason[:300]}") from error
    head = "" if not own else f"; a fresh head for {len(classes)} classes (that file has {len(content['classes'])})"
    return f"weights of {path}, epoch {content['epoch']}{head}"
