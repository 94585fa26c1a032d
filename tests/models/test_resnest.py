"""ResNeSt: its exclusive head, the package's backbones, and their ImageNet weights, good and bad."""

import hashlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from helpers.models import N_CLASSES, resnest_settings
from torch import Tensor

from aer.errors import InputError
from aer.models.resnest import build_backbone, build_resnest, load_imagenet

pytestmark = pytest.mark.xdist_group("models")  # what its fixtures make is made once


def test_cross_entropy_makes_resnest_exclusive(waveform: Tensor) -> None:
    model = build_resnest(resnest_settings(loss_func="CrossEntropy"), N_CLASSES).eval()
    with torch.no_grad():
        output = model(waveform)
    torch.testing.assert_close(output["clipwise_output"].sum(dim=1), torch.ones(3))
    torch.testing.assert_close(output["clipwise_output"], output["logits"].softmax(dim=1))


def test_unknown_backbone_gets_near_matches() -> None:
    with pytest.raises(InputError, match=r"resnest5O.*did you mean.*resnest50"):
        build_resnest(resnest_settings(backbone="resnest5O"), N_CLASSES)


def test_pretrained_without_network_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    with pytest.raises(InputError) as raised:
        build_resnest(resnest_settings(pretrained=True), N_CLASSES)
    message = str(raised.value)
    assert "\n" not in message
    assert "resnest50_fast_1s1x64d-d8fbf808.pth" in message
    assert str(tmp_path / "hub" / "checkpoints") in message


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", bytes(range(256)) * 9])
def test_a_damaged_file_in_the_cache_is_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnest50_fast_1s1x64d-d8fbf808.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(InputError) as raised:
        build_resnest(resnest_settings(pretrained=True), N_CLASSES)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def imagenet_like(path: Path, weights: dict[str, Tensor]) -> Path:
    """`weights` in a file that carries its own hash in its name, as the package's files do."""
    torch.save(OrderedDict(weights), path)
    return path.rename(path.with_name(f"resnest50-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


def test_imagenet_weights_load_whole_or_not_at_all(tmp_path: Path) -> None:
    backbone = build_backbone("resnest50_fast_1s1x64d")
    weights = {name: torch.rand(()).expand(value.shape) for name, value in backbone.state_dict().items()}
    load_imagenet(backbone, imagenet_like(tmp_path / "good.pth", weights))
    assert all(torch.equal(value, weights[name].to(value.dtype)) for name, value in backbone.state_dict().items())
    del weights["layer1.0.conv1.weight"]
    with pytest.raises(InputError, match=r"1 missing \(layer1.0.conv1.weight\)"):
        load_imagenet(backbone, imagenet_like(tmp_path / "bad.pth", weights))
