"""Augmentation by its properties: shape, identity at 0, rates, independence of clips, silence in evaluation."""

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from aer.models.augment import SpecAugment, WaveformAugment, draw_mixup, mixup, stripe_mask, time_warp
from aer.settings import SpecAugmentSettings, WaveformAugmentSettings

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (SpecAugment(SpecAugmentSettings(time_mask_frames=9, time_masks=2, time_warp_frames=5)), (3, 1, 40, 16)),
        (WaveformAugment(WaveformAugmentSettings(gain_db=6, noise_snr_db=(5, 20))), (3, 100)),
    ],
)
def test_evaluation_changes_and_draws_nothing(module: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    before = torch.get_rng_state()
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(module.train()(x), x)
    assert not module.state_dict()  # a key of its own would not be in the published weights


@pytest.mark.parametrize("module", [SpecAugment(SpecAugmentSettings()), WaveformAugment(WaveformAugmentSettings())])
def test_settings_that_ask_for_nothing_change_nothing(module: nn.Module) -> None:
    x = torch.randn((2, 1, 40, 16) if isinstance(module, SpecAugment) else (2, 100))
    assert torch.equal(module.train()(x), x)


def test_stripes_are_contiguous_and_their_widths_uniform_up_to_the_largest_included() -> None:
    masked = stripe_mask(20000, 50, stripes=1, max_width=4, device=CPU)
    edges = masked.int().diff(dim=1, prepend=torch.zeros(20000, 1), append=torch.zeros(20000, 1)).abs().sum(dim=1)
    assert edges.max() == 2  # one stripe: one beginning, one end
    counts = torch.bincount(masked.sum(dim=1), minlength=5)
    assert len(counts) == 5
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    # whatever the width, starts are uniform, so that the mask's rate is symmetric about the middle of the axis
    rate = masked.float().mean(dim=0)
    torch.testing.assert_close(rate, rate.flip(0), atol=0.015, rtol=0)
    assert rate.mean().item() == pytest.approx(2 / 50, rel=0.05)


def test_stripes_wider_than_the_axis_cover_at_most_the_axis() -> None:
    masked = stripe_mask(2000, 5, stripes=2, max_width=64, device=CPU)
    assert masked.shape == (2000, 5)
    assert masked.all(dim=1).any()
    assert (~masked).all(dim=1).any()


def test_spec_augment_masks_whole_rows_and_columns_of_each_clip_by_itself() -> None:
    settings = SpecAugmentSettings(time_mask_frames=10, time_masks=2, frequency_mask_bins=4, frequency_masks=2)
    x = torch.full((8, 1, 60, 20), 3.0)
    x[:, :, 0, 0] = 7.0  # so that the mean is none of the values
    changed = SpecAugment(settings).train()(x) != x
    rows, columns = changed.all(dim=3), changed.all(dim=2)
    assert torch.equal(changed, rows[:, :, :, None] | columns[:, :, None, :])
    assert len({tuple(row.flatten().tolist()) for row in rows}) > 1


def test_spec_augment_fills_with_the_mean_of_the_clip() -> None:
    settings = SpecAugmentSettings(time_mask_frames=30, time_masks=3)
    x = torch.randn(4, 1, 40, 16) + torch.tensor([0.0, 10.0, 20.0, 30.0])[:, None, None, None]
    y = SpecAugment(settings).train()(x)
    for before, after in zip(x, y, strict=True):
        filled = after[after != before]
        torch.testing.assert_close(filled, before.mean().expand_as(filled))


def ramp(frames: int, clips: int = 200) -> Tensor:
    """Clips whose value is the number of the frame, so that a warped clip shows where each frame came from."""
    return torch.arange(frames, dtype=torch.float32)[None, None, :, None].expand(clips, 1, frames, 3)


def test_time_warp_moves_frames_by_up_to_the_limit_and_keeps_order_and_ends() -> None:
    x = ramp(50)
    y = time_warp(x, 5)
    moved = (y - x).abs()
    assert y.shape == x.shape
    assert 4 < moved.max() <= 5 + 1e-4
    assert moved[:, :, [0, -1]].max() < 1e-4
    assert (y.diff(dim=2) > 0).all()
    assert len(moved.amax(dim=(1, 2, 3)).unique()) > 5  # clips move by themselves, and not all equally far
    # two straight pieces: at most the steps around the moving point differ from those of either side
    bends = (y[..., 0].squeeze(1).diff(n=2, dim=1).abs() > 1e-3).sum(dim=1)
    assert bends.max() <= 2


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 6, 11])
def test_time_warp_is_safe_for_short_clips(frames: int) -> None:
    y = time_warp(ramp(frames), 5)
    assert y.isfinite().all()
    assert (y.diff(dim=2) > 0).all()


def test_time_warp_by_nothing_is_the_identity() -> None:
    assert torch.equal(time_warp(ramp(50), 0), ramp(50))


def test_gain_is_uniform_in_decibels() -> None:
    y = WaveformAugment(WaveformAugmentSettings(gain_db=6)).train()(torch.ones(4000, 2))
    gain_db = 20 * y[:, 0].log10()
    assert torch.equal(y[:, 0], y[:, 1])
    assert stats.kstest(gain_db.numpy(), stats.uniform(-6, 12).cdf).pvalue > 1e-3


def test_noise_has_the_signal_to_noise_ratio_and_silence_stays_silent() -> None:
    clean = torch.randn(3, 50000) * torch.tensor([[1.0], [0.01], [0.0]])
    noisy = WaveformAugment(WaveformAugmentSettings(noise_snr_db=(10, 10))).train()(clean)
    snr_db = 10 * torch.log10(clean[:2].square().mean(dim=1) / (noisy - clean)[:2].square().mean(dim=1))
    torch.testing.assert_close(snr_db, torch.full((2,), 10.0), atol=0.2, rtol=0)
    assert torch.equal(noisy[2], clean[2])


def test_mixup_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [10.0, 20.0]])
    mixed = mixup(x, torch.tensor([0.75, 1.0]), torch.tensor([1, 0]))
    assert mixed.tolist() == [[3.25, 6.5], [10.0, 20.0]]
    images = x[:, None, :, None]
    assert torch.equal(mixup(images, torch.tensor([0.75, 1.0]), torch.tensor([1, 0])), mixed[:, None, :, None])


def test_draw_mixup_has_the_beta_distribution_and_a_permutation() -> None:
    weight, partner = draw_mixup(4000, 0.4, CPU)
    assert sorted(partner.tolist()) == list(range(4000))
    assert stats.kstest(weight.numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
    assert draw_mixup(64, 1e-3, CPU)[0].isfinite().all()


def test_the_same_seed_draws_the_same() -> None:
    module = SpecAugment(SpecAugmentSettings(time_mask_frames=9, time_masks=2, time_warp_frames=5)).train()
    x = torch.randn(3, 1, 40, 16)
    torch.manual_seed(5)
    first = module(x)
    torch.manual_seed(5)
    assert torch.equal(module(x), first)
