"""The parts of a training step, in Catalyst's real runner."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from catalyst import dl
from helpers.toy import ToyWindows, metrics_rows, toy_train

from aer.training.callbacks.steps import MixupCallback


def test_the_learning_rate_follows_its_schedule(tmp_path: Path) -> None:
    toy_train(tmp_path, epochs=4, scheduler_params={"T_max": 4}, learning_rate=0.1)
    rates = [float(row["train_lr"]) for row in metrics_rows(tmp_path)]
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)])


@pytest.mark.parametrize("optimizer", ["Adagrad", "SGD", "AdamW"])
def test_optimizers_with_and_without_momentum(tmp_path: Path, optimizer: str) -> None:
    checkpoints, _ = toy_train(tmp_path, epochs=1, optimizer=optimizer)
    assert checkpoints.history[0]["train_lr"] == 0.05


class Gradients(dl.Callback):
    """Records the gradient's norm between the backward pass and the optimizer's step."""

    def __init__(self) -> None:
        super().__init__(order=dl.CallbackOrder.Backward + 1)
        self.norms: list[float] = []

    def on_batch_end(self, runner: dl.IRunner) -> None:
        if runner.is_train_loader:
            gradients = [parameter.grad.flatten() for parameter in runner.model.parameters()]
            self.norms.append(torch.cat(gradients).norm().item())


def test_the_gradient_is_limited_when_asked(tmp_path: Path) -> None:
    free, limited = Gradients(), Gradients()
    toy_train(tmp_path / "free", epochs=1, extra=[free])
    toy_train(tmp_path / "limited", epochs=1, extra=[limited], clip_gradient_norm=0.01)
    assert min(free.norms) > 0.02
    assert limited.norms == pytest.approx([0.01] * len(limited.norms), rel=1e-3)


class Batches(dl.Callback):
    """Records what the model was given."""

    def __init__(self) -> None:
        super().__init__(order=dl.CallbackOrder.External)
        self.batches: dict[str, list[dict[str, torch.Tensor]]] = {"train": [], "valid": []}

    def on_batch_end(self, runner: dl.IRunner) -> None:
        self.batches[runner.loader_key].append(dict(runner.batch))


def test_mixup_mixes_targets_as_the_model_mixes_its_input_and_only_in_training(tmp_path: Path) -> None:
    seen = Batches()
    toy_train(tmp_path, epochs=1, extra=[MixupCallback(alpha=0.4), seen])
    raw = ToyWindows(26, seed=5)
    first = seen.batches["train"][0]
    weight, partner = first["mixup_weight"].numpy()[:, None], first["mixup_partner"].numpy()
    expected = weight * raw.targets[:8] + (1 - weight) * raw.targets[:8][partner]
    np.testing.assert_allclose(first["targets"].numpy(), expected, atol=1e-6)
    assert all("mixup_weight" not in batch for batch in seen.batches["valid"])
