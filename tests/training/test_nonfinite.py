"""Losses and gradients that are not finite, and steps that fp16 leaves out, in Catalyst's real runner."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.same import same_tensors
from helpers.toy import ToyModel, ToyWindows, toy_train

from aer.errors import AerError
from aer.training import checkpoint_file
from aer.training.callbacks.loggers import EpochLogger
from aer.training.engine import Engine
from aer.training.nonfinite import SkippedSteps, complaint


def test_a_nonfinite_loss_ends_the_run_by_name(tmp_path: Path) -> None:
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
def test_a_nonfinite_gradient_ends_the_run_before_the_step(tmp_path: Path, limit: float | None) -> None:
    model = SteepModel()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        AerError, match=r"gradient's norm is (inf|nan) \(the loss is 0\.\d+\) in epoch 1, step 1, on t0"
    ):
        toy_train(tmp_path, epochs=1, model=model, clip_gradient_norm=limit)
    assert same_tensors(before, model.state_dict())
    assert (tmp_path / "nonfinite_batch.csv").read_text().splitlines() == ["path", *(f"t{i}" for i in range(8))]


def test_a_nonfinite_validation_loss_names_the_recording_and_leaves_the_checkpoint(tmp_path: Path) -> None:
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
