"""The logs of a run: one line per epoch on the console, TensorBoard, progress bars."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalyst import dl
from catalyst.core.callback import Callback, CallbackOrder

from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.utils.progress import ProgressBar
from aer.utils.signals import interrupts_wait


class EpochLogger(dl.ConsoleLogger):  # type: ignore[misc]
    """A line per epoch, where Catalyst's logger prints three with fifteen digits a number."""

    def __init__(self, checkpoints: CheckpointCallback):
        super().__init__()
        self.checkpoints = checkpoints
        self.since_s = time.monotonic()

    def log_metrics(self, metrics: Any, scope: str, runner: dl.IRunner) -> None:
        if scope == "epoch":
            now_s = time.monotonic()
            print(self.line(runner.epoch_step, runner.num_epochs, now_s - self.since_s), flush=True)
            self.since_s = now_s

    def line(self, epoch: int, n_epochs: int, duration_s: float) -> str:
        """Return the line of an epoch, counted from 1, that the checkpoint callback has seen."""
        row = self.checkpoints.history[-1]
        is_best = bool(self.checkpoints.best) and self.checkpoints.best[0]["epoch"] == epoch
        return (
            f"epoch {epoch:>{len(str(n_epochs))}}/{n_epochs}"
            f"  train loss {row['train_loss']:.4f}  valid loss {row['valid_loss']:.4f}"
            f"  macro F1 {row['valid_f1']:.3f}  mAP {row['valid_map']:.3f}"
            f"  lr {row['train_lr']:.1e}  {duration_s:.0f} s{'  best so far' if is_best else ''}{_notes(row)}"
        )


def _notes(row: Mapping[str, float]) -> str:
    """Return what an epoch had that it should not have, or not often; "" if there was nothing."""
    unreadable = int(row.get("train_unreadable", 0) + row.get("valid_unreadable", 0))
    skipped = int(row.get("train_skipped_steps", 0))
    notes = [f"  {unreadable} unreadable"] if unreadable else []
    return "".join([*notes, *([f"  fp16 skipped {skipped} steps"] if skipped else [])])


class TensorboardHistory(dl.TensorboardLogger):  # type: ignore[misc]
    """Catalyst's, fed with the rows of the run's history, which go back to the first epoch also in a resumed run.

    Catalyst's own loses an epoch when the run stops between its checkpoint and its log, and has the epoch twice when it
    stops between its log and its checkpoint. Here a resumed run writes all rows anew, in place of the old files.
    """

    def __init__(self, checkpoints: CheckpointCallback):
        super().__init__(str(checkpoints.run_dir / "tensorboard"))
        self.checkpoints = checkpoints
        self.n_written = 0

    def log_metrics(self, metrics: Any, scope: str, runner: dl.IRunner) -> None:
        """Log nothing yet: the history has its row after the epoch."""

    def flush_log(self) -> None:
        # An interrupt within a queue's `put` can lose the signal to the writer's thread, which then never hears that
        # it is to end, and the process waits for it for ever
        with interrupts_wait(patience_s=1):
            self._write_new_rows()
            super().flush_log()

    def _write_new_rows(self) -> None:
        if self.n_written == 0:
            for old in Path(self.logdir).glob("*/events.out.tfevents.*"):
                old.unlink()
        for row in self.checkpoints.history[self.n_written :]:
            for key, value in row.items():
                loader, _, name = key.partition("_")
                # all but the epoch's number
                if name:
                    self._check_loader_key(loader)
                    self._log_metrics({name: value}, int(row["epoch"]), loader, "/epoch")
        self.n_written = len(self.checkpoints.history)


class ProgressCallback(Callback):  # type: ignore[misc]
    """A progress bar per loader, gone when it is done; none where stderr is no terminal.

    Instead of Catalyst's, which stays on the screen and reads every metric back from the device after each batch.
    """

    def __init__(self) -> None:
        super().__init__(order=CallbackOrder.External)
        self.bar: ProgressBar | None = None

    def on_loader_start(self, runner: dl.IRunner) -> None:
        what = "training" if runner.is_train_loader else "validation"
        label = f"epoch {runner.epoch_step}/{runner.num_epochs} {what}"
        self.bar = ProgressBar(runner.loader_batch_len, label, "batch", shown=runner.engine.is_main_process)

    def on_batch_end(self, runner: dl.IRunner) -> None:
        assert self.bar is not None
        # not one by one: a loader may begin within its epoch
        self.bar.update(runner.loader_batch_step // runner.engine.num_processes - self.bar.n)

    def on_loader_end(self, runner: dl.IRunner) -> None:
        assert self.bar is not None
        self.bar.close()

    def on_exception(self, runner: dl.IRunner) -> None:
        if self.bar is not None:
            self.bar.close()
