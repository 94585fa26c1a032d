"""A loss or gradient that is NaN or infinite: the step, the recordings that it came from, the state that is kept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalyst import dl

from aer.errors import AerError
from aer.training import checkpoint_file
from aer.training.failures import newest_state, position, state_note
from aer.training.run_folder import NONFINITE
from aer.utils.csv_files import csv_path, write_csv
from aer.utils.text import some

# recordings that a message names; the file has all of them
MOST_NAMED = 3
# fp16's scaler begins at 2^16 and halves with each step that it skips: after 20 in a row the loss is scaled down
# instead of up, and it is not the scale that overflows
MOST_SKIPPED_IN_A_ROW = 20


@dataclass(frozen=True)
class SkippedSteps:
    """Optimizer steps that fp16's scaler left out, as it does now and then to find its scale."""

    in_epoch: int = 0
    in_a_row: int = 0

    def after(self, skipped: bool) -> "SkippedSteps":
        """Return the counts after one more step."""
        return SkippedSteps(self.in_epoch + skipped, self.in_a_row + 1 if skipped else 0)

    @property
    def too_many(self) -> bool:
        """Whether the scale can no longer be the cause."""
        return self.in_a_row >= MOST_SKIPPED_IN_A_ROW


def complaint(loss: float, gradient_norm: float | None) -> str | None:
    """Return what is wrong with a step: "the loss is nan"; None if both numbers are finite.

    The norm is None where fp16's scaler looks after the gradient.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if gradient_norm is not None and not math.isfinite(gradient_norm):
        return f"the gradient's norm is {gradient_norm} (the loss is {loss:.4g})"
    return None


class NonfiniteReporter:
    """Makes the error that ends a run whose loss or gradient is not finite."""

    def __init__(self, run_dir: Path, names: Mapping[str, Sequence[str]], learning_rate: float):
        """Take, in `names`, for each loader the recordings' names, by the indices in `batch["clip"]`."""
        self.run_dir = run_dir
        self.names = names
        self.learning_rate = learning_rate

    def error(self, runner: dl.IRunner, what: str, clips: Sequence[int]) -> AerError:
        """Return the error to raise; the main process lists the recordings in a file if the message can't name all.

        `what`: "the loss is nan"; `clips`: indices of the recordings that it was computed from.
        """
        files = [self.names[runner.loader_key][i] for i in dict.fromkeys(clips)]
        listed = ""
        if len(files) > MOST_NAMED and runner.engine.is_main_process:
            rows = [[csv_path(file)] for file in files]
            write_csv(self.run_dir / NONFINITE, ["path"], rows, checkpoint_file.WRITE_ADVICE)
            listed = f" (all of them in {self.run_dir / NONFINITE})"
        advice = (
            f"training has diverged: start anew with a lower learning_rate (now {self.learning_rate:g}; Cnn14 from "
            "scratch wants about 1e-4) or with clip_gradient_norm"
        )
        kept = state_note(newest_state(self.run_dir))
        return AerError(f"{what}{position(runner)}, on {some(files, MOST_NAMED)}{listed}; {kept}; {advice}")
