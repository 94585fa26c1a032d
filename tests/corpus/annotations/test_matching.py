"""Which recordings tables are about, by their names; and what aer predict writes, read back and matched."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aer.corpus.annotations.annotation import Annotations
from aer.corpus.annotations.matching import Matched, match
from aer.corpus.annotations.read import own_recording, read_annotations
from aer.inference.results import Event, FileResult
from aer.outputs.tables import RAVEN_COLUMNS
from aer.outputs.write import write

HEADER = "path,start,end,label\n"


def rows(tmp_path: Path, *names: str) -> Annotations:
    """An event of a label of its own for each name: `0`, `1`, ..."""
    table = tmp_path / "all.csv"
    table.write_text(HEADER + "".join(f"{name},{n},{n + 1},{n}\n" for n, name in enumerate(names)))
    return read_annotations(table)


def tables(tmp_path: Path, *names: str) -> Annotations:
    """The same, in label tracks of these names."""
    for n, name in enumerate(names):
        path = tmp_path / "tables" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{n}\t{n + 1}\t{n}\n")
    return read_annotations(tmp_path / "tables")


def found(annotations: Annotations, *recordings: str) -> dict[str, list[str]]:
    """The labels of each recording that was found."""
    matched = match(annotations, dict.fromkeys(recordings))
    return {name: [event.label for event in listed] for name, listed in matched.events.items()}


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("a.txt", "a"),
        ("site/a.wav.txt", "site/a.wav"),
        ("a.Table.1.selections.txt", "a"),
        ("a.b.Table.12.txt", "a.b"),
        ("a.BirdNET.selection.table.txt", "a"),
        ("a.BirdNET.results.csv", "a"),
        ("a_labels.txt", "a"),
        ("a Label Track.txt", "a"),
        ("x_2020.01.02.tsv", "x_2020.01.02"),
        ("labels.csv", "labels"),
    ],
)
def test_the_recording_in_a_tables_name(table: str, name: str) -> None:
    assert own_recording(Path(table)) == name


def test_names_in_rows(tmp_path: Path) -> None:
    """Whole paths of any machine, paths below some folder, with another suffix, in other case and Unicode form."""
    named = ("D:\\day 1\\north\\a.WAV", "north/b", "c.flac", "wav/d.wav", "/x/y/e\u0301.wav", "./site/north/f.wav")
    recordings = ("north/a.wav", "north/b.wav", "c.wav", "d.wav", "\u00e9.wav", "north/f.wav")
    assert found(rows(tmp_path, *named), *recordings) == {name: [str(n)] for n, name in enumerate(recordings)}


def test_folders_decide_between_recordings_of_one_name(tmp_path: Path) -> None:
    recordings = ("north/a.wav", "south/a.wav", "a.mp3", "a.flac")
    assert found(rows(tmp_path, "south/a.wav", "/x/north/a.wav", "a.mp3"), *recordings) == {
        "south/a.wav": ["0"],
        "north/a.wav": ["1"],
        "a.mp3": ["2"],
    }
    matched = match(rows(tmp_path, "a.wav", "a", "b.wav"), dict.fromkeys(recordings))
    assert matched.events == {}
    assert matched.ambiguous == {"a.wav": ("north/a.wav", "south/a.wav"), "a": tuple(sorted(recordings))}
    assert matched.unmatched == {"b.wav": 1}
    assert matched.unannotated == tuple(sorted(recordings))
    assert "the annotations name 1 recording that can't be found: b.wav" in matched.notes
    assert any(
        note.startswith("the annotations name 2 recordings that may be one of several: a (") for note in matched.notes
    )


def test_the_recordings_of_a_site_that_is_not_there_lend_their_events_to_no_other(tmp_path: Path) -> None:
    assert found(rows(tmp_path, "south/a.wav"), "north/a.wav") == {}
    named = rows(tmp_path, "/x/south/a.wav", "/x/north/a.wav")
    assert found(named, "north/a.wav") == {"north/a.wav": ["1"]}
    assert match(named, {"north/a.wav": None}).unmatched == {"/x/south/a.wav": 1}
    matched = match(rows(tmp_path, "/x/east/a.wav", "/x/west/a.wav"), {"north/a.wav": None})
    assert (matched.events, matched.unmatched) == ({}, {})
    assert matched.contradictory == {"/x/east/a.wav": "north/a.wav", "/x/west/a.wav": "north/a.wav"}
    assert matched.notes[0].startswith(
        "the annotations name 2 recordings whose paths contradict each other, though only"
    )
    assert found(tables(tmp_path, "south/a.txt", "north/a.txt"), "north/a.wav") == {"north/a.wav": ["1"]}
    assert found(tables(tmp_path, "south/a.txt", "north/a.txt"), "east/a.wav") == {}
    # without folders the recording does not say which it is
    assert found(rows(tmp_path, "south/a.wav", "north/a.wav"), "a.wav") == {}
    assert found(rows(tmp_path, "/2020/north/a.wav", "/2021/north/a.wav"), "north/a.wav") == {}
    assert found(rows(tmp_path, "/2020/north/a.wav", "north/a.wav"), "north/a.wav") == {"north/a.wav": ["0", "1"]}
    assert found(rows(tmp_path, "a.mp3", "a.wav", "a"), "a.wav") == {"a.wav": ["1", "2"]}


def test_a_number_after_a_dot_is_no_suffix(tmp_path: Path) -> None:
    assert found(tables(tmp_path, "site.1.txt", "site.2.txt"), "site.wav", "site.2.wav") == {"site.2.wav": ["1"]}


def test_two_annotators_of_a_recording(tmp_path: Path) -> None:
    annotations = tables(tmp_path, "ann/a.txt", "bob/a.txt")
    assert found(annotations, "a.wav") == {"a.wav": ["0", "1"]}
    assert match(annotations, {"a.wav": None}).several_tables == {"a.wav": 2}


def test_tables_wherever_they_lie(tmp_path: Path) -> None:
    annotations = tables(tmp_path, "annotators/ann/a.Table.1.selections.txt", "north/b.txt", "south/b.txt", "c_mp3.txt")
    recordings = ("sounds/a.wav", "sounds/north/b.wav", "sounds/south/b.wav", "c.mp3", "c.wav")
    matched = match(annotations, dict.fromkeys(recordings))
    assert {name: [event.label for event in listed] for name, listed in matched.events.items()} == {
        "sounds/a.wav": ["0"],
        "sounds/north/b.wav": ["1"],
        "sounds/south/b.wav": ["2"],
        "c.mp3": ["3"],
    }
    assert matched.elsewhere == {"annotators/ann/a": "sounds/a.wav"}
    assert matched.notes[0] == "the annotations name 1 recording in other folders: annotators/ann/a as sounds/a.wav"
    assert matched.unannotated == ("c.wav",)


def test_several_tables_of_a_recording(tmp_path: Path) -> None:
    table = tmp_path / "tables/a.Table.2.selections.txt"
    tables(tmp_path, "a.txt", "b.txt")
    table.write_text("0\t1\t0\n2\t3\tmore\n")
    matched = match(read_annotations(table.parent), {"a.wav": None, "b.wav": None})
    assert [event.label for event in matched.events["a.wav"]] == ["0", "more"]
    assert matched.several_tables == {"a.wav": 2}
    # the events of one name are put together when they are read
    assert "1 recording of several tables: a.wav (2)" in matched.notes


def test_a_table_whose_recording_was_renamed(tmp_path: Path) -> None:
    columns = "Selection\tView\tBegin Time (s)\tEnd Time (s)\tBegin File\tAnnotation\n"
    for name in ("a", "b"):
        (tmp_path / f"{name}.Table.1.selections.txt").write_text(
            f"{columns}1\tSpectrogram 1\t1\t2\told_{name}.wav\t{name}\n"
        )
    assert found(read_annotations(tmp_path), "site/a.wav", "c.wav") == {"site/a.wav": ["a"]}


def test_ends_of_recordings(tmp_path: Path) -> None:
    table = tmp_path / "all.csv"
    table.write_text(f"{HEADER}a.wav,1,10.5,x\na.wav,1,12,y\na.wav,20,21,z\nempty.wav,0,1,x\nunknown.wav,1,99,x\n")
    matched = match(read_annotations(table), {"a.wav": 10.0, "empty.wav": 0.0, "unknown.wav": None, "more.wav": 1.0})
    assert [event.label for event in matched.past_end] == ["y", "z"]
    assert [event.label for event in matched.beyond] == ["z"]
    assert (matched.empty, matched.unannotated) == (("empty.wav",), ("more.wav",))
    assert len(matched.events["a.wav"]) == 3
    places = f"{table}, line 3, {table}, line 4"
    assert matched.notes == (
        f"2 events ending more than 1 s after their recording, 1 of them beginning after it: {places}",
        "1 recording with annotations and without a sample: empty.wav",
        "1 recording without a table: more.wav",
    )


@pytest.fixture
def results(tmp_path: Path) -> list[FileResult]:
    """Recordings of one name in two folders and with two suffixes, odd names and labels, and one without events."""
    events = (
        Event(0.5, 1.25, "=robin", 0.9, 0.8),
        Event(1.0, 1.96, "great tit", 0.625),
        Event(3.0, 4.5, "=robin", 0.7),
    )
    made = []
    for n, name in enumerate(
        ("north/a.wav", "south/a.wav", "south/a.flac", "=caf\u00e9.wav", "caf\udce9.wav", "quiet.wav")
    ):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            soundfile.write(file, np.zeros(6 * 8000), 8000, format=path.suffix[1:])
        listed = () if name == "quiet.wav" else events[n % 2 :]
        scores = np.zeros((3, 2), np.float32)
        starts_s = np.arange(3) * 2.0
        made.append(FileResult(name, str(path), "ok", "", 6.0, listed, ("=robin", "great tit"), 2.0, starts_s, scores))
    return made


def times(matched: Matched) -> dict[str, list[tuple[float, float, str]]]:
    return {name: [(e.start_s, e.end_s, e.label) for e in listed] for name, listed in matched.events.items()}


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "raven", "audacity"])
def test_what_predict_writes_is_read(tmp_path: Path, results: list[FileResult], kind: str) -> None:
    write([kind], results, tmp_path / "out")
    matched = match(read_annotations(tmp_path / "out"), {result.name: result.duration_s for result in results})
    expected = {result.name: [(e.start_s, e.end_s, e.label) for e in result.events] for result in results}
    if kind in ("csv", "parquet"):  # which know recordings by their events alone
        del expected["quiet.wav"]
    if kind in ("json", "parquet"):  # which write that byte as an escape
        del expected["caf\udce9.wav"]
        assert matched.unmatched == {"caf/udce9.wav": 3}
    assert times(matched) == expected


def test_all_that_predict_writes_together_counts_once(tmp_path: Path, results: list[FileResult]) -> None:
    kinds = ["csv", "json", "parquet", "raven", "audacity"]
    write(kinds, results, tmp_path / "out")
    annotations = read_annotations(tmp_path / "out")
    assert {skip.table.name for skip in annotations.skipped} == {"files.csv", "scores.parquet"}
    matched = match(annotations, {result.name: result.duration_s for result in results})
    assert {name: len(listed) for name, listed in matched.events.items()} == {r.name: len(r.events) for r in results}
    assert matched.several_tables["north/a.wav"] == 5


def test_a_corrected_row_of_ravens_counts(tmp_path: Path, results: list[FileResult]) -> None:
    """Also where File Offset (s), which repeats Begin Time (s), was left as it was, and in the only row."""
    write(["raven"], results[:1], tmp_path / "out")
    (table,) = (tmp_path / "out/raven/north").iterdir()
    header, *lines = table.read_text().splitlines()
    assert header == "\t".join(RAVEN_COLUMNS)
    cells = lines[0].split("\t")
    cells[3:5], cells[10] = ["0.75", "1.5"], "wren"
    for kept in ([], lines[1:]):
        table.write_text("\n".join([header, "\t".join(cells), *kept]) + "\n")
        annotations = read_annotations(tmp_path / "out/raven")
        assert times(match(annotations, {"north/a.wav": 6.0}))["north/a.wav"][0] == (0.75, 1.5, "wren")
        assert "1 row whose File Offset is not their Begin Time, which counts" in annotations.notes[0]


def test_reading_loads_neither_torch_nor_pandas() -> None:
    modules = "from aer.corpus.annotations import label_map, matching, read"
    program = f"import sys\n{modules}\nprint({{'torch', 'pandas', 'pyarrow'}} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
