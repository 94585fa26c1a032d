"""Which checkpoints a run keeps, and that a run in two parts equals one in a piece."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.same import same_tensors
from helpers.toy import ToyModel, ToyWindows, metrics_rows, toy_train

from aer.training import checkpoint_file


def test_the_best_checkpoints_are_those_of_the_best_epochs(tmp_path: Path) -> None:
    checkpoints, model = toy_train(tmp_path, epochs=6, learning_rate=0.5)
    losses = [float(row["valid_loss"]) for row in metrics_rows(tmp_path)]
    ranked = sorted(range(1, 7), key=lambda epoch: losses[epoch - 1])
    assert ranked[0] != 6, "the best epoch should not be the last one, or the test shows little"
    files = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert files == sorted(
        ["best.pth", "last.pth", "previous.pth", *(f"epoch_{epoch:04d}.pth" for epoch in ranked[:2])]
    )
    best = checkpoint_file.load(checkpoints.best_path)
    assert best["epoch"] == ranked[0]
    assert same_tensors(
        best["model"], checkpoint_file.load(tmp_path / "checkpoints" / f"epoch_{ranked[0]:04d}.pth")["model"]
    )
    assert best["metrics"]["valid_loss"] == losses[ranked[0] - 1]
    assert same_tensors(checkpoint_file.load(checkpoints.last_path)["model"], model.state_dict())
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
        assert same_tensors(one["model"], other["model"])


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    toy_train(tmp_path, epochs=2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    again, _ = toy_train(tmp_path, epochs=2)
    assert len(again.history) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()} == before
