"""Train a ResNeSt on mel images, with the settings `resnest` of config.py. `--help` lists them."""

import sys
from pathlib import Path

from aer.cli.config import read_settings
from aer.cli.errors import run_command
from aer.models.registry import RESNEST

CONFIG = Path(__file__).with_name("config.py")


def main() -> None:
    """Read the options, then train; torch is imported in between, so that `--help` answers at once."""
    settings = read_settings(RESNEST.settings, "resnest", CONFIG)

    from aer.training.train import train

    train(settings, RESNEST.build)


if __name__ == "__main__":
    sys.exit(run_command(main))
