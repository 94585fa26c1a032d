"""Names from outside on a console and in a CSV."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from aer.corpus.discovery import Corpus, Recording
from aer.corpus.folds import Split, describe
from aer.errors import AerError
from aer.training.folds_table import folds_csv, left_out_csv
from aer.utils.csv_files import csv_path, csv_text, write_csv
from aer.utils.text import counted, printable, some

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
    "bad", ["\x1b[2J", "\u202egnp.wav", "\u2066x", "a\u200bb", "a\nb", "a\rb", "\x9b1m", "\ufeffx", "\udce9"]
)
def test_nothing_that_drives_a_terminal_or_hides_is_printed(bad: str) -> None:
    shown = printable(bad)
    assert shown.isprintable()
    assert "\\" in shown
    assert printable("Þröstur_鶫 1.wav") == "Þröstur_鶫 1.wav"


def test_some_names() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(["a", "\x1b", "c", "d", "e"]) == "a, \\x1b, c and 2 more"


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


def test_a_csv_of_awkward_names_can_be_read_back(tmp_path: Path) -> None:
    rows = [['a,"b".wav', "c\nd"], ["caf\udce9.wav", ""]]
    write_csv(tmp_path / "a.csv", ["path", "reason"], rows, "make room")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *rows]
    with pytest.raises(AerError, match="make room"):
        write_csv(tmp_path / "no/a.csv", [], [], "make room")


def test_counted() -> None:
    assert [counted(n, "clip") for n in (0, 1, 2, 1234)] == ["0 clips", "1 clip", "2 clips", "1,234 clips"]
