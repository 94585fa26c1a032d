"""Typed, validated settings: `config.py` fills them in, all other modules are given them.

Names have units. Wrong values and unknown names raise `pydantic.ValidationError`; `aer.cli.config` turns it
into one line. Nothing here imports torch, so that `--help` answers at once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import tyro
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from aer.errors import InputError
from aer.utils.channels import MIX, NAMES, Channels
from aer.utils.text import near_matches

# NumPy and scikit-learn take no larger one
MAX_SEED = 2**32 - 1

# settings that earlier versions did not have, with what they did
ADDED = {"channels": MIX}

LossName = Literal["BCEWithLogits", "BCEWithLogitsSmooth", "Focal", "PANNsLoss", "CrossEntropy"]
MetricName = Literal["f1", "map", "loss"]

# five 2x2 poolings: frames, and mel bins, per output step of Cnn14
CNN14_POOLING = 32

# on the command line, one argument of JSON
JsonDict = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda args: json.loads(args[0]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [json.dumps(value)],
    ),
]


class _Strict(BaseModel):
    """Base of all settings: frozen, no unknown names, no NaN or infinity, defaults checked too."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def _check_channels(value: object) -> object:
    # here and not by the types, whose messages are of each that a value may have
    if value not in NAMES and (type(value) is not int or value < 1):
        raise ValueError(f"must be {', '.join(NAMES)} or a number from 1 on, it is {value}")
    return value


class MelSettings(_Strict):
    """The short-time Fourier transform (Hann, centred) and the mel filter bank."""

    window_samples: int = Field(gt=1, description="STFT window (= FFT size) in samples")
    hop_samples: int = Field(gt=0, description="samples from one frame to the next")
    n_mels: int = Field(gt=0, description="mel bins")
    fmin_hz: float = Field(ge=0, description="lower edge of the filter bank")
    fmax_hz: float = Field(gt=0, description="upper edge of the filter bank; at most half the sample rate")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hop_samples > self.window_samples:
            raise ValueError(f"hop_samples {self.hop_samples} is larger than window_samples {self.window_samples}")
        if self.fmin_hz >= self.fmax_hz:
            raise ValueError(f"fmin_hz {self.fmin_hz:g} must be below fmax_hz {self.fmax_hz:g}")
        return self


class SpecAugmentSettings(_Strict):
    """SpecAugment on log-mel frames, in training only (Park et al. 2019, arXiv 1904.08779). 0 masks: none."""

    time_mask_frames: int = Field(0, ge=0, description="a time mask is 0 up to this many frames wide")
    time_masks: int = Field(0, ge=0, description="time masks per clip")
    frequency_mask_bins: int = Field(0, ge=0, description="a frequency mask is 0 up to this many mel bins high")
    frequency_masks: int = Field(0, ge=0, description="frequency masks per clip")
    time_warp_frames: int = Field(0, ge=0, description="a random point in time moves by up to this many frames")


class MixupSettings(_Strict):
    """Mixup of pairs within a batch, in training only (Zhang et al. 2018, arXiv 1710.09412)."""

    on: Literal["off", "waveform", "spectrogram"] = Field("off", description="what is mixed")
    alpha: float = Field(0.4, gt=0, description="the weight is drawn from Beta(alpha, alpha)")


