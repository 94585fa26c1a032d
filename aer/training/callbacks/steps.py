"""The parts of a training step: seeding, mixup, loss, backward pass, optimizer; callbacks in Catalyst's order.

Each class says what it adds to, or does instead of, Catalyst's own.
"""

import random
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from catalyst import dl
from catalyst.core.callback import Callback, CallbackOrder, IBackwardCallback, ICriterionCallback

from aer.models.augment import draw_mixup, mixup
from aer.training.nonfinite import NonfiniteReporter, SkippedSteps, complaint


class HasEpoch(Protocol):
    """A dataset or sampler whose draws follow from the epoch.

    The method is not called `set_epoch`: accelerate's loaders call that one with a count of their own, which starts at
    0 again when a run is resumed.
    """

    def start_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 1, from which the next draws follow."""
        ...


class HasPartialState(Protocol):
    """A callback that adds up over a training epoch what a checkpoint within the epoch must carry."""

    def partial_state(self, runner: dl.IRunner) -> Any:
        """Return tensors or plain values that say how far all processes are.

        Called on every process; what it returns on the main one is kept.
        """
        ...

    def restore_partial_state(self, runner: dl.IRunner, state: Any) -> None:
        """Take over what `partial_state` returned; called on every process, after the loader has started."""
        ...


def seed_all(*sources: int) -> None:
    """Seed the global generators of Python, NumPy and torch (on every device) from a mix of these numbers.

    Not Catalyst's `set_global_seed`, which looks for torch_xla in each call and takes 0.5 ms.
    """
    seed = int(np.random.SeedSequence(sources).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class EpochSeedCallback(Callback):  # type: ignore[misc]
    """Seeds every generator from (seed, epoch, process, step), so that no step depends on draws of the ones before it.

    Catalyst's own seed is, once per loader, the sum of the first three: process 1 of epoch 1 would draw what process 0
    of epoch 2 draws, and an epoch could only be resumed from its beginning.
    """

    def __init__(self, seed: int, sources: Sequence[HasEpoch]):
        super().__init__(order=CallbackOrder.Internal)
        self.seed = seed
        self.sources = sources

    def on_epoch_start(self, runner: dl.IRunner) -> None:
        for source in self.sources:
            source.start_epoch(runner.epoch_step)

    def on_loader_start(self, runner: dl.IRunner) -> None:
        """Seed after Catalyst's own seeding, which comes just before."""
        seed_all(self.seed, runner.epoch_step, runner.engine.process_index)

    def on_batch_start(self, runner: dl.IRunner) -> None:
        if runner.is_train_loader:
            seed_all(self.seed, runner.epoch_step, runner.engine.process_index, runner.loader_batch_step)


class MixupCallback(Callback):  # type: ignore[misc]
    """Draws weights and partners for each training batch; mixes the targets here, while the model mixes its input.

    Adds "mixup_weight" (B,) and "mixup_partner" (B,) to the batch. See `aer.models.augment.mixup`.
    """

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

    Instead of Catalyst's, which reads the loss back from the device twice per batch. `BackwardCallback` checks its
    value; the validation loss is `ValidationLossCallback`'s.
    """

    def __init__(self, criterion: torch.nn.Module, output_key: str):
        super().__init__()
        self.criterion = criterion
        self.output_key = output_key
        # summed loss, clips
        self.total = torch.zeros(2)

    def partial_state(self, runner: dl.IRunner) -> torch.Tensor:
        """Return the sums (processes, 2): each process resumes with its own, so that no rounding changes."""
        sums: torch.Tensor = runner.engine.gather(self.total[None])
        return sums.cpu()

    def restore_partial_state(self, runner: dl.IRunner, state: torch.Tensor) -> None:
        """Take this process's sums."""
        self.total = state[runner.engine.process_index].to(runner.engine.device, copy=True)

    def on_loader_start(self, runner: dl.IRunner) -> None:
        self.total = torch.zeros(2, device=runner.engine.device)

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
    """The backward pass, with an optional limit on the gradient's norm; a non-finite loss or norm ends the run.

    Catalyst's own limit raises an error, and its loop lets NaN train on. Loss and norm are read back together, after
    the backward pass: the one time per batch that the processor waits for the device.
    """

    def __init__(self, clip_gradient_norm: float | None, reporter: NonfiniteReporter):
        super().__init__()
        self.clip_gradient_norm = clip_gradient_norm
        self.reporter = reporter

    def on_batch_end(self, runner: dl.IRunner) -> None:
        if not runner.is_train_loader:
            return
        loss = runner.batch_metrics["loss"]
        runner.engine.backward(loss)
        parameters = [parameter for parameter in runner.model.parameters() if parameter.grad is not None]
        norm = None
        if self.clip_gradient_norm is not None:
            norm = runner.engine.clip_grad_norm_(parameters, self.clip_gradient_norm)
        if runner.engine.scaler is not None:
            # it looks for infinity itself, leaves out the step and tries another scale
            norm = None
        elif norm is None:
            norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        values = torch.stack([loss.detach().float(), *([norm.float()] if norm is not None else [])]).tolist()
        what = complaint(values[0], values[1] if norm is not None else None)
        if what is not None:
            raise self.reporter.error(runner, what, runner.batch["clip"].tolist())


class OptimizerCallback(dl.OptimizerCallback):  # type: ignore[misc]
    """Catalyst's, less the momentum among the metrics, a crash for optimizers that have none; counts skipped steps."""

    def __init__(self, reporter: NonfiniteReporter):
        super().__init__(metric_key="loss")
        self.reporter = reporter
        self.skipped = SkippedSteps()

    def partial_state(self, runner: dl.IRunner) -> list[int]:
        """Return the steps skipped so far in this epoch, and in a row."""
        return [self.skipped.in_epoch, self.skipped.in_a_row]

    def restore_partial_state(self, runner: dl.IRunner, state: list[int]) -> None:
        """Take over the counts, which are the same on all processes."""
        self.skipped = SkippedSteps(*state)

    def on_loader_start(self, runner: dl.IRunner) -> None:
        if runner.is_train_loader:
            self.skipped = SkippedSteps(in_a_row=self.skipped.in_a_row)

    def on_batch_end(self, runner: dl.IRunner) -> None:
        super().on_batch_end(runner)
        if runner.is_train_loader and runner.engine.scaler is not None:
            self.skipped = self.skipped.after(self.optimizer.step_was_skipped)
            if self.skipped.too_many:
                what = f"fp16 has left out {self.skipped.in_a_row} steps in a row, as their gradients overflow,"
                raise self.reporter.error(runner, what, runner.batch["clip"].tolist())

    def on_loader_end(self, runner: dl.IRunner) -> None:
        super().on_loader_end(runner)
        if runner.is_train_loader and runner.engine.scaler is not None:
            runner.loader_metrics["skipped_steps"] = self.skipped.in_epoch

    def _get_lr_momentum_stats(self) -> dict[str, float]:
        return {"lr": self.optimizer.param_groups[0]["lr"]}
