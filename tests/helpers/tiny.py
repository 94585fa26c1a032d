"""A training script like train_panns.py whose model learns in milliseconds, for tests of how a run ends.

TINY_SLEEP_S: seconds that a batch takes. TINY_HUNGRY: the model asks for this many bytes per clip.
"""

import os
import sys
import time
from typing import Any

from aer.cli.config import read_settings
from aer.cli.errors import run_command
from aer.settings import PannsSettings
from helpers.paths import ROOT

CONFIG = ROOT / "config.py"


def tiny_model(settings: PannsSettings, n_classes: int) -> Any:
    """Waveforms (B, S) -> what the training loop expects, from the loudness of 16 parts of the clip.

    TINY_FRAMES: with those parts as frames, as PANNs has them.
    """
    import torch

    class TinyModel(torch.nn.Module):
        head_prefixes = ("head.",)

        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(16, n_classes)

        def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
            time.sleep(float(os.environ.get("TINY_SLEEP_S", 0)))
            torch.empty(len(waveform), int(os.environ.get("TINY_HUNGRY", 0)), dtype=torch.uint8)
            parts = waveform.reshape(len(waveform), 16, -1)
            loudness = parts.abs().mean(dim=2)
            logits = self.head(loudness)
            output = {"logits": logits, "clipwise_output": logits.sigmoid()}
            if "TINY_FRAMES" in os.environ:
                output["framewise_output"] = output["clipwise_output"][:, None] * loudness[:, :, None]
            return output

    return TinyModel()


def main() -> None:
    settings = read_settings(PannsSettings, "panns", CONFIG)

    from aer.training.train import train

    train(settings, tiny_model)


if __name__ == "__main__":
    sys.exit(run_command(main))
