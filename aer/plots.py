"""Pictures of runs and recordings. Figures are made without pyplot, so that no window system is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aer.text import printable

MOST_NAMED = 50  # classes that have room for their names beside the bars

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


def plot_corpus(durations_s: Mapping[str, Sequence[float]], picture: Path) -> None:
    """Clips and minutes per class, from the durations of each class's clips, and how long the clips are."""
    names = sorted(durations_s, key=lambda name: (len(durations_s[name]), name))
    few = len(names) <= MOST_NAMED
    figure = Figure(figsize=(11, min(12, max(3.5, 0.24 * len(names))) if few else 5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    places = np.arange(len(names))
    minutes = [sum(durations_s[name]) / 60 for name in names]
    for axes, title, values in (
        (left, "clips", [len(durations_s[name]) for name in names]),
        (middle, "minutes", minutes),
    ):
        axes.barh(places, values, color="tab:blue")
        axes.set(title=f"{title} per class", xlabel=title, ylim=(-0.7, len(names) - 0.3))
        axes.set_yticks(places if few else [])
        if few:
            axes.set_yticklabels([_label(name) for name in names], fontsize=8)
        else:
            axes.set_ylabel(f"{len(names)} classes, by their number of clips")
        axes.grid(alpha=0.3, axis="x")
    middle.set_yticks([])
    right.hist([duration for listed in durations_s.values() for duration in listed], bins=40, color="tab:blue")
    right.set(title="how long the clips are", xlabel="seconds", ylabel="clips")
    right.grid(alpha=0.3)
    figure.savefig(picture, dpi=100)


def _label(name: str) -> str:
    # a dollar sign would begin a formula
    shown = printable(name)
    return (shown if len(shown) <= 24 else shown[:23] + "…").replace("$", r"\$")
