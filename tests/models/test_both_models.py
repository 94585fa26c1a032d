"""What holds for every model: outputs, draws, gradients, mixup, mixed precision."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.models import N_CLASSES, SAMPLE_RATE
from torch import Tensor, nn

from aer.models.resnest import ResnestClassifier

pytestmark = pytest.mark.xdist_group("models")  # what its fixtures make is made once


@pytest.fixture(params=["cnn14", "resnest"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param).eval()


def test_outputs(model: nn.Module, waveform: Tensor) -> None:
    with torch.no_grad():
        output = model(waveform)
        again = model(waveform)
        alone = model(waveform[1:2])
    assert all(value.dtype == torch.float32 for value in output.values())
    assert output["logits"].shape == output["clipwise_output"].shape == (3, N_CLASSES)
    assert output["embedding"].shape[:-1] == (3,)
    torch.testing.assert_close(output["logits"].sigmoid(), output["clipwise_output"], atol=1e-6, rtol=1e-5)
    for key, value in output.items():
        assert torch.equal(value, again[key])
        # quantised images may differ by one level where a clip's neighbours change the order of a sum
        torch.testing.assert_close(value[1:2], alone[key], atol=1e-3, rtol=1e-3)


def test_embeddings_have_the_documented_size(cnn14: nn.Module, resnest: nn.Module, waveform: Tensor) -> None:
    with torch.no_grad():
        for model in (cnn14.eval(), resnest.eval()):
            assert model(waveform[:1])["embedding"].shape == (1, 2048)


def test_evaluation_draws_nothing(model: nn.Module, waveform: Tensor) -> None:
    before = torch.get_rng_state()
    with torch.no_grad():
        model(waveform)
    assert torch.equal(torch.get_rng_state(), before)


def test_silence_has_a_score(model: nn.Module) -> None:
    with torch.no_grad():
        output = model(torch.zeros(1, SAMPLE_RATE))
    assert all(value.isfinite().all() for value in output.values())


def test_bf16_autocast_keeps_outputs_in_float32(model: nn.Module, waveform: Tensor) -> None:
    with torch.no_grad():
        exact = model(waveform)["clipwise_output"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(waveform)
    assert all(value.dtype == torch.float32 for value in output.values())
    torch.testing.assert_close(output["clipwise_output"], exact, atol=0.05, rtol=0)


def test_gradient_reaches_every_trainable_parameter(model: nn.Module, waveform: Tensor) -> None:
    model.train()
    torch.manual_seed(0)
    model.zero_grad()
    logits = model(waveform)["logits"]
    F.binary_cross_entropy_with_logits(logits, torch.eye(3, N_CLASSES)).backward()
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    dead = [name for name, value in trainable.items() if value.grad is None or not value.grad.any()]
    assert not dead
    assert all(value.grad is not None and value.grad.isfinite().all() for value in trainable.values())
    model.zero_grad(set_to_none=True)


def test_mixup_mixes_the_input_in_training(model: nn.Module, waveform: Tensor) -> None:
    model.train()
    partner = torch.tensor([1, 2, 0])

    def logits(x: Tensor, *mixing: Tensor) -> Tensor:
        torch.manual_seed(0)  # the same dropout and masks for each
        with torch.no_grad():
            result: Tensor = model(x, *mixing)["logits"]
        return result

    plain = logits(waveform)
    torch.testing.assert_close(logits(waveform, torch.ones(3), partner), plain)
    mixed = logits(waveform, torch.full((3,), 0.5), partner)
    assert (mixed - plain).abs().max() > 1e-5
    if isinstance(model, ResnestClassifier):  # mixed before any mask is drawn, so weight 0 is the partner itself
        torch.testing.assert_close(logits(waveform, torch.zeros(3), partner), logits(waveform[partner]))
