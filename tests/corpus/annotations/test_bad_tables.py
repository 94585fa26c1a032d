"""Tables that can't be right: one line that names the file and the row. And large ones: how long they take."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aer.corpus.annotations.read import read_annotations
from aer.errors import InputError

HEADER = "path,start_s,end_s,label\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav,2,1,wren", r"line 3: ends at 1 s, before its start at 2 s$"),
        ("a.wav,-1,1,wren", r"line 3: starts at -1 s, before its recording$"),
        ("a.wav,soon,1,wren", r"line 3: 'soon' is no number of seconds$"),
        ("a.wav,0:01,1,wren", r"line 3: '0:01' is no number of seconds$"),
        ("a.wav,1_0,11,wren", r"line 3: '1_0' is no number of seconds$"),
        ("a.wav,,1,wren", r"line 3: '' is no number of seconds$"),
        ("a.wav,0,inf,wren", r"line 3: 'inf' is no number of seconds$"),
        ("a.wav,nan,1,wren", r"line 3: 'nan' is no number of seconds$"),
        ("a.wav,1,1e12,wren", r"line 3: ends at 1e\+12 s, after more than a month: are these seconds\?$"),
        (",1,2,wren", r"line 3: names no recording$"),
        ("a.wav,1,2", r"line 3: has 3 cells, and its header has 4$"),
        ("a.wav,1,2,wren,robin", r"line 3: has 5 cells, and its header has 4$"),
        ('a.wav,1,2,"wren', r"line 3: can't be read: unexpected end of data$"),
        ("a.wav,2,1,wren\na.wav,3,1,x", r"before its start at 2 s; 1 other row of the table can't be right either$"),
    ],
)
def test_rows(tmp_path: Path, row: str, message: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"{HEADER}a.wav,0,1,wren\n{row}\n")
    for place in (table, tmp_path):
        with pytest.raises(InputError, match=rf"^{table}, .*{message}") as error:
            read_annotations(place)
        assert "\n" not in str(error.value)


def test_places_without_labelled_times(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^annotations .*nowhere are not there$"):
        read_annotations(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no table of labelled times$"):
        read_annotations(tmp_path)
    table = tmp_path / "notes.txt"
    table.write_text("some words\n")
    with pytest.raises(InputError, match=r"notes\.txt has no labelled times: has no columns of times: some words$"):
        read_annotations(table)
    with pytest.raises(InputError, match=rf"has no table of labelled times: {table}: has no columns of times"):
        read_annotations(tmp_path)


def test_empty_files(tmp_path: Path) -> None:
    """Audacity's label track of a recording without events is one."""
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.csv").write_text(" \n\n")
    read = read_annotations(tmp_path)
    assert read.events == {"a": (), "b": ()}
    assert {table.format for table in read.tables} == {"empty"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes(f"{HEADER}a.wav,0,1,Grünfink\nb.wav,0,1,Großer Brachvogel\n".encode(encoding))
    read = read_annotations(table)
    assert list(read.label_counts) == ["Großer Brachvogel", "Grünfink"]
    told = {"utf-8-sig": (), "cp1252": (f"1 file in Windows-1252, not in UTF-8 (the first: {table})",)}
    assert read.notes == told.get(encoding, (f"1 file in UTF-16, not in UTF-8 (the first: {table})",))


@pytest.mark.parametrize("label", ["Cooper\u2019s Hawk", "Grünfinkenh\u00fctte, Lincoln\u2019s Sparrow"])
def test_apostrophes_of_spreadsheets(tmp_path: Path, label: str) -> None:
    table = tmp_path / "a.txt"
    table.write_bytes(f"0\t1\t{label}\n".encode("cp1252"))
    assert list(read_annotations(table).label_counts) == [label]


@pytest.mark.parametrize(
    ("text", "encoding", "readings"),
    [
        ("Fauvette à tête noire", "cp1252", r" \(it may read à or ą\)"),
        ("соловей", "cp1251", ""),
        ("słowik rdzawy", "cp1250", ""),
        ("Grünfink", "mac_roman", ""),
        ("黑鸟", "gb18030", ""),
    ],
)
def test_an_encoding_that_is_not_certain_is_no_guess(tmp_path: Path, text: str, encoding: str, readings: str) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes(f"{HEADER}a.wav,0,1,wren\nb.wav,0,1,{text}\n".encode(encoding))
    message = rf"a\.csv, line 3: is not UTF-8{readings}.*: save the table as UTF-8$"
    for place in (table, tmp_path):
        with pytest.raises(InputError, match=message):
            read_annotations(place)
    table.write_bytes(f"note\n{text}\n".encode(encoding))
    (tmp_path / "b.txt").touch()
    assert [skip.table for skip in read_annotations(tmp_path).skipped] == [table]


def test_linked_folders_are_read_once_and_closed_ones_refused(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/x.txt").write_text("0\t1\twren\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/y.txt").write_text("0\t1\twren\n")
    (tmp_path / "a/again").symlink_to(tmp_path / "a")
    (tmp_path / "a/linked").symlink_to(tmp_path / "elsewhere")
    assert list(read_annotations(tmp_path / "a").events) == ["b/x", "linked/y"]
    if os.geteuid() != 0:
        (tmp_path / "a/b").chmod(0)
        with pytest.raises(InputError, match=r"folder .*/a/b can't be read: Permission denied$"):
            read_annotations(tmp_path / "a")
        (tmp_path / "a/b").chmod(0o700)


def test_duplicate_rows_count_once(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text(f"{HEADER}a.wav,0,1,wren\na.wav,0,1.0000001,wren\na.wav,0,1,robin\nb.wav,0,1,wren\n")
    read = read_annotations(table)
    assert [(e.recording, e.label) for events in read.events.values() for e in events] == [
        ("a.wav", "robin"),
        ("a.wav", "wren"),
        ("b.wav", "wren"),
    ]
    assert read.notes == (f"1 row that other rows repeat, counted once (the first: {table}, line 3)",)


def test_json_that_is_none(tmp_path: Path) -> None:
    table = tmp_path / "events.json"
    table.write_text('{"recordings": [')
    with pytest.raises(InputError, match=r"events\.json has no labelled times: is no JSON: Expecting value in line 1$"):
        read_annotations(table)


def test_a_hundred_thousand_rows_take_seconds(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    rows = (f"site{n % 50}/rec{n % 1000}.wav,{n / 100},{n / 100 + 1.5},species {n % 97}\n" for n in range(100_000))
    table.write_text(HEADER + "".join(rows))
    began_s = time.process_time()
    read = read_annotations(table)
    # about one on a machine with nothing else to do, measured as processor time; twice the promise for busy ones
    assert time.process_time() - began_s < 4
    assert sum(map(len, read.events.values())) == 100_000


HEADERS = (
    HEADER,
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tAnnotation\n",
    "INDIR,FOLDER,IN FILE,OFFSET,DURATION,MANUAL ID\n",
    "filename\tonset\toffset\tevent_label\n",
    "",
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.sampled_from(HEADERS),
    rows=st.lists(st.lists(st.sampled_from(["1", "2.5", "-1", "", "a", "nan", "1,5", '"', "\\", "é", "\x85", "sep="]))),
    mark=st.sampled_from("\t,;"),
    suffix=st.sampled_from([".txt", ".csv", ".json"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_whatever_is_in_a_table_it_is_read_or_refused_in_one_line(
    tmp_path: Path, header: str, rows: list[list[str]], mark: str, suffix: str, encoding: str, end: str
) -> None:
    table = tmp_path / f"a{suffix}"
    text = header.replace("\n", end) + "".join(mark.join(row) + end for row in rows)
    table.write_bytes(text.encode(encoding, errors="replace"))
    try:
        read = read_annotations(table)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(table) in str(error)
    else:
        assert all(0 <= event.start_s < event.end_s for events in read.events.values() for event in events)
        assert all(event.label for events in read.events.values() for event in events)
