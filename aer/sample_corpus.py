"""Where the sample corpus is, and the seed that it is made from; what makes it is `aer.sample`."""

from pathlib import Path

SAMPLE_CORPUS = Path("datasets/sample")  # the one corpus that is made when it is missing
SAMPLE_SEED = 444
