"""A trained model in one file, `best.aer`: weights, settings, classes, thresholds, metrics. It needs nothing else.

The file is a safetensors file, which holds plain numbers and can run no code. Its metadata has one entry, `aer`: JSON
that `_Metadata` describes. That begins with the SHA-256 of the file itself, taken with zeros in place of these 64
digits, so that a single changed bit is found wherever it is. Nothing in the file depends on the time or on where the
run was: the same run gives the same bytes.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from aer import __version__
from aer.errors import AerError, InputError
from aer.models import thresholds
from aer.models.kinds import Kind
from aer.models.registry import MODELS, build_untrained
from aer.models.weights import check_entries
from aer.settings import ADDED, AnySettings
from aer.utils.files import write_whole
from aer.utils.versions import versions

# to be increased when a reader of today's files could no longer read tomorrow's
FORMAT = 1
# in a run's folder
NAME = "best.aer"

# settings of a computer, not of the model: left out; where one is required, a reader takes the value given here
_LOCAL_REQUIRED = {"corpus": ".", "run_dir": ".", "workers": 0}
_LOCAL = (*_LOCAL_REQUIRED, "csv", "initial_weights", "pretrained_panns", "fresh", "device")

_NO_DIGEST = "0" * 64
# at the file's start: the length of the JSON that follows
_LENGTH_BYTES = 8
_BEFORE_DIGEST = b'{"__metadata__":{"aer":"{\\"sha256\\":\\"'
_DIGEST_AT = _LENGTH_BYTES + len(_BEFORE_DIGEST)
_BLOCK_BYTES = 1 << 20
_REMEDY = "copy it again, or make it anew: the command that trained the run does"


class _Metadata(BaseModel):
    """The JSON. `classes` and `thresholds` are checked by hand: names may have bytes that are no UTF-8."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    sha256: str
    format: int
    kind: Kind
    settings: dict[str, Any]
    classes: list[Any] = Field(min_length=1)
    # "window" and "frame": a dict per class (`thresholds.to_dict`), or None
    thresholds: dict[str, Any]
    # of the best epoch; None: not a number
    metrics: dict[str, float | None]
    background: str | None
    epoch: int
    versions: dict[str, str]
    created_by: str
    # of the tensors alone, see `weights_digest`
    weights_sha256: str


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A model with its settings, classes, thresholds and metrics."""

    path: Path
    kind: Kind
    # `corpus`, `run_dir` and the like have no meaning
    settings: AnySettings
    classes: tuple[str, ...]
    # "window" and "frame": a dict per class, for `thresholds.from_dict`; "frame" may be None
    thresholds: dict[str, Any]
    # of the best epoch, over the validation recordings
    metrics: dict[str, float]
    # the label of recordings in which nothing is to be found
    background: str | None
    epoch: int
    versions: dict[str, str]
    created_by: str
    # SHA-256 of the file, hexadecimal
    digest: str
    # mapped from the file
    weights: dict[str, Tensor] = dataclasses.field(repr=False)

    def build_model(self) -> nn.Module:
        """Build the model on the CPU, in eval mode, with its own copy of the weights."""
        model = build_untrained(self.settings, len(self.classes))
        check_entries(self.path, self.weights, model.state_dict(), _REMEDY)
        model.load_state_dict(self.weights, strict=True)
        return model.eval()


def build_metadata(
    settings: AnySettings,
    classes: Sequence[str],
    epoch: int,
    metrics: Mapping[str, float],
    weights: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Return what a bundle says of these weights, all but thresholds. `metrics`: of the epoch that they are from."""
    dumped = settings.model_dump(mode="json")
    # what earlier versions did, they read, and a resumed run of theirs has the same bundle
    left_out = {*_LOCAL, *(name for name, value in ADDED.items() if dumped[name] == value)}
    return {
        "format": FORMAT,
        "kind": settings.model,
        "settings": {name: value for name, value in dumped.items() if name not in left_out},
        "classes": list(classes),
        "metrics": {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()},
        "background": settings.background_class,
        "epoch": epoch,
        "versions": versions(),
        "created_by": f"aer {__version__}",
        "weights_sha256": weights_digest(weights),
    }


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256, hexadecimal, of tensors with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write(
    path: Path, metadata: Mapping[str, Any], fitted: Mapping[str, Any], weights: Mapping[str, Tensor], advice: str
) -> None:
    """Write a bundle, whole or not at all: metadata of `build_metadata`, thresholds {"window": [...], "frame": ...}.

    Raise AerError, which ends with `advice`, if the file can't be written.
    """
    content = {"sha256": _NO_DIGEST, **metadata, "thresholds": dict(fitted)}
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    file_bytes = memoryview(safetensors.torch.save(tensors, {"aer": text}))
    if file_bytes[_LENGTH_BYTES:_DIGEST_AT] != _BEFORE_DIGEST:
        raise RuntimeError("this version of safetensors writes its metadata in another place")
    digest = hashlib.sha256(file_bytes).hexdigest().encode()
    pieces = (file_bytes[:_DIGEST_AT], digest, file_bytes[_DIGEST_AT + len(digest) :])
    write_whole(path, lambda file: file.writelines(pieces), advice)


