"""PANNs Cnn14 with the decision-level attention head (Kong et al. 2020, arXiv 1912.10211).

Its state dict has the names and shapes of the published `Cnn14_DecisionLevelAtt`. B clips of S samples, T frames of
M mel bins, C classes; the poolings halve T and M five times, which leaves T' segments.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aer.errors import InputError
from aer.models.augment import Mixup, SpecAugment, WaveformAugment
from aer.models.frontend import build_logmel, build_spectrogram
from aer.models.weights import check_entries, read_weights
from aer.settings import CNN14_POOLING, PannsSettings

EMBEDDING_SIZE = 2048
# no segment outweighs another by more than e^20
LARGEST_ATTENTION_LOGIT = 10.0

# Maps up to this height x width are convolved by unfold + matmul on the CPU. Measured on 2 AVX2 cores, batch 16,
# forward and backward, oneDNN -> matmul: 3x2 1.77 -> 0.73 s, 6x4 0.70 -> 0.48, 15x2 1.80 -> 1.15, but 15x4 1.22 -> 1.30
SMALL_MAP = 32

FRONT_END_PREFIXES = ("spectrogram_extractor.", "logmel_extractor.")
PUBLISHED_SETTINGS = (
    "sample_rate 32000, mel.window_samples 1024, mel.hop_samples 320, mel.n_mels 64, mel.fmin_hz 50, mel.fmax_hz 14000"
)
REMEDY = (
    "pretrained_panns takes the published Cnn14_DecisionLevelAtt_mAP=0.425.pth (https://zenodo.org/record/3987831), "
    "or leave it out to train from scratch"
)


class SmallMapConv2d(nn.Conv2d):
    """A 3x3 convolution (padding 1, no bias): (B, in, H, W) -> (B, out, H, W).

    On the CPU it is computed by the quicker of two ways for the size of the map.
    """

    def reset_parameters(self) -> None:
        """Draw the first weights as published: Xavier. Here, so that 75 million numbers are not drawn twice."""
        nn.init.xavier_uniform_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return self.matmul(input) if self._is_small(input) else super().forward(input)

    def matmul(self, x: Tensor) -> Tensor:
        """Return the same convolution as one matrix product over all patches: (B, in, H, W) -> (B, out, H, W)."""
        batch_size, _, height, width = x.shape
        # (B, in*9, H*W)
        patches = F.unfold(x, kernel_size=3, padding=1)
        patches = patches.transpose(1, 2).reshape(batch_size * height * width, -1)
        # (B*H*W, out)
        product = patches @ self.weight.flatten(1).t()
        return product.view(batch_size, height * width, -1).transpose(1, 2).reshape(batch_size, -1, height, width)

    def _is_small(self, x: Tensor) -> bool:
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return False
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if tracing or torch.compiler.is_compiling():
            # an exported graph must not depend on the size of the example
            return False
        return x.shape[2] * x.shape[3] <= SMALL_MAP


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and ReLU, then average pooling over `pool` x `pool`.

    (B, in, H, W) -> (B, out, H // pool, W // pool).
    """

    def __init__(self, in_channels: int, out_channels: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.conv1 = SmallMapConv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.conv2 = SmallMapConv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.avg_pool2d(x, self.pool) if self.pool > 1 else x


class AttBlock(nn.Module):
    """Segments -> clip: each class averages its segments' probabilities by its own softmax weights over time.

    `exclusive` (cross-entropy): one class per clip. Then segments are averaged before the softmax over classes.
    """

    def __init__(self, n_features: int, n_classes: int, exclusive: bool) -> None:
        super().__init__()
        self.exclusive = exclusive
        self.att = nn.Conv1d(n_features, n_classes, kernel_size=1)
        self.cla = nn.Conv1d(n_features, n_classes, kernel_size=1)
        # published weights have it, no forward pass uses it: frozen, so that distributed training does not wait for it
        self.bn_att = nn.BatchNorm1d(n_classes).requires_grad_(False)
        init_weights(self.att)
        init_weights(self.cla)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (B, C), clip-wise (B, C) and segment-wise (B, T', C) probability of features (B, features, T').

        All are float32, also under mixed precision.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            attention = self.att(features).clamp(-LARGEST_ATTENTION_LOGIT, LARGEST_ATTENTION_LOGIT)
            # (B, C, T'), both
            log_weight = F.log_softmax(attention, dim=2)
            score = self.cla(features)
            if self.exclusive:
                logits = (log_weight.exp() * score).sum(dim=2)
                return logits, logits.softmax(dim=1), score.softmax(dim=1).transpose(1, 2)
            # logit(p) = log p - log(1 - p), both summed as logarithms: neither rounds to log 0 when p nears 0 or 1
            present = torch.logsumexp(log_weight + F.logsigmoid(score), dim=2)
            absent = torch.logsumexp(log_weight + F.logsigmoid(-score), dim=2)
            logits = present - absent
            return logits, logits.sigmoid(), score.sigmoid().transpose(1, 2)


class Cnn14(nn.Module):
    """(B, S) -> logits and clip-wise probability (B, C), frame-wise probability (B, T, C), embedding (B, 2048)."""

    # the state dict's entries that depend on the classes
    head_prefixes = ("att_block.",)

    def __init__(self, settings: PannsSettings, n_classes: int) -> None:
        super().__init__()
        self.dropout = settings.dropout
        self.embedding_dropout = settings.embedding_dropout
        self.spectrogram_extractor = build_spectrogram(settings.mel)
        self.logmel_extractor = build_logmel(settings.mel, settings.sample_rate)
        self.bn0 = nn.BatchNorm2d(settings.mel.n_mels)
        self.conv_block1 = ConvBlock(1, 64, pool=2)
        self.conv_block2 = ConvBlock(64, 128, pool=2)
        self.conv_block3 = ConvBlock(128, 256, pool=2)
        self.conv_block4 = ConvBlock(256, 512, pool=2)
        self.conv_block5 = ConvBlock(512, 1024, pool=2)
        self.conv_block6 = ConvBlock(1024, EMBEDDING_SIZE, pool=1)
        self.fc1 = nn.Linear(EMBEDDING_SIZE, EMBEDDING_SIZE)
        self.att_block = AttBlock(EMBEDDING_SIZE, n_classes, exclusive=settings.loss_func == "CrossEntropy")

        self.waveform_augment = WaveformAugment(settings.waveform_augment)
        self.waveform_mixup = Mixup("waveform", settings.mixup)
        # 0 is the mean, after bn0
        self.spec_augment = SpecAugment(settings.spec_augment, fill=0.0)
        self.spectrogram_mixup = Mixup("spectrogram", settings.mixup)
        init_weights(self.fc1)

    def forward(
        self, waveform: Tensor, mixup_weight: Tensor | None = None, mixup_partner: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return all outputs of a waveform (B, S).

        In training, clips are mixed by mixup_weight (B,) with mixup_partner (B,), where the settings say so.
        """
        waveform = self.waveform_mixup(self.waveform_augment(waveform), mixup_weight, mixup_partner)
        # (B, 1, T, M)
        x = self.logmel(waveform)
        # normalises each mel bin: (B, M, T, 1) and back
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        x = self.spectrogram_mixup(self.spec_augment(x), mixup_weight, mixup_partner)
        # (B, EMBEDDING_SIZE, T')
        features = self.embed(x)
        logits, clipwise, segmentwise = self.att_block(features)
        return {
            "logits": logits,
            "clipwise_output": clipwise,
            "framewise_output": spread_over_frames(segmentwise, x.shape[2]),
            "embedding": features.float().mean(dim=2),
        }

    def logmel(self, waveform: Tensor) -> Tensor:
        """Return log-mel frames (B, 1, T, M) in dB, float32, of a waveform (B, S)."""
        with torch.autocast(waveform.device.type, enabled=False):
            x: Tensor = self.logmel_extractor(self.spectrogram_extractor(waveform.float()))
            return x

    def embed(self, x: Tensor) -> Tensor:
        """Return features (B, EMBEDDING_SIZE, T') of log-mel frames (B, 1, T, M)."""
        for block in self._blocks():
            x = F.dropout(block(x), self.dropout, self.training)
        # over frequency
        x = x.mean(dim=3)
        x = F.max_pool1d(x, 3, stride=1, padding=1) + F.avg_pool1d(x, 3, stride=1, padding=1)
        x = F.dropout(x, self.embedding_dropout, self.training).transpose(1, 2)
        x = F.relu(self.fc1(x)).transpose(1, 2)
        return F.dropout(x, self.embedding_dropout, self.training)

    def _blocks(self) -> tuple[ConvBlock, ...]:
        return (
            self.conv_block1,
            self.conv_block2,
            self.conv_block3,
            self.conv_block4,
            self.conv_block5,
            self.conv_block6,
        )


def spread_over_frames(segmentwise: Tensor, frames: int) -> Tensor:
    """Return (B, frames, C) of (B, T', C): each segment for its frames, the last one also for the frames left over."""
    segment = torch.arange(frames, device=segmentwise.device) // CNN14_POOLING
    return segmentwise[:, segment.clamp(max=segmentwise.shape[1] - 1)]


def frame_scores(output: Mapping[str, Tensor]) -> Tensor:
    """Return (B, T, C): how probable it is that a class is in the clip and audible in this frame.

    The frame-wise output alone is not enough: frames that the attention passes over are never taught to be silent.
    `output`: what `Cnn14` returns.
    """
    return output["framewise_output"] * output["clipwise_output"].unsqueeze(1)


def init_weights(layer: nn.Conv1d | nn.Linear) -> None:
    """Draw the first weights as published: Xavier, and zero bias. (Batch normalisation begins with 1 and 0 anyway.)"""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def build_panns(settings: PannsSettings, n_classes: int) -> Cnn14:
    """Build a model for `n_classes`, from scratch or, with `pretrained_panns`, with published weights below a new head.

    Raise InputError for weights that can't be read or are another model's.
    """
    if settings.pretrained_panns is None:
        return Cnn14(settings, n_classes)
    return load_published(settings.pretrained_panns, settings, n_classes)


def shapes(settings: PannsSettings, n_classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the state dict's entries that depend on front end and classes."""
    mel = settings.mel
    bins = mel.window_samples // 2 + 1
    return {
        "spectrogram_extractor.stft.conv_real.weight": (bins, 1, mel.window_samples),
        "logmel_extractor.melW": (bins, mel.n_mels),
        "att_block.cla.weight": (n_classes, EMBEDDING_SIZE, 1),
    }


def load_published(path: Path, settings: PannsSettings, n_classes: int) -> Cnn14:
    """Load `path` strictly at its own number of classes, then put a new head on for `n_classes`.

    Raise InputError for weights that can't be read, are another model's or learnt from another spectrogram.
    """
    weights = read_weights(path, REMEDY)
    head = weights.get("att_block.cla.weight")
    if head is None or head.dim() != 3:
        raise InputError(f"{path}: weights of another model: no attention head (att_block.cla.weight); {REMEDY}")
    model = Cnn14(settings, len(head))
    check_front_end(path, weights, model)
    check_entries(path, weights, model.state_dict(), REMEDY)
    model.load_state_dict(weights, strict=True)
    model.att_block = AttBlock(EMBEDDING_SIZE, n_classes, exclusive=settings.loss_func == "CrossEntropy")
    return model


def check_front_end(path: Path, weights: dict[str, Tensor], model: nn.Module) -> None:
    """Raise InputError for weights that were trained on another spectrogram than the settings give.

    They would load, but recognise little.
    """
    for name, wanted in model.state_dict().items():
        if not name.startswith(FRONT_END_PREFIXES) or name not in weights:
            continue
        found = weights[name].float()
        tolerance = 1e-3 * float(wanted.abs().max())
        if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=0, atol=tolerance):
            raise InputError(
                f"{path}: these weights want another spectrogram than the settings give ({name} differs); "
                f"set what the published ones were trained with: {PUBLISHED_SETTINGS}"
            )
