"""PANNs' Cnn14 with decision-level attention (Kong et al. 2020, arXiv 1912.10211), under its published names.

B clips, S samples, T frames, M mel bins, C classes. Parameters and buffers are called what they are called in the
published checkpoint, which therefore loads strictly.
"""

import pickle
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aer.augment import SpecAugment, WaveformAugment, mixup
from aer.errors import InputError
from aer.frontend import build_logmel, build_spectrogram
from aer.settings import CNN14_POOLING, PannsSettings

CHANNELS = (64, 128, 256, 512, 1024, 2048)
SMALL_MAP = 32  # positions per clip up to which `SmallMapConv2d` multiplies matrices on a CPU
LOGIT_LIMIT = 1e-7  # probabilities are kept this far from 0 and 1 when they are turned into logits


class SmallMapConv2d(nn.Conv2d):
    """A 3x3 convolution that multiplies matrices on a CPU where the map is small and the channels are many.

    The convolutions that torch has for CPUs without AVX-512 take two to three times as long on Cnn14's last maps
    (`benchmarks/small_maps.py`). Same weights, same result up to rounding.
    """

    def forward(self, input: Tensor) -> Tensor:
        _, _, height, width = input.shape
        plain = input.device.type == "cpu" and input.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not plain or height * width > SMALL_MAP:
            return super().forward(input)
        patches = F.unfold(input, kernel_size=3, padding=1)  # (B, 9 * in, H * W)
        result = patches.transpose(1, 2) @ self.weight.flatten(1).T  # (B, H * W, out)
        return result.transpose(1, 2).reshape(-1, self.out_channels, height, width)


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and ReLU, then average pooling."""

    def __init__(self, in_channels: int, out_channels: int, pool: int):
        super().__init__()
        kind = SmallMapConv2d if out_channels >= 1024 else nn.Conv2d
        self.conv1 = kind(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.conv2 = kind(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.pool = pool
        nn.init.xavier_uniform_(self.conv1.weight)
        nn.init.xavier_uniform_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, T, M) -> (B, out_channels, T / pool, M / pool)."""
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.avg_pool2d(x, self.pool)


class AttBlock(nn.Module):
    """Attention over time: each frame has a score per class and a weight per class, and the weights sum to 1."""

    def __init__(self, in_features: int, n_classes: int, linear: bool):
        """`linear`: scores are logits of one class among all, not probabilities of each."""
        super().__init__()
        self.linear = linear
        self.att = nn.Conv1d(in_features, n_classes, kernel_size=1)
        self.cla = nn.Conv1d(in_features, n_classes, kernel_size=1)
        for layer in (self.att, self.cla):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # In the published checkpoint but not in the published computation; frozen, as it never has a gradient.
        self.bn_att = nn.BatchNorm1d(n_classes).requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in_features, T) -> scores of the clip (B, C) and of its frames (B, C, T), in float32."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            weight = torch.softmax(self.att(x).clamp(-10, 10), dim=2)
            score = self.cla(x) if self.linear else torch.sigmoid(self.cla(x))
            clip = (weight * score).sum(dim=2)
            # rounding lifts a sum of weights above 1, and what is above 1 is no probability
            return clip if self.linear else clip.clamp(max=1), score


