"""Answers to test.csv, by the rules of the Cornell Birdcall Identification."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aer.corpus.sample.make import make_sample_corpus
from aer.errors import InputError
from aer.inference.results import Event, FileResult
from aer.outputs.write import check, write

TEST = """site,row_id,seconds,audio_id
site_3,site_3_c,,c
site_1,site_1_a_10,10,a
site_1,site_1_a_5,5.0,a
site_2,site_2_b_5,5,b
site_3,site_3_d,NaN,d
site_1,site_1_a_15,15,a
"""


def result(name: str, events: list[tuple[float, float, str]], status: str = "ok") -> FileResult:
    heard = tuple(Event(start_s, end_s, label, 0.9) for start_s, end_s, label in events)
    nothing = np.zeros(0), np.zeros((0, 3), np.float32)
    return FileResult(name, name, status, "", 15.0, heard, ("ant", "bee", "cat"), 5.0, *nothing)  # type: ignore[arg-type]


def answers(folder: Path, results: list[FileResult], test: str = TEST) -> tuple[list[tuple[str, str]], list[str]]:
    said: list[str] = []
    (folder / "test.csv").write_text(test)
    write(["kaggle"], results, folder, folder / "test.csv", say=said.append)
    lines = (folder / "submission.csv").read_text().splitlines()
    assert lines[0] == "row_id,birds"
    return [(line.split(",")[0], line.split(",")[1]) for line in lines[1:]], said


def test_rows(tmp_path: Path) -> None:
    a = result("x/a.wav", [(4.0, 5.1, "cat"), (1.0, 2.0, "cat"), (4.95, 5.05, "bee"), (9.0, 10.2, "ant")])
    c = result("c.mp3", [(0.1, 0.2, "cat"), (14.0, 15.0, "bee"), (3.0, 4.0, "cat"), (5.0, 6.0, "nocall")])
    rows, said = answers(tmp_path, [a, result("b.wav", []), c, result("other.wav", []), result("d.ogg", [], "failed")])
    assert rows == [
        ("site_3_c", "bee cat"),
        ("site_1_a_10", "ant bee"),  # 0.1 s of the cat's echo is not enough; half of the bee's 0.1 s is
        ("site_1_a_5", "bee cat"),
        ("site_2_b_5", "nocall"),
        ("site_3_d", "nocall"),
        ("site_1_a_15", "ant"),  # 0.2 s
    ]
    assert said == ["test.csv: 1 recording not read to the end, nocall from there on: d.ogg (failed)"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    rows, said = answers(tmp_path, [result("a.wav", [(1, 2, "ant")])])
    assert len(rows) == 6
    assert dict(rows)["site_1_a_5"] == "ant"
    assert said == ["test.csv: 3 recordings not there, answered with nocall: c, b, d"]
    with pytest.raises(InputError, match=r"none of the recordings of test\.csv is there; the first: c, a, b"):
        answers(tmp_path, [result("z.wav", [])])
    with pytest.raises(InputError, match=r"two recordings have the audio_id a: x/a\.wav and y/a\.mp3"):
        answers(tmp_path, [result("x/a.wav", []), result("y/a.mp3", [])])


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("site,row_id,seconds\n", "has no column audio_id"),
        ("site,row_id,seconds,audio_id\n", "has no rows"),
        (TEST + "site_1,site_1_a_5,5,a\n", "more than one row with the row_id site_1_a_5"),
        (TEST + "site_1,r,soon,a\n", "row 7 has the seconds 'soon'"),
        (TEST + "site_1,r,-5,a\n", "row 7 has the seconds '-5'"),
    ],
)
def test_a_wrong_test_csv(tmp_path: Path, test: str, message: str) -> None:
    (tmp_path / "test.csv").write_text(test)
    with pytest.raises(InputError, match=message):
        check(["kaggle"], tmp_path / "test.csv")
    with pytest.raises(InputError, match="can't be read"):
        check(["kaggle"], tmp_path / "none.csv")


def test_a_class_with_a_space(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(TEST)
    with pytest.raises(InputError, match="this one has some: great tit"):
        check(["kaggle"], tmp_path / "test.csv", classes=["ant", "great tit"])


def test_the_sample_corpus_gets_its_truth_back(tmp_path: Path) -> None:
    test_data = make_sample_corpus(tmp_path / "sample", n_per_species=1).root / "test_data"
    questions, truth = pd.read_csv(test_data / "test.csv"), pd.read_csv(test_data / "events.csv")
    results = [
        result(f"test_audio/{audio_id}.wav", [(row.start_s, row.end_s, row.ebird_code) for row in rows.itertuples()])
        for audio_id, rows in truth.groupby("audio_id")
    ]
    results = [FileResult(**{**vars(entry), "duration_s": 180.0}) for entry in results]
    write(["kaggle"], results, tmp_path, test_data / "test.csv")
    submission = pd.read_csv(tmp_path / "submission.csv", keep_default_na=False)
    assert list(submission["row_id"]) == list(questions["row_id"])
    for question, birds in zip(questions.itertuples(), submission["birds"], strict=True):
        here = truth[truth["audio_id"] == question.audio_id]
        overlap = here["end_s"].clip(upper=question.seconds) - here["start_s"].clip(lower=question.seconds - 5)
        expected = sorted(set(here["ebird_code"][overlap >= 0.2 - 1e-9]))
        assert birds == (" ".join(expected) or "nocall")
