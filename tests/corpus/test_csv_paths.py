"""Paths of a CSV: none leads out of its folder, none is listed twice."""

from pathlib import Path

import pytest

from aer.corpus.csv_paths import check_distinct, paths_below
from aer.errors import InputError


def test_links_in_a_csv_are_followed_before_they_are_judged(tmp_path: Path) -> None:
    inner, outer = tmp_path / "corpus/a", tmp_path / "elsewhere"
    for folder in (inner, outer):
        folder.mkdir(parents=True)
        (folder / "x.wav").touch()
    (inner / "inside.wav").symlink_to(inner / "x.wav")
    (inner / "outside.wav").symlink_to(outer / "x.wav")
    (tmp_path / "corpus/folder").symlink_to(outer)
    assert paths_below(tmp_path / "corpus", ["a/inside.wav", "a/../a/x.wav"], Path("t.csv"))
    for name in ("a/outside.wav", "folder/x.wav", "a/../../elsewhere/x.wav", "a/..", "."):
        with pytest.raises(InputError, match="not below"):
            paths_below(tmp_path / "corpus/a" if name == "a/.." else tmp_path / "corpus", [name], Path("t.csv"))
    with pytest.raises(InputError, match="other rows list too"):
        check_distinct([inner / "x.wav", inner / "inside.wav"], Path("t.csv"))
