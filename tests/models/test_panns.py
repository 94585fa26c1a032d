"""Cnn14: published names and shapes, attention head, convolutions, and published weights, good and bad."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.models import N_CLASSES, PANNS_MEL, panns_settings
from scipy.special import expit, logit, softmax
from torch import Tensor, nn

from aer.errors import InputError
from aer.models.panns import AttBlock, Cnn14, SmallMapConv2d, build_panns

pytestmark = pytest.mark.xdist_group("models")  # what its fixtures make is made once

FRONT_END = ("spectrogram_extractor", "logmel_extractor")


def published_shapes(n_classes: int) -> dict[str, tuple[int, ...]]:
    """The entries of Cnn14_DecisionLevelAtt, by the rule behind them."""

    def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
        sizes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (size,))
        return {f"{name}.{entry}": shape for entry, shape in {**sizes, "num_batches_tracked": ()}.items()}

    shapes: dict[str, tuple[int, ...]] = {
        "spectrogram_extractor.stft.conv_real.weight": (513, 1, 1024),
        "spectrogram_extractor.stft.conv_imag.weight": (513, 1, 1024),
        "logmel_extractor.melW": (513, 64),
        **norm("bn0", 64),
    }
    channels = 1
    for number in range(1, 7):
        block, width = f"conv_block{number}", 32 * 2**number
        shapes |= {f"{block}.conv1.weight": (width, channels, 3, 3), f"{block}.conv2.weight": (width, width, 3, 3)}
        shapes |= norm(f"{block}.bn1", width) | norm(f"{block}.bn2", width)
        channels = width
    shapes |= {"fc1.weight": (2048, 2048), "fc1.bias": (2048,)}
    for layer in ("att", "cla"):
        shapes |= {f"att_block.{layer}.weight": (n_classes, 2048, 1), f"att_block.{layer}.bias": (n_classes,)}
    return shapes | norm("att_block.bn_att", n_classes)


def test_cnn14_has_the_published_entries(cnn14: Cnn14) -> None:
    assert {name: tuple(value.shape) for name, value in cnn14.state_dict().items()} == published_shapes(N_CLASSES)


def test_frames_of_a_segment_are_alike_and_the_last_one_fills_up(cnn14: Cnn14, waveform: Tensor) -> None:
    with torch.no_grad():
        framewise = cnn14.eval()(waveform)["framewise_output"]
    assert framewise.shape == (3, 101, N_CLASSES)  # three segments of 32 frames and 5 left over
    for first, last in ((0, 31), (32, 63), (64, 100)):
        assert torch.equal(
            framewise[:, first : last + 1], framewise[:, first : first + 1].expand(-1, last + 1 - first, -1)
        )


@pytest.mark.parametrize("exclusive", [False, True])
def test_attention_head_is_a_weighted_mean_over_time(exclusive: bool) -> None:
    torch.manual_seed(3)
    head, features = AttBlock(8, 4, exclusive), torch.randn(2, 8, 6)
    x = features.double().numpy()

    def convolve(layer: nn.Conv1d) -> Any:
        assert layer.bias is not None
        weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
        return np.einsum("cf,bft->bct", weight[:, :, 0], x) + bias[:, None]

    weight = softmax(np.clip(convolve(head.att), -10, 10), axis=2)
    score = convolve(head.cla)
    with torch.no_grad():
        logits, clipwise, segmentwise = (value.numpy() for value in head(features))
    if exclusive:
        expected = (weight * score).sum(axis=2)
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        np.testing.assert_allclose(clipwise, softmax(expected, axis=1), atol=1e-6)
        np.testing.assert_allclose(segmentwise, softmax(score, axis=1).transpose(0, 2, 1), atol=1e-6)
    else:
        expected = (weight * expit(score)).sum(axis=2)
        np.testing.assert_allclose(clipwise, expected, atol=1e-6)
        np.testing.assert_allclose(logits, logit(expected), atol=1e-5)
        np.testing.assert_allclose(segmentwise, expit(score).transpose(0, 2, 1), atol=1e-6)


@pytest.mark.parametrize("score", [-60.0, 60.0])
def test_head_learns_from_a_clip_that_it_is_wrongly_sure_of(score: float) -> None:
    head = AttBlock(8, 1, False)
    nn.init.constant_(head.cla.bias, score)  # type: ignore[arg-type]
    logits, clipwise, _ = head(torch.zeros(1, 8, 6))
    assert logits.item() == pytest.approx(score)
    assert 0 <= clipwise.item() <= 1
    target = torch.tensor([[0.0 if score > 0 else 1.0]])
    F.binary_cross_entropy_with_logits(logits, target).backward()
    assert head.cla.bias is not None and head.cla.bias.grad is not None
    assert abs(head.cla.bias.grad.item()) == pytest.approx(1)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (6, 4), (8, 4), (9, 4)])
def test_both_ways_to_convolve_agree_with_their_gradients(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = SmallMapConv2d(16, 24, kernel_size=3, padding=1, bias=False)
    x = torch.randn(2, 16, *size, requires_grad=True)
    upstream = torch.randn(2, 24, *size)
    mine, expected = layer(x), F.conv2d(x, layer.weight, padding=1)
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
    for variable in (x, layer.weight):
        (a,) = torch.autograd.grad(mine, variable, upstream, retain_graph=True)
        (b,) = torch.autograd.grad(expected, variable, upstream, retain_graph=True)
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


# Weights from elsewhere


@pytest.fixture(scope="module")
def published(cnn14: Cnn14) -> dict[str, Tensor]:
    """A state dict of 7 classes; each entry repeats one random number, so that its file is small."""
    generator = torch.Generator().manual_seed(1)
    own = cnn14.state_dict()
    return {
        name: own[name] if name.startswith(FRONT_END) else torch.rand((), generator=generator).expand(shape)
        for name, shape in published_shapes(7).items()
    }


@pytest.mark.parametrize("wrapped", [True, False])
def test_published_weights_load_below_a_fresh_head(published: dict[str, Tensor], tmp_path: Path, wrapped: bool) -> None:
    path = tmp_path / "weights.pth"
    # the published file is from before torch 1.6: no zip archive
    torch.save(
        {"iteration": 1, "model": published} if wrapped else published, path, _use_new_zipfile_serialization=not wrapped
    )
    loaded = build_panns(panns_settings(pretrained_panns=path), N_CLASSES).state_dict()
    assert {name: tuple(value.shape) for name, value in loaded.items()} == published_shapes(N_CLASSES)
    for name, value in loaded.items():
        if not name.startswith("att_block."):
            assert torch.equal(value, published[name].to(value.dtype)), name
    assert loaded["att_block.att.weight"].std() > 0
    assert not loaded["att_block.cla.bias"].any()


class RunsCode:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def write_bad_file(kind: str, path: Path, published: dict[str, Tensor]) -> None:
    if kind == "cut short":
        torch.save(published, path)
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "old format, cut short":
        torch.save(published, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "with code":
        torch.save({"model": published, "more": RunsCode(path.parent / "made")}, path)
    elif kind == "no state dict":
        torch.save([1, 2, 3], path)
    elif kind == "of another model":
        torch.save({name: value for name, value in published.items() if not name.startswith("att_block")}, path)
    elif kind != "missing":
        path.write_bytes({"empty": b"", "a web page": b"<html>not found</html>", "noise": bytes(range(256)) * 9}[kind])


BAD_FILES = ("missing", "empty", "a web page", "noise", "cut short", "old format, cut short", "with code",
             "no state dict", "of another model")  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_weights_file_is_named_in_one_line(kind: str, published: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    write_bad_file(kind, path, published)
    with pytest.raises(InputError) as raised:
        build_panns(panns_settings(pretrained_panns=path), N_CLASSES)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    assert "Cnn14_DecisionLevelAtt" in message
    assert not (tmp_path / "made").exists()  # nothing in the file was run


@pytest.mark.parametrize(
    "changes",
    [{"mel": PANNS_MEL.model_copy(update={"fmin_hz": 20.0})}, {"mel": PANNS_MEL.model_copy(update={"n_mels": 128})}],
)
def test_weights_for_another_spectrogram_are_refused(
    changes: dict[str, Any], published: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(published, path)
    with pytest.raises(InputError) as raised:
        build_panns(panns_settings(pretrained_panns=path, **changes), N_CLASSES)
    assert "\n" not in str(raised.value)
    assert all(value in str(raised.value) for value in ("32000", "1024", "64", "50", "14000"))
