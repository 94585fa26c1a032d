"""The picture of a run's history. Figures are made without pyplot, so that no window system is needed."""

from pathlib import Path
from typing import IO

import pandas as pd
from matplotlib.figure import Figure

# title of each plot -> columns of metrics.csv with their labels
CURVES = {
    "loss": {"train_loss": "training", "valid_loss": "validation"},
    "validation metrics": {"valid_f1": "macro F1", "valid_map": "mAP"},
    "learning rate": {"train_lr": "at the epoch's end"},
}


def plot_history(metrics_csv: Path, picture: IO[bytes]) -> None:
    """Draw the curves of a run's `metrics.csv` as PNG: losses, metrics and learning rate over the epochs."""
    history = pd.read_csv(metrics_csv)
    figure = Figure(figsize=(10, 3), layout="constrained")
    for axes, (title, columns) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for column, label in columns.items():
            axes.plot(history["epoch"], history[column], marker=".", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture, dpi=100, format="png")
