"""A small real model and real loaders for tests of the training loop: seconds, not minutes."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from catalyst import dl
from torch.utils.data import Dataset

from aer.settings import MetricName
from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.training.datasets import EpochSampler
from aer.training.engine import Engine, Runner
from aer.training.loaders import build_loader
from aer.training.loop import Learner, LoopData, LoopOptions, run_loop
from aer.training.losses import build_loss

N_CLASSES = 3
SAMPLES = 16
# of the recordings, and what checkpoints say of the model
NAMES = {"train": [f"t{i}" for i in range(26)], "valid": [f"v{i}" for i in range(13)]}
METADATA = {"model_kind": "toy", "classes": ["a", "b", "c"], "settings": "{}"}


class ToyModel(torch.nn.Module):
    """Waveforms (B, 16) -> the outputs that the training loop expects; dropout, so that it draws random numbers."""

    head_prefixes = ("head.",)

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.body = torch.nn.Linear(SAMPLES, 8)
        self.dropout = torch.nn.Dropout(dropout)
        self.head = torch.nn.Linear(8, N_CLASSES)

    def forward(
        self,
        waveform: torch.Tensor,
        mixup_weight: torch.Tensor | None = None,
        mixup_partner: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        if mixup_weight is not None:
            waveform = mixup_weight[:, None] * waveform + (1 - mixup_weight[:, None]) * waveform[mixup_partner]
        logits = self.head(self.dropout(torch.relu(self.body(waveform))))
        return {"logits": logits, "clipwise_output": logits.sigmoid()}


class ToyWindows(Dataset[dict[str, torch.Tensor]]):
    """Noise with a class-dependent slope; `windows_per_clip` windows of each clip, some marked unreadable."""

    def __init__(self, n_clips: int, seed: int, windows_per_clip: int = 1, unreadable: Sequence[int] = ()):
        random = np.random.default_rng(seed)
        self.clips = np.repeat(np.arange(n_clips), windows_per_clip)
        targets = random.integers(0, 2, (n_clips, N_CLASSES)).astype(np.float32)
        targets[0] = 1
        self.targets = targets[self.clips]
        slopes = random.normal(size=(N_CLASSES, SAMPLES))
        noise = random.normal(size=(len(self.clips), SAMPLES))
        self.waveforms = (self.targets @ slopes + noise).astype(np.float32)
        self.unreadable = np.where(np.isin(self.clips, unreadable), self.clips, -1)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {
            "waveform": torch.from_numpy(self.waveforms[index]),
            "targets": torch.from_numpy(self.targets[index]),
            "clip": torch.tensor(self.clips[index]),
            "unreadable": torch.tensor(self.unreadable[index]),
            "reason": "a reason" if self.unreadable[index] >= 0 else "",
        }


class WithinEpoch:
    """What a run needs to be resumed within an epoch: how often its state is written, and clips in their own order."""

    def __init__(self, every_steps: int | None, workers: int = 0, unreadable: Sequence[int] = ()):
        self.every_steps = every_steps
        self.workers = workers
        self.train_set = ToyWindows(26, seed=5, unreadable=unreadable)
        self.sampler = EpochSampler(26, seed=3)


def toy_train(
    run_dir: Path,
    epochs: int,
    valid: Dataset[Any] | None = None,
    optimizer: str = "Adam",
    learning_rate: float = 0.05,
    scheduler_params: Mapping[str, Any] | None = None,
    clip_gradient_norm: float | None = None,
    metric: MetricName = "loss",
    extra: Sequence[dl.Callback] = (),
    model: torch.nn.Module | None = None,
    within: WithinEpoch | None = None,
    engine: Engine | None = None,
    batch_size: int = 8,
    scheduler_step: Literal["epoch", "batch"] = "epoch",
    max_unreadable_share: float = 1.0,
) -> tuple[CheckpointCallback, torch.nn.Module]:
    """Train with the real loop in `run_dir`, or resume the run there; return its checkpoints and the model."""
    torch.manual_seed(1)
    model = model or ToyModel()
    criterion, output_key = build_loss("BCEWithLogits")
    made = getattr(torch.optim, optimizer)(model.parameters(), lr=learning_rate)
    schedulers = {}
    if scheduler_params is not None:
        schedulers["main"] = torch.optim.lr_scheduler.CosineAnnealingLR(made, **scheduler_params)
    (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    part = within or WithinEpoch(None)
    data = LoopData(
        train=build_loader(
            part.train_set, batch_size, part.workers, sampler=part.sampler if within else None, drop_last=True
        ),
        valid=build_loader(valid or ToyWindows(13, seed=5, windows_per_clip=3), batch_size, workers=0),
        sampler=part.sampler,
        epoch_sources=[part.sampler],
        names=NAMES,
    )
    options = LoopOptions(
        epochs=epochs,
        seed=3,
        learning_rate=learning_rate,
        main_metric=metric,
        keep_best=2,
        checkpoint_every_steps=part.every_steps,
        max_unreadable_share=max_unreadable_share,
        clip_gradient_norm=clip_gradient_norm,
        scheduler_step=scheduler_step,
    )
    learner = Learner(model, criterion, output_key, made, schedulers)
    engine = engine or Engine(cpu=True)
    return run_loop(Runner(), engine, learner, data, options, run_dir, METADATA, extra), model


def metrics_rows(run_dir: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv."""
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))
