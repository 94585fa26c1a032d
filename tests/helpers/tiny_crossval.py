"""All folds with the tiny model, as `aer crossval` trains them: the options are those of tiny.py."""

import sys

from aer.cli.config import read_settings
from aer.cli.errors import run_command
from aer.settings import PannsSettings
from helpers.tiny import CONFIG, tiny_model  # which makes `aer` known


def main() -> None:
    settings = read_settings(PannsSettings, "panns", CONFIG)

    from aer.training.crossval import crossval

    crossval(settings, tiny_model)


if __name__ == "__main__":
    sys.exit(run_command(main))
