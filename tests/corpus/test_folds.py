"""Holding recordings out, against scikit-learn and by hand."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.corpora import in_memory
from helpers.settings import sample_settings
from sklearn.model_selection import StratifiedKFold

from aer.corpus.discovery import Corpus
from aer.corpus.folds import assign_folds, describe, split
from aer.errors import InputError


def test_folds_are_scikit_learns() -> None:
    labels = [("a",)] * 20 + [("b",)] * 13
    folds = assign_folds(in_memory(labels), 4, seed=42, grouped=False)
    flat = [names[0] for names in labels]
    for number, (_, held_out) in enumerate(StratifiedKFold(4, shuffle=True, random_state=42).split(flat, flat)):
        assert np.flatnonzero(folds == number).tolist() == held_out.tolist()


def test_several_labels_are_stratified_by_the_rarest() -> None:
    labels = [("common",)] * 30 + [("common", "rare")] * 5 + [()] * 5
    folds = assign_folds(in_memory(labels), 5, seed=1, grouped=False)
    assert sorted(folds[30:35]) == [0, 1, 2, 3, 4]
    assert sorted(folds[35:]) == [0, 1, 2, 3, 4]


def test_groups_stay_together() -> None:
    groups = [f"g{i % 7}" for i in range(60)]
    corpus = in_memory([("a",) if i % 2 else ("b",) for i in range(60)], groups)
    folds = assign_folds(corpus, 3, seed=0, grouped=True)
    for group in set(groups):
        assert len({fold for fold, own in zip(folds, groups, strict=True) if own == group}) == 1
    parts = split(corpus, sample_settings(group_by="author", validation_groups=("g3", "g5")))
    assert {corpus.recordings[i].group for i in parts.valid} == {"g3", "g5"}
    assert not {corpus.recordings[i].group for i in parts.train} & {"g3", "g5"}
    with pytest.raises(InputError, match=r"there is no 'g33' \(did you mean g3"):
        split(corpus, sample_settings(group_by="author", validation_groups=("g33",)))
    with pytest.raises(InputError, match="n_folds 8 is more than the 7 groups"):
        assign_folds(corpus, 8, seed=0, grouped=True)


def test_a_class_smaller_than_the_folds_is_reported() -> None:
    corpus = in_memory([("a",)] * 20 + [("b",)] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = split(corpus, sample_settings(n_folds=5, fold=4))
    text = describe(corpus, parts)
    assert "fewer recordings than folds (5), so absent from some: b" in text
    assert "22 recordings" in text
    assert "2 at least (b)" in text
    with pytest.raises(InputError, match="n_folds 21 is more than the 20 recordings of the largest class"):
        split(corpus, sample_settings(n_folds=21))


def test_what_is_left_out_is_listed_by_reason() -> None:
    corpus = in_memory([("a",)] * 10 + [("b",)] * 10)
    corpus = Corpus(corpus.recordings, corpus.classes, tuple((Path(f"{i}.wav"), "damaged") for i in range(5)))
    assert "left out 5, damaged: 0.wav, 1.wav, 2.wav, ..." in describe(corpus, split(corpus, sample_settings()))