class Cnn14(nn.Module):
    """Waveforms (B, S) -> clip-wise (B, C) and frame-wise (B, T, C) probabilities, and clip-wise logits (B, C)."""

    head_prefixes = ("att_block.",)  # what depends on the classes

    def __init__(self, settings: PannsSettings, n_classes: int):
        super().__init__()
        self.mixup_on = settings.mixup.on
        self.single_label = settings.loss_func == "CrossEntropy"
        self.waveform_augment = WaveformAugment(settings.waveform_augment)
        self.spectrogram_extractor = build_spectrogram(settings.mel)
        self.logmel_extractor = build_logmel(settings.mel, settings.sample_rate)
        self.spec_augment = SpecAugment(settings.spec_augment)
        self.bn0 = nn.BatchNorm2d(settings.mel.n_mels)
        self.conv_block1 = ConvBlock(1, CHANNELS[0], pool=2)
        self.conv_block2 = ConvBlock(CHANNELS[0], CHANNELS[1], pool=2)
        self.conv_block3 = ConvBlock(CHANNELS[1], CHANNELS[2], pool=2)
        self.conv_block4 = ConvBlock(CHANNELS[2], CHANNELS[3], pool=2)
        self.conv_block5 = ConvBlock(CHANNELS[3], CHANNELS[4], pool=2)
        self.conv_block6 = ConvBlock(CHANNELS[4], CHANNELS[5], pool=1)
        self.fc1 = nn.Linear(CHANNELS[5], CHANNELS[5])
        nn.init.xavier_uniform_(self.fc1.weight)
        nn.init.zeros_(self.fc1.bias)
        self.att_block = AttBlock(CHANNELS[5], n_classes, linear=self.single_label)

    def forward(
        self, waveform: Tensor, mixup_weight: Tensor | None = None, mixup_partner: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`mixup_weight` (B,) and `mixup_partner` (B,) mix each clip with another of the batch, where settings say."""
        mixing = None if mixup_weight is None or mixup_partner is None else (mixup_weight, mixup_partner)
        waveform = self.waveform_augment(waveform)
        if mixing is not None and self.mixup_on == "waveform":
            waveform = mixup(waveform, *mixing)
        x = self.logmel(waveform)
        n_frames = x.shape[2]
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)  # normalises each mel bin: (B, M, T, 1) and back
        x = self.spec_augment(x)
        if mixing is not None and self.mixup_on == "spectrogram":
            x = mixup(x, *mixing)
        clip, segments = self.att_block(self.embed(x))
        return self._outputs(clip, segments, n_frames)

    def logmel(self, waveform: Tensor) -> Tensor:
        """(B, S) -> log-mel frames in dB (B, 1, T, M), in float32."""
        with torch.autocast(waveform.device.type, enabled=False):
            logmel: Tensor = self.logmel_extractor(self.spectrogram_extractor(waveform.float()))
            return logmel

    def embed(self, x: Tensor) -> Tensor:
        """Normalised log-mel frames (B, 1, T, M) -> features (B, 2048, T // 32)."""
        for number in range(1, len(CHANNELS) + 1):
            x = F.dropout(getattr(self, f"conv_block{number}")(x), p=0.2, training=self.training)
        x = x.mean(dim=3)  # over frequency: (B, 2048, T // 32, M // 32) -> (B, 2048, T // 32)
        x = F.max_pool1d(x, 3, stride=1, padding=1) + F.avg_pool1d(x, 3, stride=1, padding=1)
        x = F.dropout(x, p=0.5, training=self.training)
        x = F.relu_(self.fc1(x.transpose(1, 2)).transpose(1, 2))  # over features: (B, T // 32, 2048) and back
        return F.dropout(x, p=0.5, training=self.training)

    def _outputs(self, clip: Tensor, segments: Tensor, n_frames: int) -> dict[str, Tensor]:
        """Scores of clips (B, C) and segments (B, C, T // 32) -> the outputs, frame-wise ones at every frame."""
        if self.single_label:
            logits, clipwise, segments = clip, clip.softmax(dim=1), segments.softmax(dim=1)
        else:
            logits, clipwise = torch.logit(clip, eps=LOGIT_LIMIT), clip
        framewise = segments.transpose(1, 2).repeat_interleave(CNN14_POOLING, dim=1)  # (B, T // 32 * 32, C)
        rest = framewise[:, -1:].expand(-1, n_frames - framewise.shape[1], -1)
        return {
            "logits": logits,
            "clipwise_output": clipwise,
            "framewise_output": torch.cat([framewise, rest], dim=1),  # (B, T, C)
        }


def build_panns(settings: PannsSettings, n_classes: int) -> Cnn14:
    """A Cnn14 for that many classes, with fresh weights or the published ones below a fresh head."""
    model = Cnn14(settings, n_classes)
    if settings.pretrained_panns is not None:
        load_published(model, settings.pretrained_panns)
    return model


def load_published(model: Cnn14, path: Path) -> None:
    """Gives the model the published weights, all but those of its head, after a strict look at every key and shape.

    Raises InputError for a file that is missing, damaged, of another model or made with other mel settings.
    """
    weights = _read_published(path)
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unknown:
        raise InputError(
            f"pretrained_panns {path} is no Cnn14_DecisionLevelAtt: {len(missing)} weights are missing "
            f"({', '.join(missing[:2]) or 'none'}), {len(unknown)} are unknown ({', '.join(unknown[:2]) or 'none'})"
        )
    for name in ("spectrogram_extractor.stft.conv_real.weight", "logmel_extractor.melW"):
        same_shape = weights[name].shape == own[name].shape
        if not same_shape or not torch.allclose(weights[name], own[name], atol=1e-5):
            raise InputError(
                f"pretrained_panns {path} was trained with another front end ({name} differs): set sample_rate, "
                "mel.window_samples, n_mels, fmin_hz and fmax_hz to its own (AudioSet: 32000, 1024, 64, 50, 14000)"
            )
    body = {name: value for name, value in weights.items() if not name.startswith(model.head_prefixes)}
    head = {name: value for name, value in own.items() if name.startswith(model.head_prefixes)}
    try:
        model.load_state_dict({**body, **head}, strict=True)
    except RuntimeError as error:
        raise InputError(f"pretrained_panns {path} does not fit Cnn14: {' '.join(str(error).split())[:300]}") from error


def _read_published(path: Path) -> dict[str, Tensor]:
    """The state dict in a published checkpoint (under `model`) or in a bare file; runs no code from it."""
    advice = "the published file is Cnn14_DecisionLevelAtt_mAP=0.425.pth"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"pretrained_panns {path} is not there; {advice}") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"pretrained_panns {path} is no weights file, or is damaged ({reason}); {advice}") from error
    weights = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"pretrained_panns {path} holds no state dict; {advice}")
    return weights
