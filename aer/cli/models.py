"""`aer summary` and `aer crossval`. The modules that do the work are imported by the commands."""

from pathlib import Path
from typing import Annotated

import tyro

from aer.errors import InputError
from aer.models.kinds import Kind

# the config module of `aer crossval`, in the folder where it is called
CONFIG = Path("config.py")


def summary(bundle: Annotated[Path, tyro.conf.Positional]) -> None:
    """Says what is in a bundle (best.aer): model, front end, size, cost, metrics, thresholds.

    Args:
        bundle: the file that training has left in its run's folder
    """
    from aer.models.summary import summary as summary_of

    print(summary_of(bundle))


def crossval(
    model: Annotated[Kind, tyro.conf.Positional],
    options: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
) -> None:
    """Trains a model per fold, each heard on the fold that it has not been trained on; can be stopped and run again.

    It goes into the folder --run-dir, or beside the run_dir of config.py: runs/panns-folds.

    Args:
        model: the one of config.py to train
        options: those of train_panns.py or train_resnest.py; `aer crossval panns --help` lists them
    """
    from aer.cli.config import read_settings
    from aer.models.registry import MODELS
    from aer.settings import AnySettings

    own = {option.replace("_", "-").partition("=")[0] for option in options}
    if "--fold" in own:
        raise InputError("crossval trains all folds: leave --fold out")
    kind = MODELS[model]
    settings: AnySettings = read_settings(kind.settings, model, CONFIG, options)
    # that of the config module is a single run's
    if "--run-dir" not in own:
        settings = settings.model_copy(update={"run_dir": settings.run_dir.with_name(f"{settings.run_dir.name}-folds")})

    from aer.training.crossval import crossval as train_all_folds

    train_all_folds(settings, kind.build)
