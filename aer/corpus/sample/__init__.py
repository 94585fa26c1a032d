"""The synthetic sample corpus: its folder and its seed; `make` makes it."""

from pathlib import Path

# the one corpus that is made when it is missing
SAMPLE_CORPUS = Path("datasets/sample")
SAMPLE_SEED = 444
