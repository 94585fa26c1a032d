"""Callbacks that watch a run: exact metrics, unreadable recordings, progress.

Each class says what it adds to, or has instead of, Catalyst's own. B windows in a batch, C classes, N recordings.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import gather_object
from catalyst import dl
from catalyst.core.callback import Callback, CallbackOrder, IMetricCallback
from tqdm import tqdm

from aer import checkpoint
from aer.blame import Blame
from aer.corpus import most_unreadable
from aer.errors import AerError, InputError
from aer.files import write_csv
from aer.metrics import clip_scores, macro_f1, mean_average_precision
from aer.runs import UNREADABLE
from aer.text import csv_path, csv_text, printable, some


class UnreadableCallback(Callback):  # type: ignore[misc]
    """Names, once each, the recordings that could not be read, and counts them per epoch in `unreadable`.

    `unreadable.csv` in the run's folder has all of them, with the reasons. Where they are more than `max_share` of a
    loader's recordings, the run ends; one alone never ends it, unless the share is 0.
    """

    file_name = UNREADABLE

    def __init__(self, names: Mapping[str, Sequence[str]], run_dir: Path, max_share: float):
        """`names`: for each loader the recordings' names, in the order of the indices in `batch["unreadable"]`."""
        super().__init__(order=CallbackOrder.Metric)
        self.names = names
        self.run_dir = run_dir
        self.max_share = max_share
        self.told: dict[str, tuple[str, int, str]] = {}  # name: loader, epoch and reason
        self.marks: list[torch.Tensor] = []
        self.reasons: dict[int, str] = {}  # in this loader and process, by the recording's index

    def take_half(self, runner: dl.IRunner) -> torch.Tensor:
        """The places, in the loader's recordings, of those that could not be read so far."""
        marks = torch.cat(self.marks)
        return torch.unique(marks[marks >= 0]).cpu()  # type: ignore[no-any-return]

    def restore_half(self, runner: dl.IRunner, half: torch.Tensor) -> None:
        self.marks = [half.to(runner.engine.device)]

    def on_experiment_start(self, runner: dl.IRunner) -> None:
        """What the file of a run that goes on names was told before."""
        path = self.run_dir / self.file_name
        if not path.exists():
            return
        names = {csv_path(name): name for listed in self.names.values() for name in listed}
        try:
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                rows = [row for row in csv.DictReader(file, strict=True) if row["path"] in names]
            self.told = {names[row["path"]]: (row["loader"], int(row["epoch"]), row["reason"] or "") for row in rows}
        except OSError as error:
            raise InputError(f"{path} can't be read: {error.strerror}") from error
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            told = printable(str(error))
            raise InputError(f"{path} is damaged ({told}): mend or remove it, then the same command goes on") from error

    def on_loader_start(self, runner: dl.IRunner) -> None:
        self.marks, self.reasons = [], {}

    def on_batch_end(self, runner: dl.IRunner) -> None:
        self.marks.append(runner.engine.gather_for_metrics(runner.batch["unreadable"]))
        if not any(runner.batch["reason"]):  # known without waiting for the device
            return
        for index, reason in zip(runner.batch["unreadable"].tolist(), runner.batch["reason"], strict=True):
            if reason:
                self.reasons[index] = reason
        alone = runner.engine.num_processes == 1  # else each knows its own until the end
        if alone:  # at once: an epoch can take hours, and a run that is stopped in it and goes on has the file
            self._tell(runner, list(self.reasons), self.reasons)
            if len(self.reasons) > self._most(runner):
                raise self._too_many(runner, sorted(self.reasons))

    def on_loader_end(self, runner: dl.IRunner) -> None:
        marks = torch.cat(self.marks)
        failed = sorted(set(marks[marks >= 0].tolist()))
        runner.loader_metrics["unreadable"] = len(failed)
        reasons = dict(gather_object(list(self.reasons.items())))
        self._tell(runner, failed, reasons)
        if len(failed) > self._most(runner):
            raise self._too_many(runner, failed)

    def _most(self, runner: dl.IRunner) -> int:
        """How many unreadable recordings of the loader the run bears."""
        return most_unreadable(self.max_share, len(self.names[runner.loader_key]))

    def _tell(self, runner: dl.IRunner, failed: Sequence[int], reasons: Mapping[int, str]) -> None:
        """Names those that were not named before, and writes the file anew if there are any."""
        new = [i for i in failed if self.names[runner.loader_key][i] not in self.told]
        for i in new:
            name, reason = self.names[runner.loader_key][i], reasons.get(i, "before the run was stopped")
            reason = reason.removeprefix(f"{printable(name)}: ")
            self.told[name] = (runner.loader_key, runner.epoch_step, reason)
            if runner.engine.is_main_process:
                tqdm.write(f"left out, as it can't be read: {printable(name)}: {printable(reason)}")
        if new and runner.engine.is_main_process:
            rows = [
                [csv_path(name), loader, epoch, csv_text(reason)] for name, (loader, epoch, reason) in self.told.items()
            ]
            header = ["path", "loader", "epoch", "reason"]
            write_csv(self.run_dir / self.file_name, header, rows, checkpoint.ADVICE)

    def _too_many(self, runner: dl.IRunner, failed: Sequence[int]) -> AerError:
        names = self.names[runner.loader_key]
        side = "to train on" if runner.is_train_loader else "to validate on"
        return AerError(
            f"{len(failed)} of {len(names)} recordings {side} ({len(failed) / len(names):.1%}) can't be read, more "
            f"than max_unreadable_share {self.max_share:g} lets pass: {some([names[i] for i in failed])}; all with the "
            f"reasons in {self.run_dir / self.file_name}; mend them or raise --max-unreadable-share, then the same "
            "command goes on"
        )


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

    def __init__(self, criterion: torch.nn.Module, output_key: str, blame: Blame):
        super().__init__(output_key)
        self.criterion = criterion
        self.blame = blame

    def on_loader_end(self, runner: dl.IRunner) -> None:
        """Ends the run over a loss that is no number before a checkpoint is made of such a model."""
        super().on_loader_end(runner)
        if runner.is_valid_loader and not math.isfinite(loss := runner.loader_metrics[self.metric_key]):
            outputs, _, clips, unreadable = (torch.cat(parts) for parts in zip(*self.collected, strict=True))
            bad = (unreadable < 0) & ~torch.isfinite(outputs).all(dim=1)
            chosen = clips[bad] if bad.any() else clips
            raise self.blame(runner, f"the validation loss is {loss}", chosen.tolist())

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
