"""Optimizers and schedulers by name, against the rates that their formulas give."""

import math

import pytest
import torch

import config
from aer.errors import InputError
from aer.settings import PannsSettings
from aer.training.optim import build_optimizer, build_schedulers


def settings(**changes: object) -> PannsSettings:
    base = config.PANNS["sample"].model_dump() | {"learning_rate": 1.0, "warmup_steps": 0}
    return PannsSettings.model_validate(base | changes)


def model() -> torch.nn.Module:
    frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    return torch.nn.Sequential(frozen, torch.nn.Linear(2, 1))


def test_only_trainable_parameters_are_optimized() -> None:
    optimizer = build_optimizer(settings(optimizer="AdamW", optimizer_params={"weight_decay": 0.3}), model())
    assert isinstance(optimizer, torch.optim.AdamW)
    group = optimizer.param_groups[0]
    assert (len(group["params"]), group["lr"], group["weight_decay"]) == (2, 1.0, 0.3)


@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop", "Adagrad", "RAdam", "Adamax", "NAdam"])
def test_any_optimizer_of_torch(name: str) -> None:
    assert type(build_optimizer(settings(optimizer=name), model())).__name__ == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "Adm"}, r"optimizer 'Adm' is not in torch.optim \(did you mean Adam"),
        ({"optimizer": "Optimizer"}, "is not in torch.optim"),
        ({"optimizer_params": {"weigth_decay": 1}}, "did you mean weight_decay"),
        ({"optimizer_params": {"weight_decay": -1}}, "optimizer_params for Adam: Invalid weight_decay value"),
        ({"optimizer_params": {"lr": 1}}, "has no 'lr'"),
        ({"optimizer": "LBFGS"}, "optimizer LBFGS can't be used here"),
        (
            {"scheduler": "OneCycleLR", "scheduler_params": {"total_steps": 7}, "epochs": 8},
            "total_steps 7 is less than the run's 8",
        ),
        ({"scheduler": "CosineAnealingLR"}, "did you mean CosineAnnealingLR"),
        ({"scheduler_params": {"T_maxx": 3}}, "CosineAnnealingLR has no 'T_maxx'"),
        ({"scheduler_params": {}}, "missing 1 required positional argument: 'T_max'"),
        ({"scheduler": "OneCycleLR", "scheduler_params": {}, "warmup_steps": 3}, "set warmup_steps to 0"),
    ],
)
def test_names_and_parameters_that_torch_does_not_have(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        wanted = settings(**changes)
        build_schedulers(wanted, build_optimizer(wanted, model()), 3)


def test_warm_up_by_steps_beside_a_cosine_by_epochs() -> None:
    wanted = settings(warmup_steps=4, scheduler="CosineAnnealingLR", scheduler_params={"T_max": 10})
    optimizer = build_optimizer(wanted, model())
    schedulers = build_schedulers(wanted, optimizer, 3)
    rates = []
    for _epoch in range(10):
        for _step in range(3):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedulers["warmup"].step()
        schedulers["main"].step()
    # by hand: the warm-up's (step + 1)/5 up to 1, times the cosine's value in that epoch
    expected = [min(1.0, (i + 1) / 5) * (1 + math.cos(math.pi * (i // 3) / 10)) / 2 for i in range(30)]
    assert rates == pytest.approx(expected, abs=1e-9)


def test_plateau_watches_in_the_metrics_direction() -> None:
    for metric, mode in (("f1", "max"), ("loss", "min")):
        wanted = settings(scheduler="ReduceLROnPlateau", scheduler_params={"patience": 1}, main_metric=metric)
        assert build_schedulers(wanted, build_optimizer(wanted, model()), 3)["main"].mode == mode


def test_without_scheduler_and_warm_up_there_is_none() -> None:
    wanted = settings(scheduler=None, scheduler_params={})
    assert build_schedulers(wanted, build_optimizer(wanted, model()), 3) == {}


def test_one_cycle_spans_the_run() -> None:
    wanted = settings(scheduler="OneCycleLR", scheduler_params={"pct_start": 0.5}, scheduler_step="batch", epochs=4)
    optimizer = build_optimizer(wanted, model())
    main = build_schedulers(wanted, optimizer, epoch_steps=5)["main"]
    rates = []
    for _step in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        main.step()
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] < 1e-4
