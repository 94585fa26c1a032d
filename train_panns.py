"""Trains a PANNs Cnn14 with an attention head, with the settings `panns` of config.py. `--help` lists them."""

import sys
from pathlib import Path

from aer.cli.config import read_settings
from aer.cli.errors import run_command
from aer.settings import PannsSettings

CONFIG = Path(__file__).with_name("config.py")


def main() -> None:
    settings = read_settings(PannsSettings, "panns", CONFIG)

    from aer.models.panns import build_panns
    from aer.training.train import train

    train(settings, build_panns)


if __name__ == "__main__":
    sys.exit(run_command(main))
