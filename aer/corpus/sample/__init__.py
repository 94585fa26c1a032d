"""The synthetic sample corpus: where it is, and the seed that it is made from; what makes it is in `make`."""

from pathlib import Path

SAMPLE_CORPUS = Path("datasets/sample")  # the one corpus that is made when it is missing
SAMPLE_SEED = 444
