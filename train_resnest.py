"""Trains a ResNeSt on mel images, with the settings `resnest` of config.py. `--help` lists them."""

import sys
from pathlib import Path

from aer.cli.config import read_settings
from aer.cli.errors import run_command
from aer.settings import ResnestSettings

CONFIG = Path(__file__).with_name("config.py")


def main() -> None:
    settings = read_settings(ResnestSettings, "resnest", CONFIG)

    from aer.models.resnest import build_resnest
    from aer.training.train import train

    train(settings, build_resnest)


if __name__ == "__main__":
    sys.exit(run_command(main))
