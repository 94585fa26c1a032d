"""A loss or a gradient that is no number: where it was, which recordings it came from, and what is left."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalyst import dl

from aer.errors import AerError
from aer.training import checkpoint_file
from aer.training.failures import kept_state, last_state, where
from aer.training.run_folder import NONFINITE
from aer.utils.csv_files import csv_path, write_csv
from aer.utils.text import some

NAMED = 3  # recordings that a message names; the file has all of them
# fp16's scaler begins at 2^16 and halves with each step that it skips: after 20 in a row the loss is scaled down
# instead of up, and it is not the scale that overflows
MOST_SKIPPED_IN_A_ROW = 20


@dataclass(frozen=True)
class SkippedSteps:
    """Optimizer steps that fp16's scaler left out, as it does now and then to find its scale."""

    in_epoch: int = 0
    in_a_row: int = 0

    def after(self, skipped: bool) -> "SkippedSteps":
        """The counts after one more step."""
        return SkippedSteps(self.in_epoch + skipped, self.in_a_row + 1 if skipped else 0)

    @property
    def too_many(self) -> bool:
        return self.in_a_row >= MOST_SKIPPED_IN_A_ROW


def complaint(loss: float, gradient_norm: float | None) -> str | None:
    """What is wrong with a step, if anything is. The norm is None where fp16's scaler looks after the gradient."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if gradient_norm is not None and not math.isfinite(gradient_norm):
        return f"the gradient's norm is {gradient_norm} (the loss is {loss:.4g})"
    return None


class Blame:
    """Makes the error that ends a run over a number that is none."""

    def __init__(self, run_dir: Path, names: Mapping[str, Sequence[str]], learning_rate: float):
        """`names`: for each loader the recordings' names, in the order of the indices in `batch["clip"]`."""
        self.run_dir = run_dir
        self.names = names
        self.learning_rate = learning_rate

    def __call__(self, runner: dl.IRunner, what: str, clips: Sequence[int]) -> AerError:
        """`what`: "the loss is nan"; `clips`: places of the recordings that it was computed from."""
        files = [self.names[runner.loader_key][i] for i in dict.fromkeys(clips)]
        listed = ""
        if len(files) > NAMED and runner.engine.is_main_process:
            write_csv(self.run_dir / NONFINITE, ["path"], [[csv_path(file)] for file in files], checkpoint_file.ADVICE)
            listed = f" (all of them in {self.run_dir / NONFINITE})"
        advice = (
            f"training has diverged: start anew with a lower learning_rate (now {self.learning_rate:g}; Cnn14 from "
            "scratch wants about 1e-4) or with clip_gradient_norm"
        )
        kept = kept_state(last_state(self.run_dir))
        return AerError(f"{what}{where(runner)}, on {some(files, NAMED)}{listed}; {kept}; {advice}")
