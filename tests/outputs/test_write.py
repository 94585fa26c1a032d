"""What recognition writes, read back by programs that did not write it: crowsetta, pandas, pyarrow, json, soundfile."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import soundfile
from crowsetta.formats.bbox import Raven
from crowsetta.formats.seq import AudSeq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aer.errors import AerError, InputError
from aer.inference.results import Event, FileResult
from aer.outputs import parquet
from aer.outputs.formats import FORMATS
from aer.outputs.stale import TABLE_SUFFIXES
from aer.outputs.write import WRITERS, check, write, write_embeddings

EVENTS = (Event(0.5, 1.25, "robin", 0.9, 0.8), Event(1.0, 1.96, "great tit", 0.625), Event(3.0, 4.5, "robin", 0.75))
# a kaggle answer needs a test.csv
ALL_BUT_KAGGLE = tuple(name for name in FORMATS if name != "kaggle")
NOT_UTF8 = "caf\udce9.wav"  # as os.fsdecode gives the byte 0xe9


def result(
    name: str = "a/x.wav", events: Sequence[Event] = EVENTS, path: str = "x.wav", **changes: object
) -> FileResult:
    classes, starts_s = ("great tit", "robin"), np.arange(3) * 2.0
    scores = np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2)
    made = FileResult(name, path, "ok", "", 6.0, tuple(events), classes, 2.0, starts_s, scores)
    return replace(made, **changes)  # type: ignore[arg-type]


def failed(name: str) -> FileResult:
    nothing = {"events": (), "starts_s": np.zeros(0), "scores": np.zeros((0, 2), np.float32)}
    return result(name, status="failed", reason="=not audio", duration_s=0.0, **nothing)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def names_that_are_not_utf8() -> Iterator[None]:
    """Arrow's strings, which pandas takes where pyarrow is there, can't hold them."""
    with pd.option_context("mode.string_storage", "python"):
        yield


def test_csv(tmp_path: Path) -> None:
    results = [result("=a.wav"), failed("broken.wav"), result("silent.wav", ()), result(NOT_UTF8)]
    assert write(["csv"], results, tmp_path) == [tmp_path / "files.csv", tmp_path / "events.csv"]
    events = pd.read_csv(tmp_path / "events.csv", encoding_errors="surrogateescape")
    assert list(events.columns) == ["file", "start_s", "end_s", "label", "score", "probability"]
    assert list(events["file"]) == ["./=a.wav"] * 3 + [NOT_UTF8] * 3
    read = [Event(*row[:4], None if np.isnan(row[4]) else row[4]) for row in events.iloc[:3, 1:].to_numpy()]
    assert tuple(read) == EVENTS
    files = pd.read_csv(tmp_path / "files.csv", encoding_errors="surrogateescape", keep_default_na=False)
    assert list(files.columns) == ["file", "status", "reason", "duration_s", "windows", "events"]
    assert list(files["status"]) == ["ok", "failed", "ok", "ok"]
    assert list(files["reason"]) == ["", "'=not audio", "", ""]
    assert list(files["windows"]) == [3, 0, 3, 3]
    assert list(files["events"]) == [3, 0, 0, 3]


def test_raven_and_audacity_by_crowsetta(tmp_path: Path) -> None:
    sound = tmp_path / "x.wav"
    soundfile.write(sound, np.zeros(48000, np.float32), 8000)
    results = [
        result("a/x.wav", path=str(sound)),
        result("b/x.wav", EVENTS[:1]),
        result("b/x.mp3", ()),
        failed("c.wav"),
    ]
    written = write(["raven", "audacity"], results, tmp_path / "out", band_hz=(50, 14000))
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in written[1:])
    assert names == [
        *("audacity/a/x.txt", "audacity/b/x_mp3.txt", "audacity/b/x_wav.txt"),
        *(f"raven/{stem}.Table.1.selections.txt" for stem in ("a/x", "b/x_mp3", "b/x_wav")),
    ]
    table = Raven.from_file(tmp_path / "out" / "raven" / "a" / "x.Table.1.selections.txt")
    boxes = [(box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in table.to_bbox()]
    assert boxes == [(event.start_s, event.end_s, 50, 4000, event.label) for event in EVENTS]  # half of 8000 Hz
    assert list(table.df["Begin Path"]) == [str(sound)] * 3
    assert list(table.df["File Offset (s)"]) == list(table.df["begin_time_s"])
    assert list(table.df["Selection"]) == [1, 2, 3]
    assert (tmp_path / "out" / "raven" / "b" / "x_mp3.Table.1.selections.txt").read_text().count("\n") == 1
    track = AudSeq.from_file(tmp_path / "out" / "audacity" / "a" / "x.txt")
    read = list(zip(track.start_times, track.end_times, track.labels, strict=True))
    assert read == [(event.start_s, event.end_s, event.label) for event in EVENTS]
    assert (tmp_path / "out" / "audacity" / "b" / "x_mp3.txt").read_text() == ""


def test_json(tmp_path: Path) -> None:
    write(["json"], [result(NOT_UTF8), failed('"b"\n.wav')], tmp_path)
    document = json.loads((tmp_path / "events.json").read_text(encoding="utf-8"))
    first, second = document["recordings"]
    assert first["file"] == "caf\\udce9.wav"
    assert [Event(**event) for event in first["events"]] == list(EVENTS)
    assert second == {
        "file": '"b"\n.wav',
        "status": "failed",
        "reason": "=not audio",
        "duration_s": 0.0,
        "windows": 0,
        "events": [],
    }
    write(["json"], [], tmp_path)
    assert json.loads((tmp_path / "events.json").read_text()) == {"format": 1, "recordings": []}


def test_parquet(tmp_path: Path) -> None:
    results = [failed("broken.wav"), result("a.wav"), result(NOT_UTF8, EVENTS[1:], starts_s=np.array([-0.5, 0, 1]))]
    write(["parquet"], results, tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    assert list(events["file"]) == ["a.wav"] * 3 + ["caf\\udce9.wav"] * 2
    assert list(events["label"][:3]) == [event.label for event in EVENTS]
    np.testing.assert_array_equal(events["probability"], [0.8, np.nan, np.nan, np.nan, np.nan])
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert list(scores.columns) == ["file", "start_s", "end_s", "score_great tit", "score_robin"]
    assert list(scores["start_s"]) == [0, 2, 4, -0.5, 0, 1]
    assert list(scores["end_s"][:3]) == [2, 4, 6]
    np.testing.assert_array_equal(scores.iloc[:3, 3:], results[1].scores)
    with pytest.raises(ValueError, match="other classes"):
        write(["parquet"], [result(), result("b.wav", classes=("robin", "wren"))], tmp_path)


def test_embeddings(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(2, 3, 2048)).astype(np.float32)
    bad = replace(failed("b.wav"), embeddings=np.zeros((0, 0), np.float32))  # as recognition gives it
    results = [bad, result("a.wav", embeddings=vectors[0]), failed("d.wav"), result("c.wav", embeddings=vectors[1])]
    table = pd.read_parquet(write_embeddings(results, tmp_path))
    assert list(table.columns) == ["file", "start_s", "end_s", "embedding"]
    np.testing.assert_array_equal(np.stack(table["embedding"]), vectors.reshape(6, 2048))
    write_embeddings([bad], tmp_path)
    assert pd.read_parquet(tmp_path / "embeddings.parquet").empty
    with pytest.raises(ValueError, match="no embeddings"):
        write_embeddings([result("a.wav", embeddings=vectors[0]), result("b.wav")], tmp_path)


def test_row_groups_stay_small(tmp_path: Path) -> None:
    long = 3 * parquet.GROUP_ROWS // 2
    starts_s, scores = np.arange(long, dtype=float), np.zeros((long, 2), np.float32)
    write(["parquet"], [result("a.wav", starts_s=starts_s, scores=scores), result("b.wav")], tmp_path)
    metadata = pyarrow.parquet.ParquetFile(tmp_path / "scores.parquet").metadata
    rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert rows == [parquet.GROUP_ROWS, long - parquet.GROUP_ROWS, 3]


NASTY = st.text(st.one_of(st.characters(), st.sampled_from('\t\n\r"\\=+-@\x85\u2028\u202e\udce9/')), min_size=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NASTY, min_size=1, max_size=4))
def test_no_text_breaks_a_format(tmp_path: Path, labels: list[str]) -> None:
    events = [Event(number, number + 0.5, label, 0.5) for number, label in enumerate(labels)]
    folder = tmp_path / "nasty"
    write(ALL_BUT_KAGGLE, [result("a.wav", events, path="\n\t.wav")], folder)
    with (folder / "events.csv").open(newline="", encoding="utf-8", errors="surrogatepass") as file:
        labels_read = [row["label"] for row in csv.DictReader(file)] if not any(map(lone, labels)) else labels
    assert [label.removeprefix("'") for label in labels_read] == [label.removeprefix("'") for label in labels]
    for table, n_columns in (("raven/a.Table.1.selections.txt", 13), ("audacity/a.txt", 3)):
        text = (folder / table).read_bytes().decode("utf-8")
        lines = text.removesuffix("\n").split("\n")
        assert len(text.splitlines()) == len(lines) == len(labels) + table.startswith("raven")
        cells = [line.split("\t") for line in lines]
        assert {len(row) for row in cells} == {n_columns}
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@", '"')) for row in cells for cell in row)
    document = json.loads((folder / "events.json").read_bytes().decode("utf-8"))
    assert [event["start_s"] for event in document["recordings"][0]["events"]] == list(range(len(labels)))
    assert len(pd.read_parquet(folder / "events.parquet")) == len(labels)


def lone(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def test_same_results_same_bytes_and_nothing_outside_the_recording(tmp_path: Path) -> None:
    beyond = [Event(-0.5, 1.0, "robin", 0.9), Event(5.5, 7.5, "wren", 0.9)]
    for folder in ("one", "two"):
        write(ALL_BUT_KAGGLE, [result("a/x.wav"), result("x.wav", beyond)], tmp_path / folder)
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "two")
    assert set(one) == {
        *("files.csv", "events.csv", "events.parquet", "scores.parquet", "events.json"),
        *(f"raven/{stem}.Table.1.selections.txt" for stem in ("a/x", "x")),
        *("audacity/a/x.txt", "audacity/x.txt"),
    }
    assert {Path(name).suffix for name in one} <= set(TABLE_SUFFIXES), "tables that `stale` would not remove"
    assert not [name for name in one if ".part" in name]
    events = pd.read_csv(tmp_path / "one" / "events.csv")
    assert list(zip(events["start_s"][3:], events["end_s"][3:], strict=True)) == [(0, 1), (5.5, 6)]


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown format 'xls': there are csv, parquet"):
        write(["xls"], [], tmp_path)
    with pytest.raises(InputError, match="name it with --test-csv"):
        check(["kaggle"])
    with pytest.raises(ValueError, match="same name"):
        write(["csv"], [result(), result()], tmp_path)
    for name in ("../x.wav", "/x.wav"):
        with pytest.raises(ValueError, match="leads out"):
            write(["raven"], [result(name)], tmp_path / "out")
    with pytest.raises(TypeError, match="only once"):
        write(["csv"], iter([result()]), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(AerError, match="can't make the folder"):
        write(["csv"], [result()], tmp_path / "file" / "out")


def test_without_pyarrow_the_command_to_install_it() -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None; from aer.outputs.write import check;"
        "check(['csv']); check(['parquet'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "InputError" in done.stderr.splitlines()[-1]
    assert "pip install 'pyarrow" in done.stderr.splitlines()[-1]


class Many:
    """Results that are made when they are asked for; counts how many are alive."""

    def __init__(self, n: int, n_windows: int) -> None:
        self.n, self.n_windows = n, n_windows

    def __iter__(self) -> Iterator[FileResult]:
        starts_s, scores = np.arange(self.n_windows) * 2.0, np.zeros((self.n_windows, 2), np.float32)
        for number in range(self.n):
            embeddings = np.zeros((self.n_windows, 2048), np.float32)  # 8 MB
            yield result(f"{number}.wav", EVENTS, starts_s=starts_s, scores=scores, embeddings=embeddings)


def test_memory_does_not_grow_with_the_recordings(tmp_path: Path) -> None:
    before = pyarrow.total_allocated_bytes()
    path = write_embeddings(Many(40, 1000), tmp_path)  # 320 MB
    metadata = pyarrow.parquet.ParquetFile(path).metadata
    assert metadata.num_rows == 40_000
    assert max(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)) <= 4096
    assert pyarrow.total_allocated_bytes() - before < 1 << 20


def test_a_folder_with_the_name_of_a_table(tmp_path: Path) -> None:
    names = ["x.wav", "x.txt/y.wav", "_x.wav"]
    assert write(["audacity"], [result(name) for name in names], tmp_path)[1:] == [
        *(tmp_path / "audacity" / name for name in ("__x.txt", "x.txt/y.txt", "_x.txt")),
    ]


def test_test_csv_that_asks_for_none_is_refused_before_the_work(tmp_path: Path) -> None:
    rows = tmp_path / "test.csv"
    rows.write_text("site,row_id,seconds,audio_id\nsite_1,site_1_a_5,5,a\n")
    check(["kaggle"], rows, names=["x/a.wav", "b.wav"])
    with pytest.raises(InputError, match=r"none of the recordings of test\.csv is there; the first: a"):
        check(["kaggle"], rows, names=["b.wav"])
    with pytest.raises(InputError, match=r"two recordings have the audio_id a: x/a\.wav and y/a\.wav"):
        check(["kaggle"], rows, names=["x/a.wav", "y/a.wav"])


def test_every_format_has_its_writer() -> None:
    assert tuple(WRITERS) == FORMATS
