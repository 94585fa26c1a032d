"""CSVs from outside, and names from outside in CSVs."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from aer.corpus.discovery import Corpus, Recording
from aer.corpus.folds import Split, describe
from aer.errors import AerError, InputError
from aer.training.folds_table import folds_csv, left_out_csv
from aer.utils.csv_files import csv_path, csv_text, read_table, without_apostrophe, write_csv

FORMULA = '=HYPERLINK("http://evil.example","robin")'
FORMULAS = [
    FORMULA,
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,labels\na.wav,x,y\n", r"line 2: has 3 cells, and its header has 2"),
        ('path,labels\n"a.wav,x\n', r"line 2: can't be read: unexpected end of data"),
        ("path,labels\n\n", r"has no rows"),
    ],
)
def test_a_table_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t.csv")


def test_tables_are_read_as_pandas_reads_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffa,b,a,NA\r\n"x, ""y""\nz",NA,001,\r\n\r\n1.0, s ,-,#\r\n'.encode())
    expected = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert read_table(path) == expected.to_dict("list")
    assert list(read_table(path)) == ["a", "b", "a.1", "NA"]


@pytest.mark.parametrize("bad", FORMULAS)
def test_no_cell_is_a_formula(bad: str) -> None:
    assert csv_text(bad) == f"'{bad}"
    assert csv_text(csv_text(bad)) == csv_text(bad)
    path = csv_path(bad)
    assert path == f"./{bad}"
    assert Path(path) == Path(bad)  # still names the file


@pytest.mark.parametrize("good", ["robin", "a=b", "/data/=x.wav", "1", "", "'tis", "corpus/-1.wav"])
def test_other_cells_stay_as_they_are(good: str) -> None:
    assert csv_text(good) == csv_path(good) == good


def test_a_csv_of_awkward_names_can_be_read_back(tmp_path: Path) -> None:
    rows = [['a,"b".wav', "c\nd"], ["caf\udce9.wav", ""]]
    write_csv(tmp_path / "a.csv", ["path", "reason"], rows, "make room")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *rows]
    with pytest.raises(AerError, match="make room"):
        write_csv(tmp_path / "no/a.csv", [], [], "make room")


def test_names_in_the_files_of_a_run() -> None:
    recordings = (
        Recording(Path(FORMULA), (FORMULA, "wren"), 1.0, 8000),
        Recording(Path("-b.wav"), ("wren",), 1.0, 8000),
    )
    corpus = Corpus(recordings, (FORMULA, "wren"), ((Path("@c.wav"), "=damaged"),))
    parts = Split((0,), (1,), (0, 1), ())
    folds = pd.read_csv(io.StringIO(folds_csv(corpus, parts)))
    assert [Path(path) for path in folds["path"]] == [recording.path for recording in recordings]
    left_out = pd.read_csv(io.StringIO(left_out_csv(corpus)))
    for cell in [*folds["path"], *folds["labels"], *left_out["path"], *left_out["reason"]]:
        assert cell[0] not in "=+-@"
    assert "\x1b" not in describe(Corpus(recordings, (FORMULA, "\x1b[2J"), ()), parts)


@pytest.mark.parametrize("text", [*FORMULAS, "robin", "'s", "'", ""])
def test_the_apostrophe_before_a_formula_is_taken_away_again(text: str) -> None:
    assert without_apostrophe(csv_text(text)) == text
