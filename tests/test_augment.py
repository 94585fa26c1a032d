"""Augmentation by its properties: what it keeps, how often and how strongly it acts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aer.augment import SpecAugment, WaveformAugment, draw_mixup, mixup, stripe_mask, time_warp
from aer.settings import SpecAugmentSettings, WaveformAugmentSettings

CPU = torch.device("cpu")


def test_mixup_by_hand() -> None:
    batch = torch.tensor([[1.0, 2.0], [10.0, 20.0]])
    mixed = mixup(batch, torch.tensor([0.25, 1.0]), torch.tensor([1, 0]))
    assert mixed.tolist() == [[7.75, 15.5], [10, 20]]
    assert mixup(batch[:, None, :, None], torch.tensor([0.25, 1.0]), torch.tensor([1, 0])).flatten().tolist() == [
        7.75, 15.5, 10, 20,
    ]  # fmt: skip


def test_mixup_weights_follow_the_beta_distribution() -> None:
    torch.manual_seed(0)
    weight, partner = draw_mixup(20000, 0.4, CPU)
    assert sorted(partner.tolist()) == list(range(20000))
    assert weight.mean().item() == pytest.approx(0.5, abs=0.01)
    assert weight.var().item() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)  # of Beta(a, a)


@given(st.integers(1, 60), st.integers(0, 3), st.integers(0, 80), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_stripes_are_at_most_as_wide_as_asked(length: int, stripes: int, max_width: int, seed: int) -> None:
    torch.manual_seed(seed)
    mask = stripe_mask(16, length, stripes, max_width, CPU)
    assert mask.shape == (16, length)
    assert mask.sum(dim=1).max() <= min(length, stripes * min(max_width, length))
    edges = torch.nn.functional.pad(mask, (1, 1)).int().diff(dim=1)
    assert (edges == 1).sum(dim=1).max() <= stripes


def test_stripes_have_every_width_and_reach_both_ends() -> None:
    torch.manual_seed(0)
    mask = stripe_mask(20000, 50, 1, 8, CPU)
    widths = torch.bincount(mask.sum(dim=1), minlength=9) / 20000
    np.testing.assert_allclose(widths, np.full(9, 1 / 9), atol=0.01)
    assert mask[:, 0].any()
    assert mask[:, -1].any()


@given(st.integers(1, 50), st.integers(0, 30), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_time_warp_keeps_ends_order_and_range(n_frames: int, max_frames: int, seed: int) -> None:
    torch.manual_seed(seed)
    ramp = torch.arange(n_frames, dtype=torch.float32)[None, None, :, None].expand(4, 1, -1, 3)
    warped = time_warp(ramp, max_frames)
    assert warped.shape == ramp.shape
    torch.testing.assert_close(warped[:, :, [0, -1]], ramp[:, :, [0, -1]])
    assert (warped.diff(dim=2) >= 0).all()
    assert (warped - ramp).abs().max() <= max_frames + 1e-3
    if max_frames == 0:
        assert torch.equal(warped, ramp)


def test_spec_augment_fills_with_the_clips_mean_and_masks_clips_apart() -> None:
    torch.manual_seed(1)
    module = SpecAugment(
        SpecAugmentSettings(time_mask_frames=20, time_masks=2, frequency_mask_bins=6, frequency_masks=2)
    )
    logmel = torch.randn(8, 1, 100, 40) + torch.arange(8.0)[:, None, None, None]
    augmented = module.train()(logmel)
    changed = augmented != logmel
    for clip in range(8):
        values = augmented[clip][changed[clip]]
        assert torch.equal(values, logmel[clip].mean().expand_as(values))
    assert len({tuple(mask.flatten().tolist()) for mask in changed}) == 8


def test_noise_has_the_ratio_that_was_asked_for() -> None:
    torch.manual_seed(0)
    clip = torch.sin(torch.arange(16000) * 0.1).repeat(8, 1)
    noisy = WaveformAugment(WaveformAugmentSettings(noise_snr_db=(10, 10)))(clip)
    ratio_db = 10 * torch.log10(clip.square().mean(dim=1) / (noisy - clip).square().mean(dim=1))
    np.testing.assert_allclose(ratio_db, 10, atol=0.2)


def test_gain_stays_in_its_range_and_silence_stays_silent() -> None:
    torch.manual_seed(0)
    module = WaveformAugment(WaveformAugmentSettings(gain_db=6, noise_snr_db=(0, 20)))
    assert torch.equal(module(torch.zeros(4, 100)), torch.zeros(4, 100))
    loud = WaveformAugment(WaveformAugmentSettings(gain_db=6))(torch.ones(2000, 1))
    assert 10 ** (-6 / 20) <= loud.min() < 0.55
    assert 1.9 < loud.max() <= 10 ** (6 / 20)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (SpecAugment(SpecAugmentSettings(time_mask_frames=5, time_masks=2, time_warp_frames=3)), (2, 1, 50, 20)),
        (WaveformAugment(WaveformAugmentSettings(gain_db=6, noise_snr_db=(0, 5))), (2, 100)),
    ],
)
def test_evaluation_changes_nothing_and_draws_nothing(module: torch.nn.Module, shape: tuple[int, ...]) -> None:
    batch = torch.randn(shape)
    before = torch.get_rng_state()
    assert torch.equal(module.eval()(batch), batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(module.train()(batch), batch)
    assert not list(module.state_dict())  # published checkpoints know nothing of augmentation
