"""A small real model and real loaders for tests of the training loop: seconds, not minutes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from catalyst import dl
from torch.utils.data import DataLoader, Dataset

from aer.training.callbacks.checkpoint import CheckpointCallback
from aer.training.callbacks.loggers import TensorboardHistory
from aer.training.callbacks.metrics import F1Callback, MAPCallback, ValidationLossCallback
from aer.training.callbacks.steps import BackwardCallback, EpochSeedCallback, LossCallback, OptimizerCallback
from aer.training.callbacks.unreadable import UnreadableCallback
from aer.training.datasets import EpochSampler
from aer.training.engine import Engine, Runner
from aer.training.losses import build_loss
from aer.training.nonfinite import Blame

N_CLASSES = 3
SAMPLES = 16


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
    """What a run needs to go on within an epoch: how often its state is written, and clips in an order of its own."""

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
    metric: str = "loss",
    extra: Sequence[dl.Callback] = (),
    model: torch.nn.Module | None = None,
    within: WithinEpoch | None = None,
    engine: Engine | None = None,
    batch_size: int = 8,
    scheduler_step: str = "epoch",
    max_unreadable_share: float = 1.0,
) -> tuple[CheckpointCallback, torch.nn.Module]:
    """A run of the real loop in `run_dir`, which goes on where there is one."""
    torch.manual_seed(1)
    model = model or ToyModel()
    criterion, output_key = build_loss("BCEWithLogits")
    made = getattr(torch.optim, optimizer)(model.parameters(), lr=learning_rate)
    schedulers = {}
    if scheduler_params is not None:
        schedulers["main"] = torch.optim.lr_scheduler.CosineAnnealingLR(made, **scheduler_params)
    (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    about = {"model_kind": "toy", "classes": ["a", "b", "c"], "settings": "{}"}
    part = within or WithinEpoch(None)
    names = {"train": [f"t{i}" for i in range(26)], "valid": [f"v{i}" for i in range(13)]}
    loss, unreadable = LossCallback(criterion, output_key), UnreadableCallback(names, run_dir, max_unreadable_share)
    blame = Blame(run_dir, names, learning_rate)
    optimizer_steps = OptimizerCallback(blame)
    checkpoints = CheckpointCallback(
        run_dir,
        about,
        metric,
        2,
        part.every_steps,
        part.sampler,
        {"loss": loss, "unreadable": unreadable, "optimizer": optimizer_steps},
    )
    sampler = part.sampler if within else None
    engine = engine or Engine(cpu=True)
    Runner().train(
        engine=engine,
        model=model,
        criterion=criterion,
        optimizer=made,
        scheduler=schedulers or None,
        loaders={
            "train": DataLoader(
                part.train_set,
                batch_size,
                drop_last=True,
                sampler=sampler,
                num_workers=part.workers,
                persistent_workers=part.workers > 0,
                generator=torch.Generator(),
            ),
            "valid": DataLoader(valid or ToyWindows(13, seed=5, windows_per_clip=3), batch_size),
        },
        num_epochs=epochs,
        seed=3,
        callbacks=[
            EpochSeedCallback(3, [part.sampler]),
            loss,
            ValidationLossCallback(criterion, output_key, blame),
            F1Callback(),
            MAPCallback(),
            unreadable,
            BackwardCallback(clip_gradient_norm, blame),
            optimizer_steps,
            *([dl.SchedulerCallback(scheduler_key="main", mode=scheduler_step)] if schedulers else []),
            *extra,
            checkpoints,
        ],
        loggers={"console": dl.ConsoleLogger(), "tensorboard": TensorboardHistory(checkpoints)}
        if engine.is_main_process
        else {},
    )
    return checkpoints, model
