"""The kinds of models in one table: the settings and the builder of each, and what a reader of bundles must know.

A new model takes a name in `kinds`, a settings class in `aer.settings`, a module beside this one and an entry in
`MODELS`, recipes in `config.py`, and a training script; docs/architecture.md lists all places. Nothing here imports
torch before a model is built, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aer.models.kinds import Kind
from aer.settings import AnySettings, PannsSettings, ResnestSettings, Settings

if TYPE_CHECKING:
    from torch import nn

OneKind = TypeVar("OneKind", bound=Settings)
Shapes = dict[str, tuple[int, ...]]
# from settings of the model's own class and the number of classes
BuildModel = Callable[[Any, int], "nn.Module"]


@dataclass(frozen=True)
class ModelKind(Generic[OneKind]):
    """A kind of model, as the rest of aer needs to know it."""

    # for the console
    title: str
    settings: type[OneKind]
    build: BuildModel
    # settings with which `build` neither reads nor downloads weights
    from_scratch: Mapping[str, Any]
    # settings, number of classes -> shapes of the entries that depend on them, to be checked before a model is built
    shapes: Callable[[Any, int], Shapes]


def _build_panns(settings: PannsSettings, n_classes: int) -> nn.Module:
    from aer.models.panns import build_panns

    return build_panns(settings, n_classes)


def _panns_shapes(settings: PannsSettings, n_classes: int) -> Shapes:
    from aer.models.panns import shapes

    return shapes(settings, n_classes)


def _build_resnest(settings: ResnestSettings, n_classes: int) -> nn.Module:
    from aer.models.resnest import build_resnest

    return build_resnest(settings, n_classes)


def _resnest_shapes(settings: ResnestSettings, n_classes: int) -> Shapes:
    from aer.models.resnest import shapes

    return shapes(settings, n_classes)


PANNS = ModelKind("PANNs Cnn14", PannsSettings, _build_panns, {"pretrained_panns": None}, _panns_shapes)
RESNEST = ModelKind("ResNeSt", ResnestSettings, _build_resnest, {"pretrained": False}, _resnest_shapes)

MODELS: dict[Kind, ModelKind[PannsSettings] | ModelKind[ResnestSettings]] = {"panns": PANNS, "resnest": RESNEST}


def without_pretrained(settings: AnySettings) -> AnySettings:
    """Return the settings with which a model is built from scratch: nothing is read or downloaded."""
    return settings.model_copy(update=MODELS[settings.model].from_scratch)


def build_untrained(settings: AnySettings, n_classes: int) -> nn.Module:
    """Build a model with its first weights, from scratch; the caller's random numbers do not shift."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return MODELS[settings.model].build(without_pretrained(settings), n_classes)
