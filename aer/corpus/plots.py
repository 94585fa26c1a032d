"""Pictures of recordings and corpora. Figures are made without pyplot, so that no window system is needed."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aer.utils.text import printable

# how many names of classes a picture has room for, and for how much of each
NAMED_CLASSES = 40
NAME_LETTERS = 28


def plot_spectrograms(waveforms: Mapping[str, NDArray[np.float32]], sample_rate: int, picture: Path) -> None:
    """Draw a grid of spectrograms of (samples,) at `sample_rate`, four in a row, each under its name, as a PNG."""
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


def plot_corpus(
    durations_s: Mapping[str, Sequence[float]], all_durations_s: Sequence[float], picture: IO[bytes]
) -> None:
    """Draw a PNG of clips and minutes per class, most clips first, and of the distribution of all durations.

    Of more than NAMED_CLASSES classes every second (third, ...) is named, so that the names can be read.
    """
    ranked = sorted(durations_s, key=lambda name: (-len(durations_s[name]), name))
    step = -(-len(ranked) // NAMED_CLASSES)
    bars = {
        "clips per class": [len(durations_s[name]) for name in ranked],
        "minutes per class": [sum(durations_s[name]) / 60 for name in ranked],
    }
    figure = Figure(figsize=(14, min(9.0, 3 + 0.18 * len(ranked))), layout="constrained")
    grid = figure.subplots(1, 3, width_ratios=[1, 1, 1])
    for axes, (title, values) in zip(grid, bars.items(), strict=False):
        # without gaps where the bars are thin, or they would flicker
        axes.barh(range(len(ranked)), values, height=0.7 if step == 1 else 1.0)
        axes.set(title=title, ylim=(len(ranked) - 0.5, -0.5))
        axes.grid(axis="x", alpha=0.3)
        axes.set_yticks([])
    shown = range(0, len(ranked), step)
    names = [name if len(name) <= NAME_LETTERS else f"{name[: NAME_LETTERS - 1]}…" for name in map(printable, ranked)]
    grid[0].set_yticks(shown, names[::step], fontsize=8, parse_math=False)
    if step > 1:
        grid[0].set_ylabel(f"{len(ranked)} classes, one in {step} named")
    _plot_durations(grid[2], all_durations_s)
    with warnings.catch_warnings():
        # names in scripts that the font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(picture, dpi=100, format="png")


def _plot_durations(axes: Axes, durations_s: Sequence[float]) -> None:
    """Draw a histogram; on a logarithmic axis where the longest is more than 20 times the shortest."""
    shortest, longest = min(durations_s), max(durations_s)
    if longest > 20 * shortest:
        axes.hist(durations_s, bins=np.geomspace(shortest, longest, 41).tolist())
        axes.set_xscale("log")
    else:
        axes.hist(durations_s, bins=40)
    axes.set(title="durations", xlabel="seconds", ylabel="clips")
    axes.grid(alpha=0.3)
