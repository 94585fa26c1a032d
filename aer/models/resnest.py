"""A ResNeSt on mel images (Zhang et al. 2020, arXiv 2004.08955), from the resnest package, with a head of its own.

B clips, S samples, C classes.
"""

import urllib.error
from pathlib import Path

import resnest.torch
import torch
from resnest.torch import ablation
from resnest.torch import resnest as family
from torch import Tensor, nn

from aer.augment import SpecAugment, WaveformAugment, mixup
from aer.errors import InputError
from aer.frontend import MelImage
from aer.settings import ResnestSettings, near_matches

FEATURES = 2048
HIDDEN = 1024
PUBLISHED = {**family.resnest_model_urls, **ablation.resnest_model_urls}  # name of a model: address of its weights


class ResnestClassifier(nn.Module):
    """Waveforms (B, S) -> clip-wise logits and probabilities (B, C)."""

    head_prefixes = ("head.6.",)  # what depends on the classes: the last layer

    def __init__(self, settings: ResnestSettings, n_classes: int):
        super().__init__()
        self.mixup_on = settings.mixup.on
        self.single_label = settings.loss_func == "CrossEntropy"
        self.waveform_augment = WaveformAugment(settings.waveform_augment)
        augment = SpecAugment(settings.spec_augment)
        self.frontend = MelImage(settings.mel, settings.sample_rate, settings.image_height, augment)
        self.backbone = build_backbone(settings.backbone, settings.pretrained)
        self.head = nn.Sequential(
            nn.Linear(FEATURES, HIDDEN),
            nn.LeakyReLU(0.02),
            nn.Dropout(0.2),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(0.02),
            nn.Dropout(0.2),
            nn.Linear(HIDDEN, n_classes),
        )

    def forward(
        self, waveform: Tensor, mixup_weight: Tensor | None = None, mixup_partner: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`mixup_weight` (B,) and `mixup_partner` (B,) mix each clip with another of the batch, where settings say."""
        mixing = None if mixup_weight is None or mixup_partner is None else (mixup_weight, mixup_partner)
        waveform = self.waveform_augment(waveform)
        if mixing is not None and self.mixup_on == "waveform":
            waveform = mixup(waveform, *mixing)
        image = self.frontend(waveform)
        if mixing is not None and self.mixup_on == "spectrogram":
            image = mixup(image, *mixing)
        logits = self.head(self.backbone(image)).float()
        return {"logits": logits, "clipwise_output": logits.softmax(dim=1) if self.single_label else logits.sigmoid()}


def build_resnest(settings: ResnestSettings, n_classes: int) -> ResnestClassifier:
    """A ResNeSt classifier for that many classes."""
    return ResnestClassifier(settings, n_classes)


def build_backbone(name: str, pretrained: bool) -> nn.Module:
    """Images (B, 3, H, W) -> features (B, 2048). InputError for an unknown name or weights that can't be had."""
    if name not in PUBLISHED:
        raise InputError(f"backbone {name!r} is not in the resnest package{near_matches(name, PUBLISHED)}")
    backbone: nn.Module = getattr(resnest.torch, name)(pretrained=False)
    if pretrained:
        backbone.load_state_dict(_download(PUBLISHED[name]))
    backbone.fc = nn.Identity()  # ImageNet's classes go, the pooled features stay
    return backbone


def _download(url: str) -> dict[str, Tensor]:
    """The package's weights, downloaded once into torch's cache; no code from the file is run."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    try:
        weights: dict[str, Tensor] = torch.hub.load_state_dict_from_url(url, check_hash=True, weights_only=True)
    except urllib.error.URLError as error:
        raise InputError(
            f"pretrained weights can't be downloaded ({error.reason}): put {cached.name} (from {url}) into "
            f"{cached.parent}, or set pretrained to False"
        ) from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"pretrained weights {cached} are damaged: remove the file ({reason})") from error
    return weights
