"""The kinds of models: the settings and the builder of each."""

import torch
from torch import nn

from aer.models.panns import build_panns
from aer.models.resnest import build_resnest
from aer.settings import AnySettings, PannsSettings, ResnestSettings

KINDS: dict[str, type[PannsSettings] | type[ResnestSettings]] = {"panns": PannsSettings, "resnest": ResnestSettings}


def build_untrained(settings: AnySettings, n_classes: int) -> nn.Module:
    """A model of that kind with first weights; nothing is read or downloaded for them, and no draw is taken."""
    with torch.random.fork_rng(devices=[]):
        if isinstance(settings, PannsSettings):
            return build_panns(settings.model_copy(update={"pretrained_panns": None}), n_classes)
        return build_resnest(settings.model_copy(update={"pretrained": False}), n_classes)
