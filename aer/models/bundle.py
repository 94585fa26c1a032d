"""A trained model in one file, `best.aer`: weights, settings, classes, thresholds, metrics. It needs nothing else.

The file is a safetensors file, which holds plain numbers and can run no code. Its metadata has one entry, `aer`: JSON
that `_About` describes. That begins with the SHA-256 of the file itself, taken with zeros in place of these 64 digits,
so that a single changed bit is found wherever it is. Nothing in the file depends on the time or on where the run was:
the same run gives the same bytes.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from aer import __version__
from aer.errors import AerError, InputError
from aer.models import thresholds
from aer.models.panns import EMBEDDING_SIZE
from aer.models.registry import KINDS, build_untrained
from aer.models.resnest import HIDDEN_SIZE
from aer.models.weights import check_entries
from aer.settings import AnySettings, PannsSettings
from aer.utils.files import write_whole
from aer.utils.versions import versions

FORMAT = 1  # raised when a reader of today's files could no longer read tomorrow's
NAME = "best.aer"  # in a run's folder

# Settings of the place and the machine, which are not the model's: left out, and where one must be, these stand for it
_PLACES = {"corpus": ".", "run_dir": ".", "workers": 0}
_LEFT_OUT = (*_PLACES, "csv", "initial_weights", "pretrained_panns", "fresh", "device")

_NO_DIGEST = "0" * 64
_LENGTH_BYTES = 8  # at the file's start: how long the JSON is that follows
_BEFORE_DIGEST = b'{"__metadata__":{"aer":"{\\"sha256\\":\\"'
_DIGEST_AT = _LENGTH_BYTES + len(_BEFORE_DIGEST)
_BLOCK_BYTES = 1 << 20
_REMEDY = "copy it again, or make it anew: the command that trained the run does"


class _About(BaseModel):
    """What the JSON holds. `classes` and `thresholds` are checked by hand: names may have bytes that are no UTF-8."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    sha256: str
    format: int
    kind: Literal["panns", "resnest"]
    settings: dict[str, Any]
    classes: list[Any] = Field(min_length=1)
    thresholds: dict[str, Any]  # "window", "frame": a dict per class (`thresholds.to_dict`), or None
    metrics: dict[str, float | None]  # of the best epoch; None: not a number
    background: str | None
    epoch: int
    versions: dict[str, str]
    created_by: str
    weights_sha256: str  # of the tensors alone, see `weights_digest`


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A model and what is known of it."""

    path: Path
    kind: Literal["panns", "resnest"]
    settings: AnySettings  # `corpus`, `run_dir` and the like are of no meaning
    classes: tuple[str, ...]
    thresholds: dict[
        str, Any
    ]  # "window" and "frame": a dict per class, for `thresholds.from_dict`; "frame" may be None
    metrics: dict[str, float]  # of the best epoch, over the validation recordings
    background: str | None  # the label of recordings in which nothing is to be found
    epoch: int
    versions: dict[str, str]
    created_by: str
    digest: str  # SHA-256 of the file, hexadecimal
    weights: dict[str, Tensor] = dataclasses.field(repr=False)  # mapped from the file

    def build_model(self) -> nn.Module:
        """The model on the CPU in eval mode, with its own copy of the weights. InputError where they don't fit."""
        model = build_untrained(self.settings, len(self.classes))
        check_entries(self.path, self.weights, model.state_dict(), _REMEDY)
        model.load_state_dict(self.weights, strict=True)
        return model.eval()


def about(
    settings: AnySettings,
    classes: Sequence[str],
    epoch: int,
    metrics: Mapping[str, float],
    weights: Mapping[str, Tensor],
) -> dict[str, Any]:
    """What a bundle says of these weights, without thresholds. `metrics`: of the epoch that they are from."""
    dumped = settings.model_dump(mode="json")
    return {
        "format": FORMAT,
        "kind": settings.model,
        "settings": {name: value for name, value in dumped.items() if name not in _LEFT_OUT},
        "classes": list(classes),
        "metrics": {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()},
        "background": settings.background_class,
        "epoch": epoch,
        "versions": versions(),
        "created_by": f"aer {__version__}",
        "weights_sha256": weights_digest(weights),
    }


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write(
    path: Path, told: Mapping[str, Any], found: Mapping[str, Any], weights: Mapping[str, Tensor], advice: str
) -> None:
    """Writes a bundle, whole or not at all: what `about` gave, thresholds {"window": [...], "frame": ...}, weights.

    Raises AerError, which ends with `advice`, where the file can't be written.
    """
    text = json.dumps({"sha256": _NO_DIGEST, **told, "thresholds": dict(found)}, allow_nan=False, separators=(",", ":"))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    content = memoryview(safetensors.torch.save(tensors, {"aer": text}))
    if content[_LENGTH_BYTES:_DIGEST_AT] != _BEFORE_DIGEST:
        raise RuntimeError("this version of safetensors writes its metadata in another place")
    digest = hashlib.sha256(content).hexdigest().encode()
    parts = (content[:_DIGEST_AT], digest, content[_DIGEST_AT + len(digest) :])
    write_whole(path, lambda file: file.writelines(parts), advice)


def is_of(path: Path, told: Mapping[str, Any]) -> bool:
    """True if the file is a whole bundle that says of its model what `about` gave."""
    try:
        _check(path)
        with _reading(path), safetensors.safe_open(path, framework="pt") as file:
            written = json.loads(file.metadata()["aer"])
    except InputError:
        return False
    return isinstance(written, dict) and {**written, **json.loads(json.dumps(told))} == written


