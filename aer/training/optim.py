"""Optimizers and learning rate schedulers: any of torch's, by name."""

import inspect
from typing import Any

import torch
from torch.optim import lr_scheduler

from aer.errors import InputError
from aer.settings import Settings
from aer.utils.text import near_matches

# they set the learning rate outright in every step, so that a warm-up beside them is lost (OneCycleLR has its own)
SET_OUTRIGHT = ("OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts", "LambdaLR")

UNSUITABLE = {
    "LBFGS": "it evaluates the loss several times per step",
    "SparseAdam": "it takes sparse gradients, and convolutions have dense ones",
}


def build_optimizer(settings: Settings, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Build `settings.optimizer` over the model's trainable parameters.

    Raise InputError for an unknown name, an unsuitable optimizer or an unknown parameter.
    """
    if settings.optimizer in UNSUITABLE:
        raise InputError(f"optimizer {settings.optimizer} can't be used here: {UNSUITABLE[settings.optimizer]}")
    kind = _find(torch.optim, torch.optim.Optimizer, "optimizer", settings.optimizer)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    params = dict(settings.optimizer_params)
    if "fused" in inspect.signature(kind).parameters and not {"foreach", "differentiable"} & params.keys():
        # one pass over the weights instead of a dozen: 0.1 s instead of 1 s a step for Cnn14 on two cores
        params.setdefault("fused", True)
    optimizer: torch.optim.Optimizer = _make(kind, "optimizer", params, trainable, lr=settings.learning_rate)
    return optimizer


def build_schedulers(
    settings: Settings, optimizer: torch.optim.Optimizer, epoch_steps: int
) -> dict[str, lr_scheduler.LRScheduler]:
    """Build `{"warmup": ..., "main": ...}`, each only if the settings ask for it.

    The warm-up steps with every batch, the main one as `settings.scheduler_step` says. Each multiplies the rate that
    it finds (torch's chainable schedulers), so the two work side by side. `epoch_steps`: batches in an epoch.
    Raise InputError for an unknown name or parameter, and for a scheduler that would undo the warm-up.
    """
    schedulers: dict[str, lr_scheduler.LRScheduler] = {}
    if settings.scheduler is not None:
        kind = _find(lr_scheduler, lr_scheduler.LRScheduler, "scheduler", settings.scheduler)
        if settings.warmup_steps and settings.scheduler in SET_OUTRIGHT:
            raise InputError(
                f"scheduler {settings.scheduler} sets the learning rate outright and would undo the warm-up: "
                f"set warmup_steps to 0 (it is {settings.warmup_steps})"
            )
        schedulers["main"] = _make(kind, "scheduler", _scheduler_params(settings, kind, epoch_steps), optimizer)
    if settings.warmup_steps:
        schedulers["warmup"] = lr_scheduler.LinearLR(
            optimizer, start_factor=1 / (settings.warmup_steps + 1), total_iters=settings.warmup_steps
        )
    return schedulers


def _scheduler_params(settings: Settings, kind: Any, epoch_steps: int) -> dict[str, Any]:
    """Return `settings.scheduler_params`, completed by what follows from the rest of the settings.

    ReduceLROnPlateau gets the direction of the main metric; OneCycleLR the length of the run, and the learning rate as
    its peak. Raise InputError for a OneCycleLR that would end before the run.
    """
    params = dict(settings.scheduler_params)
    if kind is lr_scheduler.ReduceLROnPlateau:
        params.setdefault("mode", "min" if settings.main_metric == "loss" else "max")
    if kind is lr_scheduler.OneCycleLR:
        needed = settings.epochs * (epoch_steps if settings.scheduler_step == "batch" else 1)
        if not {"epochs", "steps_per_epoch"} & params.keys() and params.setdefault("total_steps", needed) < needed:
            raise InputError(f"scheduler_params: total_steps {params['total_steps']} is less than the run's {needed}")
        params.setdefault("max_lr", settings.learning_rate)
    return params


def _find(module: Any, base: type, what: str, name: str) -> Any:
    """Return the subclass of `base` that `module` has under that name; raise InputError with near matches."""
    kinds = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base and not key.startswith("_")
    }
    if name not in kinds:
        raise InputError(f"{what} {name!r} is not in {module.__name__}{near_matches(name, kinds)}")
    return kinds[name]


def _make(kind: Any, what: str, params: dict[str, Any], *arguments: Any, **fixed: Any) -> Any:
    """Return `kind(*arguments, **fixed, **params)`; raise InputError for parameters that it does not take."""
    known = [name for name in inspect.signature(kind).parameters if name not in fixed]
    for name in params:
        if name not in known:
            raise InputError(f"{what}_params: {kind.__name__} has no {name!r}{near_matches(name, known)}")
    try:
        return kind(*arguments, **fixed, **params)
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(f"{what}_params for {kind.__name__}: {error}") from error
