"""The training loop's callbacks in Catalyst's real runner, on a small real model."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from catalyst import dl
from helpers.toy import N_CLASSES, ToyModel, ToyWindows, toy_train
from sklearn.metrics import average_precision_score, f1_score

from aer.errors import AerError, InputError
from aer.training import checkpoint_file
from aer.training.callbacks.loggers import EpochLogger
from aer.training.callbacks.steps import MixupCallback
from aer.training.engine import Engine
from aer.training.nonfinite import SkippedSteps, complaint


def rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_metrics_are_exact_over_recordings(tmp_path: Path) -> None:
    valid = ToyWindows(13, seed=5, windows_per_clip=3)  # 39 windows in batches of 8: the last one is short
    checkpoints, model = toy_train(tmp_path, epochs=2, valid=valid)
    model.eval()
    with torch.no_grad():
        output = model(torch.from_numpy(valid.waveforms))
    scores = output["clipwise_output"].numpy().reshape(13, 3, N_CLASSES).mean(axis=1)
    targets = valid.targets[::3]
    row = checkpoints.history[-1]
    assert row["valid_map"] == pytest.approx(average_precision_score(targets, scores, average="macro"))
    assert row["valid_f1"] == pytest.approx(f1_score(targets, scores >= 0.5, average="macro"))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(output["logits"], torch.from_numpy(valid.targets))
    assert row["valid_loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_unreadable_windows_are_named_counted_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    valid = ToyWindows(13, seed=5, windows_per_clip=3, unreadable=[4, 9])
    valid.waveforms[valid.unreadable >= 0] = 1e9  # would move every metric
    checkpoints, model = toy_train(tmp_path, epochs=2, valid=valid)
    model.eval()
    readable = valid.unreadable < 0
    with torch.no_grad():
        scores = model(torch.from_numpy(valid.waveforms[readable]))["clipwise_output"].numpy()
    scores = scores.reshape(11, 3, N_CLASSES).mean(axis=1)
    targets = valid.targets[readable][::3]
    assert checkpoints.history[-1]["valid_map"] == pytest.approx(average_precision_score(targets, scores))
    assert [row["valid_unreadable"] for row in checkpoints.history] == [2, 2]
    printed = capsys.readouterr().out
    assert printed.count("left out, as it can't be read: v4") == 1  # told once, not in every epoch
    assert "v9" in printed


def test_the_best_checkpoints_are_those_of_the_best_epochs(tmp_path: Path) -> None:
    checkpoints, model = toy_train(tmp_path, epochs=6, learning_rate=0.5)
    losses = [float(row["valid_loss"]) for row in rows(tmp_path)]
    ranked = sorted(range(1, 7), key=lambda epoch: losses[epoch - 1])
    assert ranked[0] != 6, "the best epoch should not be the last one, or the test shows little"
    files = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert files == sorted(
        ["best.pth", "last.pth", "previous.pth", *(f"epoch_{epoch:04d}.pth" for epoch in ranked[:2])]
    )
    best = checkpoint_file.load(checkpoints.best_path)
    assert best["epoch"] == ranked[0]
    assert same(best["model"], checkpoint_file.load(tmp_path / "checkpoints" / f"epoch_{ranked[0]:04d}.pth")["model"])
    assert best["metrics"]["valid_loss"] == losses[ranked[0] - 1]
    assert same(checkpoint_file.load(checkpoints.last_path)["model"], model.state_dict())
    restored = ToyModel()
    restored.load_state_dict(best["model"])
    valid = ToyWindows(13, seed=5, windows_per_clip=3)
    with torch.no_grad():
        logits = restored.eval()(torch.from_numpy(valid.waveforms))["logits"]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(valid.targets))
    assert loss.item() == pytest.approx(min(losses), rel=1e-6)


def test_a_run_in_two_parts_equals_one_in_a_piece(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments: dict[str, Any] = {"scheduler_params": {"T_max": 5}, "learning_rate": 0.3}
    whole, _ = toy_train(tmp_path / "whole", epochs=5, **arguments)
    toy_train(tmp_path / "parts", epochs=2, **arguments)
    parts, _ = toy_train(tmp_path / "parts", epochs=5, **arguments)
    assert "2 of 5 epochs are done" in capsys.readouterr().out
    assert (tmp_path / "whole/metrics.csv").read_bytes() == (tmp_path / "parts/metrics.csv").read_bytes()
    assert whole.best == parts.best
    for name in ("last.pth", "best.pth"):
        one, other = (checkpoint_file.load(tmp_path / run / "checkpoints" / name) for run in ("whole", "parts"))
        assert same(one["model"], other["model"])


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    toy_train(tmp_path, epochs=2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    again, _ = toy_train(tmp_path, epochs=2)
    assert len(again.history) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()} == before


def test_the_learning_rate_follows_its_schedule(tmp_path: Path) -> None:
    toy_train(tmp_path, epochs=4, scheduler_params={"T_max": 4}, learning_rate=0.1)
    rates = [float(row["train_lr"]) for row in rows(tmp_path)]
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


def test_a_loss_that_is_no_number_ends_the_run_by_name(tmp_path: Path) -> None:
    model = ToyModel()
    with torch.no_grad():
        model.body.weight[0, 0] = float("nan")
    with pytest.raises(AerError, match=r"the loss is nan in epoch 1, step 1, on t0, t1, t2 and 5 more"):
        toy_train(tmp_path, epochs=1, model=model)
    assert not (tmp_path / "checkpoints" / "best.pth").exists()


class SteepModel(ToyModel):
    """Its loss is finite, and so are its outputs; the slope of one of its terms is not."""

    def __init__(self) -> None:
        super().__init__()
        self.steep = torch.nn.Parameter(torch.zeros(1))

    def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = super().forward(waveform)["logits"] + self.steep.sqrt()
        return {"logits": logits, "clipwise_output": logits.sigmoid()}


@pytest.mark.parametrize("limit", [None, 1.0])
def test_a_gradient_that_is_no_number_ends_the_run_before_the_step(tmp_path: Path, limit: float | None) -> None:
    model = SteepModel()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        AerError, match=r"gradient's norm is (inf|nan) \(the loss is 0\.\d+\) in epoch 1, step 1, on t0"
    ):
        toy_train(tmp_path, epochs=1, model=model, clip_gradient_norm=limit)
    assert same(before, model.state_dict())
    assert (tmp_path / "nonfinite_batch.csv").read_text().splitlines() == ["path", *(f"t{i}" for i in range(8))]


def test_a_validation_loss_that_is_no_number_names_the_recording_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    toy_train(tmp_path, epochs=2)
    valid = ToyWindows(13, seed=5, windows_per_clip=3)
    valid.waveforms[3 * 4 + 1] = np.inf  # a window of clip 4
    with pytest.raises(
        AerError, match=r"validation loss is (nan|inf) in epoch 3, step 5 of validation, on v4; "
    ) as caught:
        toy_train(tmp_path, epochs=3, valid=valid)
    assert f"the last good checkpoint is {tmp_path / 'checkpoints/last.pth'} (epoch 2)" in str(caught.value)
    assert checkpoint_file.load(tmp_path / "checkpoints/last.pth")["epoch"] == 2


class LoudModel(ToyModel):
    """Its gradients are large."""

    def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = 64 * super().forward(waveform)["logits"]
        return {"logits": logits, "clipwise_output": logits.sigmoid()}


class ScalingEngine(Engine):
    """On the CPU, with the scaler that fp16 has on a GPU."""

    def __init__(self, scale: float):
        super().__init__(cpu=True)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=scale)


def test_steps_that_fp16_leaves_out_are_counted(tmp_path: Path) -> None:
    # float32 overflows from 2^128 on: a few halvings lead out of it
    arguments: dict[str, Any] = {"engine": ScalingEngine(2.0**127), "optimizer": "SGD", "learning_rate": 1e-4}
    checkpoints, model = toy_train(tmp_path, epochs=4, model=LoudModel(), **arguments)
    skipped = [row["train_skipped_steps"] for row in checkpoints.history]
    assert skipped[0] == 3, "all of the first epoch"
    assert 3 < sum(skipped) < 12
    assert skipped[-1] == 0
    assert all(value.isfinite().all() for value in model.state_dict().values())
    line = EpochLogger(checkpoints).line(4, 4, 1.0)
    checkpoints.history[-1]["train_skipped_steps"] = 2
    assert "fp16" not in line
    assert EpochLogger(checkpoints).line(4, 4, 1.0).endswith("  fp16 skipped 2 steps")


def test_only_many_left_out_steps_in_a_row_end_the_run(tmp_path: Path) -> None:
    model = SteepModel()  # overflows at any scale
    with pytest.raises(AerError, match=r"fp16 has left out 20 steps in a row.* in epoch 7, step 2, on t"):
        toy_train(tmp_path, epochs=9, model=model, engine=ScalingEngine(65536.0))
    counts = SkippedSteps()
    for skipped in [True] * 19 + [False] + [True] * 19:
        counts = counts.after(skipped)
        assert not counts.too_many
    assert counts.in_epoch == 38
    assert counts.after(True).too_many


def test_what_is_wrong_with_a_step() -> None:
    inf, nan = math.inf, math.nan
    assert complaint(0.5, 3.0) is None
    assert complaint(0.5, None) is None
    assert [complaint(loss, 1.0) for loss in (inf, nan)] == ["the loss is inf", "the loss is nan"]
    assert complaint(nan, None) == "the loss is nan"
    assert complaint(0.5, inf) == "the gradient's norm is inf (the loss is 0.5)"


@pytest.mark.parametrize(("share", "bad", "ends"), [(0.1, 1, False), (0.1, 2, True), (0.0, 1, True), (0.2, 2, False)])
def test_how_many_unreadable_recordings_a_run_bears(tmp_path: Path, share: float, bad: int, ends: bool) -> None:
    valid = ToyWindows(13, seed=5, windows_per_clip=3, unreadable=range(3, 3 + bad))
    if not ends:
        toy_train(tmp_path, epochs=1, valid=valid, max_unreadable_share=share)
        return
    with pytest.raises(
        AerError, match=rf"{bad} of 13 recordings to validate on .* max_unreadable_share {share:g} .*: v3"
    ):
        toy_train(tmp_path, epochs=1, valid=valid, max_unreadable_share=share)
    listed = (tmp_path / "unreadable.csv").read_text().splitlines()
    assert listed == ["path,loader,epoch,reason", *(f"v{i},valid,1,a reason" for i in range(3, 3 + bad))]


@pytest.mark.parametrize(
    "content", ["path,loader,epoch,reason\nt3,train,,y\n", "name\nt3\n", 'path,loader\n"t3', "path,loader,epoch\nt3\n"]
)
def test_a_damaged_list_of_unreadable_recordings(tmp_path: Path, content: str) -> None:
    (tmp_path / "unreadable.csv").write_text(content)
    with pytest.raises(InputError, match=r"unreadable.csv is damaged .*: mend or remove it, then") as caught:
        toy_train(tmp_path, epochs=1)
    assert "\n" not in str(caught.value)


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