def load(path: Path) -> Bundle:
    """Reads a bundle. Its weights are mapped from the file, not copied.

    Raises InputError, in one line that begins with the path, for a file that is missing, damaged (in a single bit), no
    bundle, of a newer format, or whose weights do not fit its settings.
    """
    digest = _check(path)
    with _reading(path):
        with safetensors.safe_open(path, framework="pt") as file:
            text = file.metadata()["aer"]
        weights = safetensors.torch.load_file(path)
    told = _parse(path, text)
    kind, n_classes = told.kind, len(told.classes)
    settings = _settings(path, kind, told.settings)
    _check_sizes(path, settings, n_classes, weights)
    bundle = Bundle(
        path=path,
        kind=kind,
        settings=settings,
        classes=tuple(told.classes),
        thresholds=told.thresholds,
        metrics={name: math.nan if value is None else value for name, value in told.metrics.items()},
        background=told.background,
        epoch=told.epoch,
        versions=told.versions,
        created_by=told.created_by,
        digest=digest,
        weights=weights,
    )
    check_entries(path, weights, build_untrained(settings, n_classes).state_dict(), _REMEDY)
    return bundle


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What safetensors raises, as InputError."""
    try:
        yield
    except (safetensors.SafetensorError, OSError, RecursionError, ValueError, LookupError) as error:
        raise InputError(f"{path}: can't be read: {' '.join(str(error).split())[:200]}; {_REMEDY}") from error


def _check(path: Path) -> str:
    """Compares a file with its checksum, reading it once; returns the SHA-256 of the file as it is, hexadecimal."""
    whole, zeroed = hashlib.sha256(), hashlib.sha256()
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        with path.open("rb") as file:
            begin = file.read(_DIGEST_AT + len(_NO_DIGEST))
            if begin[_LENGTH_BYTES:_DIGEST_AT] != _BEFORE_DIGEST:
                raise InputError(f"{path}: no bundle of aer (or damaged in its first bytes): give a run's {NAME}")
            whole.update(begin)
            zeroed.update(begin[:_DIGEST_AT] + _NO_DIGEST.encode())
            while block := file.read(_BLOCK_BYTES):
                whole.update(block)
                zeroed.update(block)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    if begin[_DIGEST_AT:] != zeroed.hexdigest().encode():
        raise InputError(f"{path}: damaged: its content does not match its checksum; {_REMEDY}")
    return whole.hexdigest()


def _parse(path: Path, text: str) -> _About:
    """The JSON as what it should be. A checksum is no signature: whoever made the file may have written anything."""
    try:
        raw = json.loads(text)
        number = raw.get("format") if isinstance(raw, dict) else None
        if type(number) is int and number > FORMAT:
            raise InputError(
                f"{path}: of format {str(number)[:20]}, written by a newer aer; this one ({__version__}) reads "
                f"{FORMAT}: update aer"
            )
        told = _About.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{path}: no bundle of aer: {_first(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no bundle of aer: its JSON can't be read") from error
    if told.format != FORMAT:
        raise InputError(f"{path}: no bundle of aer: there is no format {told.format}")
    names = told.classes
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise InputError(f"{path}: no bundle of aer: its classes are not names, each once")
    _check_thresholds(path, told)
    return told


def _check_thresholds(path: Path, told: _About) -> None:
    """A readable entry for every class, by window and (or None) by frame."""
    lists = told.thresholds
    try:
        if lists.keys() != {"window", "frame"} or lists["window"] is None:
            raise ValueError("not by window and frame")
        for entries in lists.values():
            if entries is not None and len([thresholds.from_dict(entry) for entry in entries]) != len(told.classes):
                raise ValueError("not one for each class")
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AerError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: no bundle of aer: its thresholds can't be used ({reason})") from error


def _settings(path: Path, kind: str, dumped: Mapping[str, Any]) -> AnySettings:
    own = {name: value for name, value in dumped.items() if name not in _LEFT_OUT}
    try:
        return KINDS[kind].model_validate({**own, **_PLACES})
    except ValidationError as error:
        newer = any(detail["type"] == "extra_forbidden" for detail in error.errors())
        hint = "; it may be from a newer aer: update aer" if newer else ""
        raise InputError(f"{path}: its settings can't be used: {_first(error)}{hint}") from error
    except (ArithmeticError, ValueError) as error:  # numbers beyond what can be multiplied
        raise InputError(f"{path}: its settings can't be used: {' '.join(str(error).split())[:200]}") from error


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, with where it is."""
    detail = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{f'{where}: ' if where else ''}{detail['msg'].removeprefix('Value error, ')}"[:200]


def _check_sizes(path: Path, settings: AnySettings, n_classes: int, weights: Mapping[str, Tensor]) -> None:
    """InputError where settings and weights speak of other sizes: before a model of any size is made."""
    mel = settings.mel
    bins = mel.window_samples // 2 + 1
    wanted: dict[str, tuple[int, ...]]
    if isinstance(settings, PannsSettings):
        wanted = {
            "spectrogram_extractor.stft.conv_real.weight": (bins, 1, mel.window_samples),
            "logmel_extractor.melW": (bins, mel.n_mels),
            "att_block.cla.weight": (n_classes, EMBEDDING_SIZE, 1),
        }
    else:
        wanted = {
            "frontend.window": (mel.window_samples,),
            "frontend.filter_bank": (bins, mel.n_mels),
            "head.6.weight": (n_classes, HIDDEN_SIZE),
        }
    for name, shape in wanted.items():
        found = tuple(weights[name].shape) if name in weights else None
        if found != shape:
            raise InputError(
                f"{path}: weights of another model: {name} is {found or 'missing'}, and {shape} by its settings and "
                f"classes; {_REMEDY}"
            )
