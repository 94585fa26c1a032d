"""A ResNeSt (Zhang et al. 2020, arXiv 2004.08955) on mel images, with a head for audio events.

B clips of S samples, C classes.
"""

import hashlib
import http.client
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from aer.errors import InputError
from aer.models.augment import Mixup, SpecAugment, WaveformAugment
from aer.models.frontend import MelImage
from aer.models.weights import check_entries, read_weights
from aer.settings import ResnestSettings
from aer.utils.text import near_matches

# of every backbone of the package
N_FEATURES = 2048
HIDDEN_SIZE = 1024
LEAKY_SLOPE = 0.02
DROPOUT = 0.2


class ResnestClassifier(nn.Module):
    """(B, S) -> logits and clip-wise probability (B, C), embedding (B, N_FEATURES).

    `backbone` maps images (B, 3, H, W) to (B, N_FEATURES).
    """

    # the state dict's entries that depend on the classes
    head_prefixes = ("head.6.",)

    def __init__(self, settings: ResnestSettings, n_classes: int, backbone: nn.Module) -> None:
        super().__init__()
        # one class per clip
        self.exclusive = settings.loss_func == "CrossEntropy"
        self.waveform_augment = WaveformAugment(settings.waveform_augment)
        self.waveform_mixup = Mixup("waveform", settings.mixup)
        self.frontend = MelImage(
            settings.mel, settings.sample_rate, settings.image_height, augment=SpecAugment(settings.spec_augment)
        )
        self.image_mixup = Mixup("spectrogram", settings.mixup)
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.Linear(N_FEATURES, HIDDEN_SIZE),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN_SIZE, n_classes),
        )

    def forward(
        self, waveform: Tensor, mixup_weight: Tensor | None = None, mixup_partner: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return all outputs of a waveform (B, S).

        In training, clips are mixed by mixup_weight (B,) with mixup_partner (B,), where the settings say so.
        """
        waveform = self.waveform_mixup(self.waveform_augment(waveform), mixup_weight, mixup_partner)
        image = self.image_mixup(self.frontend(waveform), mixup_weight, mixup_partner)
        features = self.backbone(image)
        with torch.autocast(waveform.device.type, enabled=False):
            logits = self.head(features.float())
            clipwise = logits.softmax(dim=1) if self.exclusive else logits.sigmoid()
        return {"logits": logits, "clipwise_output": clipwise, "embedding": features.float()}


def build_resnest(settings: ResnestSettings, n_classes: int) -> ResnestClassifier:
    """Build a model for `n_classes` on the backbone that the settings name; `pretrained`: with its ImageNet weights.

    Raise InputError for an unknown backbone, and if its weights can't be had or are damaged.
    """
    backbone = build_backbone(settings.backbone)
    if settings.pretrained:
        load_imagenet(backbone, imagenet_file(settings.backbone))
    # ImageNet's classes go, the pooled features stay
    backbone.fc = nn.Identity()
    return ResnestClassifier(settings, n_classes, backbone)


def shapes(settings: ResnestSettings, n_classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the state dict's entries that depend on front end and classes."""
    mel = settings.mel
    return {
        "frontend.window": (mel.window_samples,),
        "frontend.filter_bank": (mel.window_samples // 2 + 1, mel.n_mels),
        "head.6.weight": (n_classes, HIDDEN_SIZE),
    }


def build_backbone(name: str) -> nn.Module:
    """Build the package's model `name`, untrained, with its ImageNet layer `fc`; raise InputError for another name."""
    constructors = backbones()
    if name not in constructors:
        hint = near_matches(name, constructors) or f"; the resnest package has {', '.join(constructors)}"
        raise InputError(f"backbone {name!r}: no such model{hint}")
    # pretrained=True would unpickle the download without restrictions
    return constructors[name](pretrained=False)


def backbones() -> dict[str, Callable[..., nn.Module]]:
    """Return the constructors of the resnest package's models, by name."""
    from resnest.torch import ablation, resnest

    return {name: getattr(module, name) for module in (resnest, ablation) for name in module.__all__}


def imagenet_url(name: str) -> str:
    """Return where the package says that the ImageNet weights of `name` are."""
    from resnest.torch import ablation, resnest

    url: str = {**resnest.resnest_model_urls, **ablation.resnest_model_urls}[name]
    return url


def imagenet_file(name: str) -> Path:
    """Return the file with the ImageNet weights of `name` in torch.hub's cache, downloaded if it is not there.

    Raise InputError if it can't be downloaded.
    """
    url = imagenet_url(name)
    file = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    if file.exists():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=_hash_prefix(file), progress=False)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        # no network, no space, another content
        raise InputError(
            f"{url}: can't be downloaded ({' '.join(str(error).split())}); fetch {file.name} elsewhere "
            f"and put it into {file.parent}, or set pretrained to False"
        ) from error
    return file


def load_imagenet(backbone: nn.Module, file: Path) -> None:
    """Load `file` into `backbone`, every entry of it; raise InputError if it is not the file that was published."""
    remedy = f"delete it and start again, or put a good {file.name} there"
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(_hash_prefix(file)):
        raise InputError(f"{file}: damaged, its SHA-256 does not start with {_hash_prefix(file)}; {remedy}")
    weights = read_weights(file, remedy)
    check_entries(file, weights, backbone.state_dict(), remedy)
    backbone.load_state_dict(weights, strict=True)


def _hash_prefix(file: Path) -> str:
    """Return the first digits of the SHA-256, which end the name: resnest50-528c19ca.pth."""
    return file.stem.rpartition("-")[2]
