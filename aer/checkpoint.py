"""Checkpoints as files: written whole or not at all, and read without running code from them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aer.errors import InputError
from aer.files import write_whole
from aer.safeload import load_tensors
from aer.settings import AnySettings

PARTS = {"model", "model_kind", "classes", "settings", "epoch"}  # what every checkpoint has
FORMAT = 1  # raised when a reader of today's files could no longer read tomorrow's
ADVICE = (  # when a file of a run can't be written
    "make room or name another --run-dir (earlier checkpoints are whole, and the same command goes on from the last "
    "one)"
)


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Writes tensors and plain values, with the format's number."""
    write_whole(path, lambda file: torch.save({"format": FORMAT, **content}, file), ADVICE)


def load(path: Path) -> dict[str, Any]:
    """Reads what `save` wrote, onto the CPU, memory-mapped.

    Raises InputError, in one line, for a file that is missing, damaged, of another format or that would run code.
    """
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= PARTS:
        raise InputError(f"{path}: no checkpoint of aer in format {FORMAT}")
    return content


def load_initial_weights(path: Path, model: torch.nn.Module, settings: AnySettings, classes: tuple[str, ...]) -> str:
    """Gives the model the weights of an earlier run's checkpoint; returns a line that says what was taken.

    With the same classes all weights are taken; with others, all but those of the head (`model.head_prefixes`).
    Raises InputError for another kind of model, another front end, or shapes that do not fit.
    """
    content = load(path)
    if content["model_kind"] != settings.model:
        raise InputError(f"{path} holds a {content['model_kind']} model, and this run trains {settings.model}")
    heard, hears = (json.loads(text) for text in (content["settings"], settings.model_dump_json()))
    differing = [name for name in ("sample_rate", "mel", "image_height") if heard.get(name) != hears.get(name)]
    if differing:
        told = "; ".join(f"{name} {heard.get(name)} there, {hears.get(name)} here" for name in differing)
        raise InputError(f"initial_weights {path} were trained with another front end: {told}")
    weights = content["model"]
    own: dict[str, torch.Tensor] = {}
    if tuple(content["classes"]) != classes:
        prefixes: tuple[str, ...] = model.head_prefixes  # type: ignore[assignment]
        own = {name: value for name, value in model.state_dict().items() if name.startswith(prefixes)}
    try:
        model.load_state_dict({**weights, **own}, strict=True)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit this model: {' '.join(str(error).split())[:300]}") from error
    head = "" if not own else f"; a fresh head for {len(classes)} classes (that file has {len(content['classes'])})"
    return f"weights of {path}, epoch {content['epoch']}{head}"
