"""Makes the README's pictures from what `make train` leaves: `python docs/pictures.py`, at the top of the project."""

from pathlib import Path

from aer.audio.io import read_crop
from aer.corpus.discovery import find_corpus
from aer.corpus.plots import plot_spectrograms
from aer.corpus.sample import SAMPLE_CORPUS
from aer.training.plots import plot_history

SAMPLE_RATE = 16_000
DURATION_S = 2.0
FOLDER = Path(__file__).parent


def main() -> None:
    first = {}
    for recording in find_corpus(SAMPLE_CORPUS).recordings:
        first.setdefault(recording.labels[0], recording.path)
    crops = {name: read_crop(path, 0.0, DURATION_S, SAMPLE_RATE) for name, path in first.items()}
    plot_spectrograms(crops, SAMPLE_RATE, FOLDER / "species.png")
    with (FOLDER / "learning.png").open("wb") as picture:
        plot_history(Path("runs/panns/metrics.csv"), picture)


if __name__ == "__main__":
    main()
