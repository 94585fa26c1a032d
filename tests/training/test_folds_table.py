"""`folds.csv`: what it says of each recording."""

from pathlib import Path

import pandas as pd
from helpers.corpora import in_memory
from helpers.settings import sample_settings

from aer.corpus.folds import split
from aer.training.folds_table import folds_csv


def test_fold_assignment_as_csv(tmp_path: Path) -> None:
    corpus = in_memory([("a",)] * 10 + [("b", "c")] * 10)
    parts = split(corpus, sample_settings())
    (tmp_path / "folds.csv").write_text(folds_csv(corpus, parts))
    table = pd.read_csv(tmp_path / "folds.csv")
    assert (table["side"] == "valid").sum() == len(parts.valid) == 4
    assert set(table["labels"]) == {"a", "b;c"}
