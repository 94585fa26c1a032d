"""What a training step is made of: seeding, mixup, loss, backward pass, optimizer; callbacks in Catalyst's order.

Each class says what it adds to, or has instead of, Catalyst's own.
"""

import random
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from catalyst import dl
from catalyst.core.callback import Callback, CallbackOrder, IBackwardCallback, ICriterionCallback

from aer.models.augment import draw_mixup, mixup
from aer.training.nonfinite import Blame, SkippedSteps, complaint


class HasEpoch(Protocol):
    """A data set or sampler whose draws follow from the epoch.

    The method is not called `set_epoch`: accelerate's loaders call that one with a count of their own, which starts at
    0 again when a run goes on.
    """

    def start_epoch(self, epoch: int) -> None: ...


class BuildsOverEpoch(Protocol):
    """What adds something up over a training epoch, which a checkpoint within the epoch therefore carries.

    `take_half` is called on every process, and what it returns on the main one is kept: tensors or plain values that
    say how far every process is. `restore_half` gets them, on every process, after the loader has started.
    """

    def take_half(self, runner: dl.IRunner) -> Any: ...

    def restore_half(self, runner: dl.IRunner, half: Any) -> None: ...


def seed_all(*sources: int) -> None:
    """Seeds the global generators of Python, NumPy and torch (on every device) from a mix of these numbers.

    Not Catalyst's `set_global_seed`, which looks for torch_xla in each call and takes 0.5 ms.
    """
    seed = int(np.random.SeedSequence(sources).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class EpochSeedCallback(Callback):  # type: ignore[misc]
    """Seeds every generator from (seed, epoch, process, step), so that no step depends on draws of the ones before it.

    Catalyst's own seed is, once per loader, the sum of the first three: process 1 of epoch 1 would draw what process 0
    of epoch 2 draws, and an epoch could only go on from its beginning.
    """

    def __init__(self, seed: int, sources: Sequence[HasEpoch]):
        super().__init__(order=CallbackOrder.Internal)
        self.seed = seed
        self.sources = sources

    def on_epoch_start(self, runner: dl.IRunner) -> None:
        for source in self.sources:
            source.start_epoch(runner.epoch_step)

    def on_loader_start(self, runner: dl.IRunner) -> None:
        """After Catalyst's own seeding, which comes just before."""
        seed_all(self.seed, runner.epoch_step, runner.engine.process_index)

    def on_batch_start(self, runner: dl.IRunner) -> None:
        if runner.is_train_loader:
            seed_all(self.seed, runner.epoch_step, runner.engine.process_index, runner.loader_batch_step)


class MixupCallback(Callback):  # type: ignore[misc]
    """Draws weights and partners for each training batch; mixes the targets here, while the model mixes its input."""

    def __init__(self, alpha: float):
        super().__init__(order=CallbackOrder.Internal)
        self.alpha = alpha

    def on_batch_start(self, runner: dl.IRunner) -> None:
        if not runner.is_train_loader:
            return
        targets = runner.batch["targets"]
        weight, partner = draw_mixup(len(targets), self.alpha, targets.device)
        runner.batch = {
            **runner.batch,
            "targets": mixup(targets, weight, partner),
            "mixup_weight": weight,
            "mixup_partner": partner,
        }


class LossCallback(ICriterionCallback):  # type: ignore[misc]
    """The loss of a training batch, and its mean over the loader.

    Instead of Catalyst's, which reads the loss back from the device twice per batch. `BackwardCallback` looks at its
    value; the validation loss is `EvaluationCallback`'s.
    """

    def __init__(self, criterion: torch.nn.Module, output_key: str):
        super().__init__()
        self.criterion = criterion
        self.output_key = output_key
        self.total = torch.zeros(2)

    def take_half(self, runner: dl.IRunner) -> torch.Tensor:
        """The sums (processes, 2): each process goes on with its own, so that no rounding changes."""
        sums: torch.Tensor = runner.engine.gather(self.total[None])
        return sums.cpu()

    def restore_half(self, runner: dl.IRunner, half: torch.Tensor) -> None:
        self.total = half[runner.engine.process_index].to(runner.engine.device, copy=True)

    def on_loader_start(self, runner: dl.IRunner) -> None:
        self.total = torch.zeros(2, device=runner.engine.device)  # summed loss, clips

    def on_batch_end(self, runner: dl.IRunner) -> None:
        if not runner.is_train_loader:
            return
        loss = self.criterion(runner.batch[self.output_key], runner.batch["targets"])
        runner.batch_metrics["loss"] = loss
        self.total += torch.stack([loss.detach() * runner.batch_size, loss.new_tensor(runner.batch_size)])

    def on_loader_end(self, runner: dl.IRunner) -> None:
        if runner.is_train_loader:
            loss, clips = runner.engine.reduce(self.total, reduction="sum").tolist()
            runner.loader_metrics["loss"] = loss / clips


class BackwardCallback(IBackwardCallback):  # type: ignore[misc]
    """The backward pass, with an optional limit on the gradient's norm; a loss or norm that is no number ends the run.

    Catalyst's own limit raises an error, and its loop lets NaN train on. Loss and norm are read back together, after
    the backward pass: the one time per batch that the processor waits for the device.
    """

    def __init__(self, clip_gradient_norm: float | None, blame: Blame):
        super().__init__()
        self.clip_gradient_norm = clip_gradient_norm
        self.blame = blame

    def on_batch_end(self, runner: dl.IRunner) -> None:
        if not runner.is_train_loader:
            return
        loss = runner.batch_metrics["loss"]
        runner.engine.backward(loss)
        parameters = [parameter for parameter in runner.model.parameters() if parameter.grad is not None]
        norm = None
        if self.clip_gradient_norm is not None:
            norm = runner.engine.clip_grad_norm_(parameters, self.clip_gradient_norm)
        if (
            runner.engine.scaler is not None
        ):  # it looks for infinity itself, leaves out the step and tries another scale
            norm = None
        elif norm is None:
            norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        values = torch.stack([loss.detach().float(), *([norm.float()] if norm is not None else [])]).tolist()
        what = complaint(values[0], values[1] if norm is not None else None)
        if what is not None:
            raise self.blame(runner, what, runner.batch["clip"].tolist())


class OptimizerCallback(dl.OptimizerCallback):  # type: ignore[misc]
    """Catalyst's, less the momentum among the metrics, a crash for optimizers that have none; counts skipped steps."""

    def __init__(self, blame: Blame):
        super().__init__(metric_key="loss")
        self.blame = blame
        self.skipped = SkippedSteps()

    def take_half(self, runner: dl.IRunner) -> list[int]:
        """The steps skipped so far in this epoch, and in a row."""
        return [self.skipped.in_epoch, self.skipped.in_a_row]

    def restore_half(self, runner: dl.IRunner, half: list[int]) -> None:
        self.skipped = SkippedSteps(*half)

    def on_loader_start(self, runner: dl.IRunner) -> None:
        if runner.is_train_loader:
            self.skipped = SkippedSteps(in_a_row=self.skipped.in_a_row)

    def on_batch_end(self, runner: dl.IRunner) -> None:
        super().on_batch_end(runner)
        if runner.is_train_loader and runner.engine.scaler is not None:
            self.skipped = self.skipped.after(self.optimizer.step_was_skipped)
            if self.skipped.too_many:
                what = f"fp16 has left out {self.skipped.in_a_row} steps in a row, as their gradients overflow,"
                raise self.blame(runner, what, runner.batch["clip"].tolist())

    def on_loader_end(self, runner: dl.IRunner) -> None:
        super().on_loader_end(runner)
        if runner.is_train_loader and runner.engine.scaler is not None:
            runner.loader_metrics["skipped_steps"] = self.skipped.in_epoch

    def _get_lr_momentum_stats(self) -> dict[str, float]:
        return {"lr": self.optimizer.param_groups[0]["lr"]}
