"""Catalyst's engine and supervised runner on today's accelerate: CPU, one GPU, mixed precision, torchrun."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from catalyst import dl
from catalyst.core.engine import Engine as CatalystEngine

from aer.errors import AerError, InputError, SigtermError, StoppedError
from aer.settings import Settings
from aer.signals import fetched_whole


class Engine(CatalystEngine):  # type: ignore[misc]  # Catalyst carries no types
    """Catalyst's engine, less its question for `DistributedType.TPU`, which accelerate 1.x no longer has."""

    def mean_reduce_ddp_metrics(self, metrics: dict[str, float]) -> dict[str, float]:
        """Each metric's mean over the processes."""
        if not self.is_ddp:
            return metrics
        values = torch.tensor([float(value) for value in metrics.values()], device=self.device)
        return dict(zip(metrics, self.reduce(values, reduction="mean").tolist(), strict=True))


class Runner(dl.SupervisedRunner):  # type: ignore[misc]
    """A supervised runner for models that take waveforms (and, under mixup, weights and partners) and return a dict."""

    model_inputs = ("mixup_weight", "mixup_partner")  # set in the batch by `callbacks.MixupCallback`

    def __init__(self) -> None:
        super().__init__(input_key="waveform", output_key=None, target_key="targets", loss_key="loss")

    def forward(self, batch: Mapping[str, torch.Tensor], **kwargs: Any) -> Mapping[str, torch.Tensor]:
        mixup = {key: batch[key] for key in self.model_inputs if key in batch}
        output: Mapping[str, torch.Tensor] = super().forward(batch, **mixup, **kwargs)
        return output

    def on_loader_start(self, runner: dl.IRunner) -> None:
        super().on_loader_start(runner)
        runner.loader = fetched_whole(runner.loader)  # from here on it is only gone through


def build_engine(settings: Settings) -> Engine:
    """The engine for settings.device and settings.mixed_precision; InputError where this machine has no such device."""
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    device = settings.device
    if device == "auto":
        device = "cuda" if has["cuda"] else "mps" if has["mps"] else "cpu"
    if not has[device]:
        raise InputError(f"device {device}: torch {torch.__version__} finds none on this machine; use auto or cpu")
    if settings.mixed_precision == "fp16" and device == "cpu":
        # accelerate would take it and silently compute in float32
        raise InputError("mixed_precision fp16 needs a GPU, and this run is on the CPU; use bf16 or no")
    return Engine(cpu=device == "cpu", mixed_precision=settings.mixed_precision)


@contextlib.contextmanager
def told_how_to_go_on(engine: Engine) -> Iterator[None]:
    """Where another process of the run is lost: AerError with what to do, not the network library's traceback.

    Whichever comes first: the network library's error, or the SIGTERM that torchrun sends to the others.
    """
    process = f"process {engine.process_index + 1} of {engine.num_processes}"
    try:
        yield
    except SigtermError as cause:
        if engine.is_main_process:  # which tells the very command
            raise
        raise StoppedError(
            f"{process}: torchrun has ended it, as it does when another process has ended or the run is to stop; "
            "the same command goes on from the last checkpoint",
            cause,
        ) from cause
    except RuntimeError as error:
        if not engine.is_ddp or not (isinstance(error, torch.distributed.DistError) or "gloo" in str(error)):
            raise
        reason = " ".join(str(error).split()).split(". ")[0]  # the sentences that follow guess at the cause
        raise AerError(
            f"{process}: another process of the run has ended "
            f"({reason}); the same command goes on from the last checkpoint"
        ) from error
