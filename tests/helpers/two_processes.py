"""What test_survival.py starts under torchrun, and alone: training or measuring on the same clips.

    python two_processes.py quickly FOLDER BATCH_SIZE    the toy model without dropout, three epochs; and a ResNeSt
                                                         with its first weights is measured on FOLDER/../corpus
    python two_processes.py slowly FOLDER BATCH_SIZE     the toy model with dropout, 6 epochs, 0.3 s or more a step

BATCH_SIZE is per process.
"""

import json
import sys
import time
from pathlib import Path

import torch
from catalyst import dl
from torch.utils.data import DataLoader

import config
from aer.cli.errors import run_command
from aer.corpus.discovery import find_corpus
from aer.models.resnest import build_resnest
from aer.settings import ResnestSettings
from aer.training.datasets import ValidationWindows
from aer.training.engine import Engine, Runner
from aer.training.failures import explain_lost_process
from aer.training.loop import LoopOptions, metric_callbacks
from aer.training.losses import build_loss
from aer.training.nonfinite import NonfiniteReporter
from helpers.toy import ToyModel, WithinEpoch, toy_train


class Metrics(dl.Callback):
    """Writes the validation metrics as JSON."""

    def __init__(self, path: Path):
        super().__init__(order=dl.CallbackOrder.External)
        self.path = path

    def on_epoch_end(self, runner: dl.IRunner) -> None:
        if runner.engine.is_main_process:
            self.path.write_text(json.dumps(runner.epoch_metrics["valid"]))


class Slow(dl.Callback):
    """Gives a killer time."""

    def __init__(self) -> None:
        super().__init__(order=dl.CallbackOrder.External)

    def on_batch_end(self, runner: dl.IRunner) -> None:
        if runner.is_train_loader:
            time.sleep(0.3)


def evaluate(folder: Path, batch_size: int, engine: Engine) -> None:
    changes = {"clip_duration_s": 0.64, "image_height": 32}
    settings = ResnestSettings.model_validate(config.RESNEST["sample"].model_dump() | changes)
    corpus = find_corpus(folder.parent / "corpus", None, None)
    torch.manual_seed(1)
    model = build_resnest(settings, len(corpus.classes))
    criterion, output_key = build_loss(settings.loss_func)
    windows = ValidationWindows(corpus.recordings, corpus.classes, settings)
    reporter = NonfiniteReporter(folder, {"valid": [str(recording.path) for recording in windows.recordings]}, 1e-3)
    metrics = metric_callbacks(criterion, output_key, reporter, LoopOptions.of(settings))
    Runner().train(
        engine=engine,
        model=model,
        loaders={"valid": DataLoader(windows, batch_size)},
        callbacks=[*metrics, Metrics(folder / "resnest.json")],
        loggers={},
    )


def main() -> None:
    what, folder, batch_size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    engine = Engine(cpu=True)
    torch.set_num_threads(1)
    with explain_lost_process(engine):
        torch.manual_seed(1)
        if what == "quickly":
            toy_train(folder, 3, engine=engine, batch_size=batch_size, model=ToyModel(0), within=WithinEpoch(None))
            evaluate(folder, batch_size, engine)
        else:
            slow = {"engine": engine, "batch_size": batch_size, "within": WithinEpoch(2), "extra": [Slow()]}
            toy_train(folder, 6, **slow)


if __name__ == "__main__":
    sys.exit(run_command(main))
