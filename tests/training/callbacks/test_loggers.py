"""What a run shows in TensorBoard."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.same import tensorboard_rows

from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.training.callbacks.loggers import TensorboardHistory


class Interrupted(dict[str, float]):
    """A row during whose writing Ctrl-C comes."""

    def items(self) -> Iterator[tuple[str, float]]:  # type: ignore[override]
        for number, item in enumerate(super().items()):
            if number == 2:
                signal.raise_signal(signal.SIGINT)
            yield item


def test_ctrl_c_waits_until_the_rows_are_handed_over(tmp_path: Path) -> None:
    # in the midst of it the writer's thread can miss what comes after, and the process would never end
    checkpoints = CheckpointCallback(tmp_path, {}, "loss", 1)
    metrics = {"train_loss": 0.5, "valid_loss": 0.25, "valid_f1": 0.75}
    checkpoints.history = [Interrupted({"epoch": 1, **metrics}), {"epoch": 2, **metrics}]
    logger = TensorboardHistory(checkpoints)
    with pytest.raises(KeyboardInterrupt):
        logger.flush_log()
    logger.close_log()
    assert logger.n_written == 2
    assert len(tensorboard_rows(tmp_path / "tensorboard")) == 2 * len(metrics)
