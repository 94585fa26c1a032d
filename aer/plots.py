"""Pictures of runs and recordings. Figures are made without pyplot, so that no window system is needed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

CURVES = {
    "loss": {"train_loss": "training", "valid_loss": "validation"},
    "validation metrics": {"valid_f1": "macro F1", "valid_map": "mAP"},
    "learning rate": {"train_lr": "at the epoch's end"},
}


def plot_history(metrics_csv: Path, picture: Path) -> None:
    """The curves of a run's `metrics.csv`: losses, metrics and learning rate over the epochs."""
    history = pd.read_csv(metrics_csv)
    figure = Figure(figsize=(10, 3), layout="constrained")
    for axes, (title, columns) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for column, label in columns.items():
            axes.plot(history["epoch"], history[column], marker=".", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture, dpi=100)


def plot_spectrograms(waveforms: Mapping[str, NDArray[np.float32]], sample_rate: int, picture: Path) -> None:
    """A grid of spectrograms, four in a row, each under its name. Waveforms (samples,) at `sample_rate`."""
    n_columns = 4
    n_rows = -(-len(waveforms) // n_columns)
    figure = Figure(figsize=(2.6 * n_columns, 2.1 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (name, waveform) in zip(grid.flat, waveforms.items(), strict=False):
        axes.set_axis_on()
        _, _, _, image = axes.specgram(waveform + 1e-7, NFFT=512, Fs=sample_rate, noverlap=384, cmap="magma")
        top_db = float(image.get_array().max())
        image.set_clim(top_db - 60, top_db)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    figure.supxlabel("time (s)", fontsize=9)
    figure.supylabel("frequency (Hz)", fontsize=9)
    figure.savefig(picture, dpi=100)
