"""Selection tables and label tracks as Raven, BirdNET and Audacity write them, read to events written by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
from crowsetta.formats.bbox import AudBBox, Raven
from crowsetta.formats.seq import AudSeq
from helpers.annotations import RAVEN, events, formats, write_table

from aer.corpus.annotations.read import read_annotations
from aer.errors import InputError

BIRDNET = f"{RAVEN}Common Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a table to a name below the test's folder."""
    return lambda name, content: write_table(tmp_path / name, content)


def test_raven_table_of_one_recording(write: Write) -> None:
    """Lines end as on Windows, the last selection has no label, an empty column ends the header."""
    rows = "1\tSpectrogram 1\t1\t1.897648\t4.110571\t1326.3\t3266.5\tWOTH\r\n2\tSpectrogram 1\t1\t5.5\t6\t30\t61\t\r\n"
    table = write("MSD-0003_20180427.Table.1.selections.txt", f"{RAVEN}Species\t\r\n{rows}")
    read = read_annotations(table)
    assert events(read) == {"MSD-0003_20180427": [(1.897648, 4.110571, "WOTH")]}
    (event,) = read.events["MSD-0003_20180427"]
    assert (event.low_hz, event.high_hz, event.table, event.line) == (1326.3, 3266.5, table, 2)
    assert (read.tables[0].format, read.tables[0].label_column) == ("raven", "Species")
    assert read.notes == (f"1 row without a label, left out (the first: {table}, line 3)",)
    assert [(skip.table, skip.line, skip.reason) for skip in read.skipped] == [(table, 3, "without a label")]


