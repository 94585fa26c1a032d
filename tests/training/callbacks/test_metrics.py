"""Metrics of a whole validation loader, in Catalyst's real runner."""

from pathlib import Path

import pytest
import torch
from helpers.toy import N_CLASSES, ToyWindows, toy_train
from sklearn.metrics import average_precision_score, f1_score


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
