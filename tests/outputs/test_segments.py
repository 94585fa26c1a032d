"""Detections cut to WAV: which, from where, and what their files are called."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from aer.errors import AerError, InputError
from aer.inference.results import Event, FileResult
from aer.outputs.segments import best, check, cut_segments
from aer.utils.file_names import safe_name

RATE = 8000


def result(path: Path, name: str, events: list[Event]) -> FileResult:
    nothing = np.zeros(0), np.zeros((0, 0), np.float32)
    return FileResult(name, str(path), "ok", "", 10.0, tuple(events), (), 2.0, *nothing)


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    path = tmp_path / "ramp.wav"
    samples = (np.arange(10 * RATE) // 4).astype(np.int16)  # every sample says where it is from
    soundfile.write(path, samples, RATE)
    return path


def test_the_best_of_each_class(tmp_path: Path, ramp: Path) -> None:
    events = [Event(n, n + 1, "b" if n % 2 else "a", [0.5, 0.5, 0.9, 0.1, 0.9, 0.7][n]) for n in range(6)]
    written = cut_segments([result(ramp, "x/r.wav", events), result(ramp, "y/r.wav", events)], tmp_path / "out", 2)
    assert [str(path.relative_to(tmp_path / "out")) for path in written] == [
        "segments.csv",
        *("a/0.900_r_2.00s.wav", "a/0.900_r_4.00s.wav"),  # of equal scores the first
        *("b/0.700_r_5.00s.wav", "b/0.700_r_5.00s_2.wav"),
    ]
    samples, rate = soundfile.read(written[1], dtype="int16")
    assert (rate, len(samples)) == (RATE, 2 * RATE)  # half a second before and after
    np.testing.assert_array_equal(samples, np.arange(12000, 28000) // 4)
    table = pd.read_csv(written[0])
    assert list(table["file"]) == ["x/r.wav", "x/r.wav", "x/r.wav", "y/r.wav"]
    assert list(table["clip_start_s"]) == [1.5, 3.5, 4.5, 4.5]
    assert [tmp_path / "out" / name for name in table["segment"]] == written[1:]


def test_a_second_call_leaves_its_own_files_only(tmp_path: Path, ramp: Path) -> None:
    out = tmp_path / "out"
    first = cut_segments([result(ramp, "r.wav", [Event(1, 2, "a", 0.9), Event(3, 4, "b", 0.8)])], out, 2)
    mine = out / "a" / "mine.wav"
    mine.write_bytes(b"")
    (tmp_path / "precious.wav").write_bytes(b"")
    with first[0].open("a") as file:
        file.write(f"../precious.wav\n{tmp_path}/precious.wav\na/../../precious.wav\n")
    second = cut_segments([result(ramp, "r.wav", [Event(3, 4, "b", 0.8)])], out, 2)
    assert {path for path in out.rglob("*") if path.is_file()} == {*second, mine}
    assert (tmp_path / "precious.wav").exists()


def test_long_events_and_the_ends(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(60 * 1000), 1000)
    long = result(path, "l.wav", [Event(-0.5, 60, "a", 1.0), Event(59, 61, "b", 1.0)])
    long = FileResult(**{**vars(long), "duration_s": 60.0})
    _, first, last = cut_segments([long], tmp_path / "out", 1)
    assert soundfile.info(first).duration == 30.5  # 30 s and what follows; nothing comes before
    assert soundfile.info(last).duration == 1.5


def test_events_before_a_cut_are_written(tmp_path: Path, ramp: Path) -> None:
    ramp.write_bytes(ramp.read_bytes()[: 44 + 2 * 3 * RATE])
    _, clip = cut_segments([result(ramp, "r.wav", [Event(1, 2, "a", 0.9)])], tmp_path / "out", 1)
    np.testing.assert_array_equal(soundfile.read(clip, dtype="int16")[0], np.arange(4000, 20000) // 4)


def test_what_cannot_be_read_is_said(tmp_path: Path, ramp: Path) -> None:
    gone = result(tmp_path / "gone.wav", "gone.wav", [Event(1, 2, "a", 0.95)])
    said: list[str] = []
    written = cut_segments([gone, result(ramp, "r.wav", [Event(1, 2, "a", 0.9)])], tmp_path / "out", 2, said.append)
    assert len(written) == 2
    assert said[0].startswith("1 of 2 segments can't be cut; the first: ")
    assert "gone.wav" in said[0]
    with pytest.raises(AerError, match="1 of 1 segments can't be cut"):
        cut_segments([gone], tmp_path / "out", 2)
    with pytest.raises(InputError, match="at least 1"):
        cut_segments([gone], tmp_path / "out", 0)
    assert [path.name for path in cut_segments([], tmp_path / "none", 2)] == ["segments.csv"]


def test_names_stay_inside_and_apart(tmp_path: Path, ramp: Path) -> None:
    labels = ["../../up", "a/b", "a_b", "A_B", "con", "", ".", "caf\udce9", "\x1b[2J", "segments.csv", "x" * 300]
    events = [Event(1, 2, label, 0.5) for label in labels]
    out = tmp_path / "deep" / "out"
    written = cut_segments([result(ramp, "../../../\udce9/ r\n.wav", events)], out, 1)
    assert len({str(path).casefold() for path in written}) == len(labels) + 1
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*written, ramp}
    assert all(out in path.parents for path in written)


@given(st.text())
def test_safe_names(text: str) -> None:
    name = safe_name(text)
    assert name.strip(" .") == name != ""
    assert len(name.encode()) <= 81
    assert not set(name) & set('/\\:*?"<>|\0\n\t')
    assert safe_name("Þröstur 1.a") == "Þröstur 1.a"


def test_memory_holds_the_best_only() -> None:
    many = [result(Path("x"), f"{n}.wav", [Event(0, 1, "a", n / 1000)]) for n in range(1000)]
    assert [entry.name for entry in best(many, 3)] == ["999.wav", "998.wav", "997.wav"]
    assert best(many, 3) == best(reversed(many), 3)


def test_a_folder_that_segments_should_not_go_to_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is where the recordings are"):
        check(tmp_path / "x" / "..", [tmp_path])
    (tmp_path / "segments.csv").write_text("segment,mine\na/b.wav,1\n")
    with pytest.raises(InputError, match=r"segments.csv is not of aer predict"):
        check(tmp_path, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder: name another"):
        check(tmp_path / "file", [])
    check(tmp_path / "new", [tmp_path])
    check(tmp_path / "new", [tmp_path])


def test_a_segment_is_of_the_channel_that_was_heard(tmp_path: Path) -> None:
    samples = np.arange(4 * RATE)[:, None] / (8 * RATE) * [1, -1]
    soundfile.write(tmp_path / "stereo.wav", samples, RATE)
    heard = result(tmp_path / "stereo.wav", "s.wav", [Event(1, 2, "a", 0.9)])
    _, clip = cut_segments([heard], tmp_path / "out", 1, channels=2)
    expected, _ = soundfile.read(tmp_path / "stereo.wav")
    made, _ = soundfile.read(clip)
    first = round(0.5 * RATE)
    assert np.array_equal(made, expected[first : first + len(made), 1]) and made.min() < 0
