"""Callbacks that watch a run: exact metrics, unreadable recordings, progress.

Each class says what it adds to, or has instead of, Catalyst's own. B windows in a batch, C classes, N recordings.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from catalyst import dl
from catalyst.core.callback import Callback, CallbackOrder, IMetricCallback
from tqdm import tqdm

from aer.errors import AerError
from aer.metrics import clip_scores, macro_f1, mean_average_precision


class UnreadableCallback(Callback):  # type: ignore[misc]
    """Names, once each, the recordings that could not be read, and counts them per epoch in `unreadable`."""

    def __init__(self, names: Mapping[str, Sequence[str]]):
        """`names`: for each loader the recordings' names, in the order of the indices in `batch["unreadable"]`."""
        super().__init__(order=CallbackOrder.Metric)
        self.names = names
        self.told: set[str] = set()
        self.marks: list[torch.Tensor] = []

    def take_half(self, runner: dl.IRunner) -> torch.Tensor:
        """The places, in the loader's recordings, of those that could not be read so far."""
        marks = torch.cat(self.marks)
        return torch.unique(marks[marks >= 0]).cpu()  # type: ignore[no-any-return]

    def restore_half(self, runner: dl.IRunner, half: torch.Tensor) -> None:
        self.marks = [half.to(runner.engine.device)]

    def on_loader_start(self, runner: dl.IRunner) -> None:
        self.marks = []

    def on_batch_end(self, runner: dl.IRunner) -> None:
        self.marks.append(runner.engine.gather_for_metrics(runner.batch["unreadable"]))

    def on_loader_end(self, runner: dl.IRunner) -> None:
        marks = torch.cat(self.marks)
        failed = [self.names[runner.loader_key][i] for i in sorted(set(marks[marks >= 0].tolist()))]
        runner.loader_metrics["unreadable"] = len(failed)
        for name in failed:
            if name not in self.told and runner.engine.is_main_process:
                tqdm.write(f"left out, as it can't be read: {name}")
        self.told.update(failed)


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
        outputs, targets, clips, unreadable = (torch.cat(parts) for parts in zip(*self.collected, strict=True))
        # a recording with a window that can't be read is left out as a whole: half of it would be another recording
        readable = ~torch.isin(clips, unreadable[unreadable >= 0])
        if not readable.any():
            raise AerError("no recording of the validation fold can be read")
        runner.loader_metrics[self.metric_key] = self.compute(outputs[readable], targets[readable], clips[readable])

    def compute(self, outputs: torch.Tensor, targets: torch.Tensor, clips: torch.Tensor) -> float:
        """The metric of outputs (B, C), targets (B, C) and the windows' recordings (B,)."""
        raise NotImplementedError


class ValidationLossCallback(EvaluationCallback):
    """The loss over all validation windows."""

    metric_key = "loss"

    def __init__(self, criterion: torch.nn.Module, output_key: str):
        super().__init__(output_key)
        self.criterion = criterion

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
        """The metric of targets (N, C) and scores (N, C) of N recordings."""
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


class ProgressCallback(Callback):  # type: ignore[misc]
    """A progress bar per loader, gone when it is done; none where stderr is no terminal.

    Instead of Catalyst's, which stays on the screen and reads every metric back from the device after each batch.
    """

    def __init__(self) -> None:
        super().__init__(order=CallbackOrder.External)
        self.bar: Any = None

    def on_loader_start(self, runner: dl.IRunner) -> None:
        what = "training" if runner.is_train_loader else "validation"
        self.bar = tqdm(
            total=runner.loader_batch_len,
            desc=f"epoch {runner.epoch_step}/{runner.num_epochs} {what}",
            unit="batch",
            leave=False,
            disable=None if runner.engine.is_main_process else True,
        )

    def on_batch_end(self, runner: dl.IRunner) -> None:
        # not one by one: a loader may begin within its epoch
        self.bar.update(runner.loader_batch_step // runner.engine.num_processes - self.bar.n)

    def on_loader_end(self, runner: dl.IRunner) -> None:
        self.bar.close()

    def on_exception(self, runner: dl.IRunner) -> None:
        if self.bar is not None:
            self.bar.close()