class WaveformAugmentSettings(_Strict):
    """Changes of the waveform on the device, in training only."""

    gain_db: float = Field(0.0, ge=0, description="gain drawn from -gain_db to +gain_db")
    noise_snr_db: tuple[float, float] | None = Field(
        None, description="lowest and highest signal-to-noise ratio of added white noise; none: no noise"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.noise_snr_db is not None and self.noise_snr_db[0] > self.noise_snr_db[1]:
            raise ValueError(f"noise_snr_db: {self.noise_snr_db[0]:g} is above {self.noise_snr_db[1]:g}")
        return self


def _first_line(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


class Settings(_Strict):
    """What a run of either model needs. Defaults that depend on the recipe stand in config.py alone."""

    # Files and folders
    corpus: Path = Field(description="root of the corpus: class folders, or a CSV and the folder it speaks of")
    csv: Path | None = Field(
        None, description="CSV that lists the recordings; none: train_mod.csv or train.csv in the corpus, else folders"
    )
    background_class: str | None = Field(
        None,
        description="label (folder: nocall, say) of recordings in which nothing is to be found: no class of its own",
    )
    run_dir: Path = Field(description="folder of this run: checkpoints, logs, settings")
    initial_weights: Path | None = Field(None, description="start from the weights of an earlier run (its best.pth)")
    fresh: bool = Field(False, description="do not continue the run in run_dir: start in a new folder beside it")

    # Audio
    sample_rate: int = Field(gt=0, description="samples per second that the model hears; other rates are resampled")
    clip_duration_s: float = Field(gt=0, description="length of a training clip and of a validation window")
    mel: MelSettings = Field(description="short-time Fourier transform and mel filter bank")
    channels: Annotated[Channels, BeforeValidator(_check_channels)] = Field(
        MIX, description="what is heard of recordings with several: their mean, the first, a number, or the loudest"
    )

    # Validation
    n_folds: int = Field(ge=2, description="number of folds")
    fold: int = Field(ge=0, description="the fold that is held out for validation, counted from 0")
    fold_seed: int = Field(ge=0, le=MAX_SEED, description="seed of the assignment to folds")
    group_by: str | None = Field(None, description="CSV column (author, say) whose values never stand on both sides")
    validation_groups: tuple[str, ...] = Field(
        (), description="hold these values of group_by out, instead of the fold by its number"
    )
    clip_score: Literal["mean", "max"] = Field("mean", description="a recording's score, from those of its windows")

    # Training
    # Catalyst adds epoch and rank to the seed: half of what NumPy takes leaves room for them
    seed: int = Field(ge=0, le=MAX_SEED // 2, description="the only source of randomness")
    epochs: int = Field(gt=0, description="passes over the training set")
    batch_size: int = Field(gt=1, description="clips per step and process; 2 at least, for batch normalisation")
    learning_rate: float = Field(gt=0, description="peak learning rate")
    loss_func: LossName = Field(description="loss")
    optimizer: str = Field("Adam", description="an optimizer of torch.optim, by its name")
    optimizer_params: JsonDict = Field({}, description="its other parameters")
    scheduler: str | None = Field(None, description="any scheduler of torch.optim.lr_scheduler, by its name")
    scheduler_params: JsonDict = Field({}, description="its parameters")
    scheduler_step: Literal["epoch", "batch"] = Field("epoch", description="when the scheduler steps")
    warmup_steps: int = Field(100, ge=0, description="the learning rate rises linearly over this many first steps")
    clip_gradient_norm: float | None = Field(None, gt=0, description="largest norm of the gradient; none: no limit")
    workers: int = Field(ge=0, description="processes that read audio; 0: the training process itself")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: a GPU where there is one")
    mixed_precision: Literal["no", "fp16", "bf16"] = Field("no", description="fp16 needs a GPU")
    main_metric: MetricName = Field("f1", description="the metric on the validation fold that the best model has")
    keep_best: int = Field(5, ge=1, description="how many of the best checkpoints are kept")
    checkpoint_every_steps: int | None = Field(
        None, gt=0, description="write the state after so many steps within an epoch too; none: after each epoch"
    )
    max_unreadable_share: float = Field(
        0.05, ge=0, le=1, description="share of recordings that may turn out unreadable before the run stops (1: any)"
    )
    f1_threshold: float = Field(0.5, gt=0, lt=1, description="score from which a class counts as present in F1")

    # Augmentation
    # Described here: tyro would look for a description in the source of this file, which takes a fifth of `--help`
    spec_augment: SpecAugmentSettings = Field(SpecAugmentSettings(), description=_first_line(SpecAugmentSettings))
    mixup: MixupSettings = Field(MixupSettings(), description=_first_line(MixupSettings))
    waveform_augment: WaveformAugmentSettings = Field(
        WaveformAugmentSettings(), description=_first_line(WaveformAugmentSettings)
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        samples = self.clip_duration_s * self.sample_rate
        if abs(samples - round(samples)) > 1e-6 or round(samples) == 0:
            raise ValueError(f"clip_duration_s x sample_rate must be a whole number of samples, it is {samples:g}")
        if self.fold >= self.n_folds:
            raise ValueError(f"fold {self.fold} is out of range: n_folds is {self.n_folds}, so 0 to {self.n_folds - 1}")
        if self.validation_groups and self.group_by is None:
            raise ValueError("validation_groups needs group_by, the column that names the groups")
        if self.mel.fmax_hz > self.sample_rate / 2:
            raise ValueError(
                f"mel.fmax_hz {self.mel.fmax_hz:g} is above half the sample rate ({self.sample_rate / 2:g} Hz)"
            )
        if self.clip_samples <= self.mel.window_samples // 2:
            raise ValueError(
                f"clip_duration_s {self.clip_duration_s:g} is too short: {self.clip_samples} samples, and half a "
                f"mel.window_samples ({self.mel.window_samples // 2}) is mirrored at its ends"
            )
        if self.scheduler == "ReduceLROnPlateau" and self.scheduler_step == "batch":
            raise ValueError("scheduler ReduceLROnPlateau watches a validation metric: set scheduler_step to epoch")
        if self.loss_func == "CrossEntropy" and self.mixup.on != "off":
            raise ValueError("loss_func CrossEntropy takes one class per clip; mixup makes two: set mixup.on to off")
        return self

    @property
    def clip_samples(self) -> int:
        """Length of a clip in samples at `sample_rate`."""
        return round(self.clip_duration_s * self.sample_rate)

    @property
    def clip_frames(self) -> int:
        """Number of STFT frames of a clip: the transform is centred, so there is one at the very end too."""
        return self.clip_samples // self.mel.hop_samples + 1


class PannsSettings(Settings):
    """A PANNs Cnn14 with an attention head (Kong et al. 2020, arXiv 1912.10211)."""

    model: tyro.conf.Suppress[Literal["panns"]] = "panns"
    pretrained_panns: Path | None = Field(
        None, description="published Cnn14_DecisionLevelAtt weights (AudioSet, 527 classes); none: from scratch"
    )
    dropout: float = Field(
        0.2, ge=0, lt=1, description="dropout after each convolution block; 0 learns faster where there is little time"
    )
    embedding_dropout: float = Field(0.5, ge=0, lt=1, description="dropout before and after the last layer of features")

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.mel.n_mels < CNN14_POOLING or self.clip_frames < CNN14_POOLING:
            raise ValueError(
                f"Cnn14 halves time and frequency five times: it needs {CNN14_POOLING} mel bins and frames at least, "
                f"mel.n_mels is {self.mel.n_mels} and a {self.clip_duration_s:g} s clip has {self.clip_frames} frames"
            )
        return self


class ResnestSettings(Settings):
    """A ResNeSt on mel images (Zhang et al. 2020, arXiv 2004.08955)."""

    model: tyro.conf.Suppress[Literal["resnest"]] = "resnest"
    backbone: str = Field("resnest50_fast_1s1x64d", description="any model of the resnest package, by its name")
    pretrained: bool = Field(description="start from the package's ImageNet weights (downloaded once)")
    image_height: int = Field(224, ge=32, description="pixels that the mel bins are scaled to")


AnySettings = PannsSettings | ResnestSettings
SettingsKind = TypeVar("SettingsKind", bound=Settings)


def pick_recipe(recipes: Mapping[str, SettingsKind], name: str) -> SettingsKind:
    """Return the recipe of that name. Raise InputError, which lists the names there are, for another."""
    if name not in recipes:
        raise InputError(f"RECIPE is {name!r}; there are {', '.join(recipes)}{near_matches(name, recipes)}")
    return recipes[name]
