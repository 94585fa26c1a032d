"""All folds with the tiny model, as `aer crossval` trains them: the options are those of tiny.py."""

import sys

from tiny import CONFIG, tiny_model  # which makes `aer` known

from aer.cli import run_command
from aer.config_module import read_settings
from aer.settings import PannsSettings


def main() -> None:
    settings = read_settings(PannsSettings, "panns", CONFIG)

    from aer.crossval import crossval

    crossval(settings, tiny_model)


if __name__ == "__main__":
    sys.exit(run_command(main))