def has_metadata(path: Path, metadata: Mapping[str, Any]) -> bool:
    """Return whether the file is a whole bundle with what `build_metadata` returned."""
    try:
        _check(path)
        with _reading(path), safetensors.safe_open(path, framework="pt") as file:
            written = json.loads(file.metadata()["aer"])
    except InputError:
        return False
    return isinstance(written, dict) and {**written, **json.loads(json.dumps(metadata))} == written


def load(path: Path) -> Bundle:
    """Read a bundle. Its weights are mapped from the file, not copied.

    Raise InputError, in one line that begins with the path, for a file that is missing, damaged (in a single bit), no
    bundle, of a newer format, or whose weights do not fit its settings.
    """
    digest = _check(path)
    with _reading(path):
        with safetensors.safe_open(path, framework="pt") as file:
            text = file.metadata()["aer"]
        weights = safetensors.torch.load_file(path)
    metadata = _parse(path, text)
    settings = _parse_settings(path, metadata.kind, metadata.settings)
    n_classes = len(metadata.classes)
    # before a model of any size is built
    _check_shapes(path, MODELS[metadata.kind].shapes(settings, n_classes), weights)
    check_entries(path, weights, build_untrained(settings, n_classes).state_dict(), _REMEDY)
    return Bundle(
        path=path,
        kind=metadata.kind,
        settings=settings,
        classes=tuple(metadata.classes),
        thresholds=metadata.thresholds,
        metrics={name: math.nan if value is None else value for name, value in metadata.metrics.items()},
        background=metadata.background,
        epoch=metadata.epoch,
        versions=metadata.versions,
        created_by=metadata.created_by,
        digest=digest,
        weights=weights,
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise InputError for what safetensors raises."""
    try:
        yield
    except (safetensors.SafetensorError, OSError, RecursionError, ValueError, LookupError) as error:
        raise InputError(f"{path}: can't be read: {' '.join(str(error).split())[:200]}; {_REMEDY}") from error


def _check(path: Path) -> str:
    """Return the SHA-256 of the file as it is, hexadecimal; raise InputError if its checksum differs. Reads it once."""
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


def _parse(path: Path, text: str) -> _Metadata:
    """Return the JSON, checked: a checksum is no signature, and the file may come from anyone."""
    try:
        raw = json.loads(text)
        number = raw.get("format") if isinstance(raw, dict) else None
        if type(number) is int and number > FORMAT:
            raise InputError(
                f"{path}: of format {str(number)[:20]}, written by a newer aer; this one ({__version__}) reads "
                f"{FORMAT}: update aer"
            )
        metadata = _Metadata.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{path}: no bundle of aer: {_first(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no bundle of aer: its JSON can't be read") from error
    if metadata.format != FORMAT:
        raise InputError(f"{path}: no bundle of aer: there is no format {metadata.format}")
    names = metadata.classes
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise InputError(f"{path}: no bundle of aer: its classes are not names, each once")
    _check_thresholds(path, metadata)
    return metadata


def _check_thresholds(path: Path, metadata: _Metadata) -> None:
    """Raise InputError unless there is a readable entry for every class, by window and (or None) by frame."""
    by_unit = metadata.thresholds
    try:
        if by_unit.keys() != {"window", "frame"} or by_unit["window"] is None:
            raise ValueError("not by window and frame")
        for entries in by_unit.values():
            if entries is not None and len([thresholds.from_dict(entry) for entry in entries]) != len(metadata.classes):
                raise ValueError("not one for each class")
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AerError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: no bundle of aer: its thresholds can't be used ({reason})") from error


def _parse_settings(path: Path, kind: Kind, dumped: Mapping[str, Any]) -> AnySettings:
    """Return the settings of the model; raise InputError if they are not valid."""
    own = {name: value for name, value in dumped.items() if name not in _LOCAL}
    try:
        return MODELS[kind].settings.model_validate({**own, **_LOCAL_REQUIRED})
    except ValidationError as error:
        newer = any(detail["type"] == "extra_forbidden" for detail in error.errors())
        hint = "; it may be from a newer aer: update aer" if newer else ""
        raise InputError(f"{path}: its settings can't be used: {_first(error)}{hint}") from error
    except (ArithmeticError, ValueError) as error:
        # numbers beyond what can be multiplied
        raise InputError(f"{path}: its settings can't be used: {' '.join(str(error).split())[:200]}") from error


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong, with where it is."""
    detail = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(name) for name in detail["loc"])
    return f"{f'{where}: ' if where else ''}{detail['msg'].removeprefix('Value error, ')}"[:200]


def _check_shapes(path: Path, wanted: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]) -> None:
    """Raise InputError if weights lack one of these entries or have it in another shape."""
    for name, shape in wanted.items():
        found = tuple(weights[name].shape) if name in weights else None
        if found != shape:
            raise InputError(
                f"{path}: weights of another model: {name} is {found or 'missing'}, and {shape} by its settings and "
                f"classes; {_REMEDY}"
            )
