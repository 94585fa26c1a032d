"""Catalyst's engine and supervised runner on today's accelerate: CPU, one GPU, mixed precision, torchrun."""

from collections.abc import Mapping
from typing import Any

import torch
from catalyst import dl
from catalyst.core.engine import Engine as CatalystEngine

from aer.errors import InputError
from aer.settings import Settings
from aer.training.loaders import uninterrupted_batches
from aer.utils.devices import pick_device


class Engine(CatalystEngine):  # type: ignore[misc]  # Catalyst carries no types
    """Catalyst's engine, less its question for `DistributedType.TPU`, which accelerate 1.x no longer has."""

    def mean_reduce_ddp_metrics(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return each metric's mean over the processes."""
        if not self.is_ddp:
            return metrics
        values = torch.tensor([float(value) for value in metrics.values()], device=self.device)
        return dict(zip(metrics, self.reduce(values, reduction="mean").tolist(), strict=True))


class Runner(dl.SupervisedRunner):  # type: ignore[misc]
    """A supervised runner for models that take waveforms (and, under mixup, weights and partners) and return a dict."""

    # put into the batch by `MixupCallback`
    model_inputs = ("mixup_weight", "mixup_partner")

    def __init__(self) -> None:
        super().__init__(input_key="waveform", output_key=None, target_key="targets", loss_key="loss")

    def forward(self, batch: Mapping[str, torch.Tensor], **kwargs: Any) -> Mapping[str, torch.Tensor]:
        mixup = {key: batch[key] for key in self.model_inputs if key in batch}
        output: Mapping[str, torch.Tensor] = super().forward(batch, **mixup, **kwargs)
        return output

    def on_loader_start(self, runner: dl.IRunner) -> None:
        super().on_loader_start(runner)
        # from here on Catalyst does no more than iterate over it
        runner.loader = uninterrupted_batches(runner.loader)


def build_engine(settings: Settings) -> Engine:
    """Build the engine for `settings.device` and `settings.mixed_precision`.

    Raise InputError where this machine has no such device, and for fp16 on the CPU.
    """
    device = pick_device(settings.device, "device")
    if settings.mixed_precision == "fp16" and device == "cpu":
        # accelerate would take it and silently compute in float32
        raise InputError("mixed_precision fp16 needs a GPU, and this run is on the CPU; use bf16 or no")
    return Engine(cpu=device == "cpu", mixed_precision=settings.mixed_precision)
