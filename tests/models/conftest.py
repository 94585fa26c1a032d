"""Both models, built once."""

import pytest
import torch
from helpers.models import N_CLASSES, SAMPLE_RATE, panns_settings, resnest_settings
from torch import Tensor

from aer.models.panns import Cnn14, build_panns
from aer.models.resnest import ResnestClassifier, build_resnest
from aer.settings import MixupSettings, SpecAugmentSettings


@pytest.fixture(scope="session")
def waveform() -> Tensor:
    return 0.1 * torch.randn(3, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def cnn14() -> Cnn14:
    """80 million parameters, built once; mixes spectrograms."""
    torch.manual_seed(0)
    augment = SpecAugmentSettings(time_mask_frames=20, time_masks=2, frequency_mask_bins=8, frequency_masks=2)
    return build_panns(panns_settings(mixup=MixupSettings(on="spectrogram"), spec_augment=augment), N_CLASSES)


@pytest.fixture(scope="session")
def resnest() -> ResnestClassifier:
    """Mixes waveforms."""
    torch.manual_seed(0)
    augment = SpecAugmentSettings(time_mask_frames=10, time_masks=2, time_warp_frames=5)
    return build_resnest(resnest_settings(mixup=MixupSettings(on="waveform"), spec_augment=augment), N_CLASSES)
