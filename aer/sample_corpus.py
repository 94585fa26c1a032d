"""The name by which config modules of earlier versions know `aer.corpus.sample`."""

from aer.corpus.sample import SAMPLE_CORPUS, SAMPLE_SEED

__all__ = ["SAMPLE_CORPUS", "SAMPLE_SEED"]