def test_raven_selections_by_crowsetta(write: Write) -> None:
    rows = "".join(f"{n}\tSpectrogram 1\t1\t{n * 1.7:.9f}\t{n * 1.7 + 1:.9f}\t{n}.5\t4049.0\tE{n}\n" for n in range(9))
    table = write("x.Table.1.selections.txt", f"{RAVEN}Annotation\n{rows}")
    expected = Raven.from_file(table).to_bbox()
    read = read_annotations(table).events["x"]
    assert [(e.start_s, e.end_s, e.low_hz, e.high_hz, e.label) for e in read] == [
        (box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in expected
    ]


def test_rows_that_raven_writes_for_each_view_count_once(write: Write) -> None:
    columns = "Delta Time (s)\tDelta Freq (Hz)\tAvg Power Density (dB FS/Hz)\tAnnotation\n"
    rows = (
        "1\tWaveform 1\t1\t6.709509878\t15.096397225\t\t\t8.3869\t2059.801\t\tBirb\n"
        "1\tSpectrogram 1\t1\t6.709509878\t15.096397225\t1739.012\t3798.813\t8.3869\t2059.801\t-75.87\tBirb\n"
        "2\tWaveform 1\t1\t29.383026016\t40.257059266\t1587.06\t4136.485\t10.874\t2549.426\t\tdonkey\n"
        "2\tSpectrogram 1\t1\t29.383026016\t40.257059266\t1587.06\t4136.485\t10.874\t2549.426\t-75.64\tdonkey\n"
        "3\tSpectrogram 1\t1\t29.383026016\t40.257059266\t1587.06\t4136.485\t10.874\t2549.426\t-75.64\tdonkey\n"
    )
    table = write("a.txt", RAVEN + columns + rows)
    read = read_annotations(table)
    assert events(read) == {"a": [(6.709509878, 15.096397225, "Birb"), (29.383026016, 40.257059266, "donkey")]}
    assert read.events["a"][0].low_hz == 1739.012
    assert read.notes == (
        f"2 rows that Raven wrote once more for another view, counted once (the first: {table}, line 2)",
        f"1 row that other rows repeat, counted once (the first: {table}, line 6)",
    )


def test_raven_table_of_a_sequence_of_files(write: Write) -> None:
    """Begin Time runs on from file to file, File Offset does not; dates and clock times are of no concern."""
    columns = "Begin File\tFile Offset (s)\tBegin Date\tBegin Clock Time\tTag 1\tTag 2\tnotes\n"
    rows = (
        "1\tSpectrogram 1\t1\t5.0\t6.0\t1000\t3000\ta.wav\t5.0\t2011/11/07\t00:00:05.000\trobin\t\tal\n"
        "2\tSpectrogram 1\t1\t65.0\t66.5\t1000\t3000\tb.wav\t5.0\t2011/11/07\t00:01:05.000\twren\tx\tal\n"
        "3\tSpectrogram 1\t1\t70\t71\t1000\t3000\tb.wav\t10.0\t2011/11/07\t00:01:10.000\twren\tx\tal\n"
    )
    read = read_annotations(write("day.Table.1.selections.txt", RAVEN + columns + rows))
    assert events(read) == {"a.wav": [(5, 6, "robin")], "b.wav": [(5, 6.5, "wren"), (10, 11, "wren")]}
    assert read.notes == ()


def test_raven_table_of_several_files_without_offsets(write: Write) -> None:
    """BirdNET wrote such tables once. Whether Begin Time runs on, only the lengths of recordings can tell."""
    start = "1\tSpectrogram 1\t1\t"
    rows = f"{start}3\t6\t150\t15000\ta.wav\twren\n{start}6\t9\t150\t15000\tb.wav\twren\n"
    table = write("sample.BirdNET.selections.txt", f"{RAVEN}Begin File\tCommon Name\n{rows}")
    read = read_annotations(table)
    assert events(read) == {"a.wav": [(3, 6, "wren")], "b.wav": [(6, 9, "wren")]}
    assert read.notes[0].startswith("2 rows of several recordings without File Offset (s): Begin Time (s) is taken for")


def test_raven_label_columns(write: Write) -> None:
    """The first likely column that is filled; a named one before it; none is an error that lists the columns."""
    row = "1\tSpectrogram 1\t1\t1\t2\t0\t9\t\tEurasian Wren\twinwre4\n"
    table = write("a.txt", f"{RAVEN}Annotation\tCommon Name\tSpecies Code\n{row}")
    read = read_annotations(table)
    assert events(read) == {"a": [(1, 2, "Eurasian Wren")]}
    assert "1 row whose label is their Common Name, though they have Species Code too" in read.notes[0]
    assert events(read_annotations(table, "species code")) == {"a": [(1, 2, "winwre4")]}
    with pytest.raises(InputError, match=r"a\.txt, line 1: has no column 'bird': its columns are Selection, View"):
        read_annotations(table, "bird")
    table = write("b.txt", f"{RAVEN}Who\n1\tSpectrogram 1\t1\t1\t2\t0\t9\twren\n")
    with pytest.raises(InputError, match=r"b\.txt, line 1: has no column of labels: name it with --label-column"):
        read_annotations(table)
    assert events(read_annotations(table, "Who")) == {"b": [(1, 2, "wren")]}


def test_raven_table_without_selections_says_that_nothing_is_there(write: Write) -> None:
    read = read_annotations(write("EmptyExample.Table.1.selections.txt", f"{RAVEN}Species\t\n"))
    assert events(read) == {"EmptyExample": []}


def test_lower_case_raven_table_with_delta_time(write: Write) -> None:
    rows = "selection\tview\tchannel\tbegin time (s)\tdelta time (s)\tclass\n1\tspectrogram 1\t1\t2.0\t0.5\twoth\n"
    assert events(read_annotations(write("a.txt", rows))) == {"a": [(2, 2.5, "woth")]}


def test_birdnet_selection_tables(write: Write) -> None:
    """One for each recording, and all in one, whose Begin Time runs on; a recording without a bird has a nocall."""
    start = "1\tSpectrogram 1\t1\t"
    write(
        "one/rec.BirdNET.selection.table.txt",
        f"{BIRDNET}{start}3.0\t6.0\t0\t15000\tWren\twinwre4\t0.87\t/data/rec.wav\t3.0\n",
    )
    write(
        "one/quiet.BirdNET.selection.table.txt",
        f"{BIRDNET}{start}0\t3\t0\t15000\tnocall\tnocall\t1.0\t/data/quiet.wav\t0\n",
    )
    read = read_annotations(write("one/x.txt", "").parent)
    assert events(read) == {"/data/quiet.wav": [], "/data/rec.wav": [(3, 6, "Wren")], "x": []}
    assert [table.own_name for table in read.tables] == ["quiet", "rec", "x"]
    combined = write(
        "BirdNET_SelectionTable.txt",
        f"{BIRDNET}{start}0.0\t3.0\t0\t15000\tWren\twinwre4\t0.81\t/data/rec1.wav\t0.0\n"
        f"2\tSpectrogram 1\t1\t63.0\t66.0\t0\t15000\tRobin\teurrob1\t0.44\t/data/rec2.wav\t3.0\n",
    )
    assert events(read_annotations(combined)) == {
        "/data/rec1.wav": [(0, 3, "Wren")],
        "/data/rec2.wav": [(3, 6, "Robin")],
    }


def test_audacity_labels_by_crowsetta(write: Write) -> None:
    table = write("x.txt", "0.0\t0.769818\tSIL\n0.769818\t1.131274\tcall\n2.218401\t2.555024\tcall\n")
    expected = AudSeq.from_file(table)
    assert [(e.start_s, e.end_s, e.label) for e in read_annotations(table).events["x"]] == list(
        zip(expected.start_times, expected.end_times, expected.labels, strict=True)
    )
    lines = "0.101385\t0.367520\tSP\n\\\t6441.064453\t12296.577148\n0.506924\t3.041545\tCRER\n\\\t2593.15\t8866.9\n"
    table = write("spinetail.txt", lines)
    boxes = AudBBox.from_file(table).to_bbox()
    read = read_annotations(table)
    assert [(e.start_s, e.end_s, e.low_hz, e.high_hz, e.label) for e in read.events["spinetail"]] == [
        (box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in boxes
    ]
    assert formats(read) == ["audacity"]
    assert [e.line for e in read.events["spinetail"]] == [1, 3]


def test_odd_audacity_labels(write: Write) -> None:
    """Points in time, empty labels, frequencies that are not set, commas for points, BirdNET's fourth column."""
    table = write(
        "a.txt",
        "1,500000\t2,250000\twren\n\\\t-1.000000\t-1.000000\n"
        "3.0\t3.0\there\n4.0\t5.0\t\n6.0\t9.0\tTurdus, Robin\t0.9\n",
    )
    read = read_annotations(table)
    assert events(read) == {"a": [(1.5, 2.25, "wren"), (6, 9, "Turdus, Robin")]}
    assert {(e.low_hz, e.high_hz) for e in read.events["a"]} == {(None, None)}
    assert read.notes == (
        f"1 row without a label, left out (the first: {table}, line 4)",
        f"2 rows with commas for decimal points (the first: {table}, line 1)",
        f"1 row with a label for a point in time, left out (the first: {table}, line 3)",
    )
