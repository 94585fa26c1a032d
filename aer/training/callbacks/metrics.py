"""Exact metrics over the validation loader. B windows, C classes, N recordings."""

import math
from typing import Any, Literal

import torch
from catalyst import dl
from catalyst.core.callback import IMetricCallback

from aer.errors import AerError
from aer.training.metrics import clip_scores, macro_f1, mean_average_precision
from aer.training.nonfinite import NonfiniteReporter


class EvaluationCallback(IMetricCallback):  # type: ignore[misc]
    """A metric over the whole validation loader: exact, per recording, gathered over the processes.

    Collects one model output and the targets of all windows (unreadable ones left out), and puts what `compute`
    returns into `loader_metrics[metric_key]`, where schedulers and checkpoints see it.
    """

    metric_key: str

    def __init__(self, output_key: str):
        super().__init__()
        self.output_key = output_key
        self.collected: list[tuple[torch.Tensor, ...]] = []

    def on_loader_start(self, runner: dl.IRunner) -> None:
        self.collected = []

    def on_batch_end(self, runner: dl.IRunner) -> None:
        if runner.is_valid_loader:
            batch = runner.batch
            window = (batch[self.output_key].float(), batch["targets"], batch["clip"], batch["unreadable"])
            self.collected.append(runner.engine.gather_for_metrics(window))

    def on_loader_end(self, runner: dl.IRunner) -> None:
        if not runner.is_valid_loader:
            return
        outputs, targets, clips, unreadable = (torch.cat(batches) for batches in zip(*self.collected, strict=True))
        # a recording with a window that can't be read is left out as a whole: half of it would be another recording
        readable = ~torch.isin(clips, unreadable[unreadable >= 0])
        if not readable.any():
            raise AerError("no recording of the validation fold can be read")
        runner.loader_metrics[self.metric_key] = self.compute(outputs[readable], targets[readable], clips[readable])

    def compute(self, outputs: torch.Tensor, targets: torch.Tensor, clips: torch.Tensor) -> float:
        """Return the metric of outputs (B, C), targets (B, C) and the windows' recordings (B,)."""
        raise NotImplementedError


class ValidationLossCallback(EvaluationCallback):
    """The loss over all validation windows, which ends the run if it is not finite."""

    metric_key = "loss"

    def __init__(self, criterion: torch.nn.Module, output_key: str, reporter: NonfiniteReporter):
        super().__init__(output_key)
        self.criterion = criterion
        self.reporter = reporter

    def on_loader_end(self, runner: dl.IRunner) -> None:
        """Raise AerError for a non-finite loss, before a checkpoint is made of such a model."""
        super().on_loader_end(runner)
        if runner.is_valid_loader and not math.isfinite(loss := runner.loader_metrics[self.metric_key]):
            outputs, _, clips, unreadable = (torch.cat(batches) for batches in zip(*self.collected, strict=True))
            bad = (unreadable < 0) & ~torch.isfinite(outputs).all(dim=1)
            culprits = clips[bad] if bad.any() else clips
            raise self.reporter.error(runner, f"the validation loss is {loss}", culprits.tolist())

    def compute(self, outputs: torch.Tensor, targets: torch.Tensor, clips: torch.Tensor) -> float:
        return float(self.criterion(outputs, targets))


class _RecordingMetricCallback(EvaluationCallback):
    """A metric of recordings: the score of each is the mean or the maximum over its windows."""

    def __init__(self, clip_score: Literal["mean", "max"] = "mean", output_key: str = "clipwise_output"):
        super().__init__(output_key)
        self.clip_score = clip_score

    def compute(self, outputs: torch.Tensor, targets: torch.Tensor, clips: torch.Tensor) -> float:
        clip_ids = clips.cpu().numpy()
        _, scores = clip_scores(outputs.cpu().numpy(), clip_ids, self.clip_score)
        _, present = clip_scores(targets.cpu().numpy(), clip_ids, "max")
        return self.metric(present, scores)

    def metric(self, targets: Any, scores: Any) -> float:
        """Return the metric of targets (N, C) and scores (N, C) of N recordings."""
        raise NotImplementedError


class F1Callback(_RecordingMetricCallback):
    """Macro F1 over recordings, with a class present from the threshold on."""

    metric_key = "f1"

    def __init__(self, threshold: float = 0.5, clip_score: Literal["mean", "max"] = "mean"):
        super().__init__(clip_score)
        self.threshold = threshold

    def metric(self, targets: Any, scores: Any) -> float:
        return macro_f1(targets, scores, self.threshold)


class MAPCallback(_RecordingMetricCallback):
    """Mean average precision over the classes that have positives."""

    metric_key = "map"

    def metric(self, targets: Any, scores: Any) -> float:
        return mean_average_precision(targets, scores)
