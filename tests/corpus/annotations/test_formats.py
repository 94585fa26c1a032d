"""Tables as programs write them (headers and odd rows as in public files), read to events written by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
from crowsetta.formats.bbox import AudBBox, Raven
from crowsetta.formats.seq import AudSeq

from aer.corpus.annotations.annotation import Annotations
from aer.corpus.annotations.read import read_annotations
from aer.errors import InputError

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
BIRDNET = f"{RAVEN}Common Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"

Events = dict[str, list[tuple[float, float, str]]]
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a table to a name below the test's folder."""

    def written(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
        return path

    return written


def events(read: Annotations) -> Events:
    return {name: [(e.start_s, e.end_s, e.label) for e in listed] for name, listed in read.events.items()}


def formats(read: Annotations) -> list[str]:
    return [table.format for table in read.tables]


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


def test_birdnet_csvs(write: Write) -> None:
    columns = "Start (s),End (s),Scientific name,Common name,Confidence"
    row = "3.0,6.0,Troglodytes troglodytes,Wren,0.9"
    assert events(read_annotations(write("rec.BirdNET.results.csv", f"{columns}\n{row}\n"))) == {
        "rec": [(3, 6, "Wren")]
    }
    new = write("BirdNET_CombinedTable.csv", f"{columns},File\n{row},D:\\x\\rec.wav\n")
    assert events(read_annotations(new)) == {"D:/x/rec.wav": [(3, 6, "Wren")]}
    for_r = (
        "filepath,start,end,scientific_name,common_name,confidence,lat,lon,week,overlap,sensitivity,min_conf,x,model"
    )
    table = write("r.csv", f"{for_r}\nrec.wav,0.0,3.0,Troglodytes,Wren,0.9,-1,-1,-1,0.0,1.0,0.1,,BirdNET_V2.4\n")
    assert events(read_annotations(table)) == {"rec.wav": [(0, 3, "Wren")]}
    kaleidoscope = "INDIR,FOLDER,IN FILE,OFFSET,DURATION,scientific_name,common_name,confidence,lat,lon,week"
    table = write("k.csv", f"{kaleidoscope}\n/data,site1,rec1.wav,3.0,3.0,Troglodytes,Wren,0.8,-1,-1,-1\n")
    assert events(read_annotations(table)) == {"/data/site1/rec1.wav": [(3, 6, "Wren")]}
    assert formats(read_annotations(table)) == ["kaleidoscope"]
    library = write(
        "lib.csv", "input,start_time,end_time,species_name,confidence\na.wav,0.0,3.0,Turdus_Blackbird,0.9\n"
    )
    assert events(read_annotations(library)) == {"a.wav": [(0, 3, "Turdus_Blackbird")]}


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


@pytest.mark.parametrize(
    "header",
    [
        "path,start_s,end_s,label",
        "audio_id,start_s,end_s,ebird_code",
        "filename;start;end;labels",
        "file\tstart_time\tend_time\tspecies",
        "filename\tonset\toffset\tevent_label",
        '"File", "Start (s)", "End (s)", "Common Name"',
        "sound.files,start,end,Label",
    ],
)
def test_columns_of_csvs(write: Write, header: str) -> None:
    mark = next(mark for mark in "\t;," if mark in header)
    rows = [mark.join(row) for row in (("b/x.wav", "1.5", "2", "wren"), ("./a.wav", "0", "0.5", "great tit"))]
    table = write("labels.csv", "\ufeff" + "\n".join([header, *rows, "", ""]))
    assert events(read_annotations(table)) == {"a.wav": [(0, 0.5, "great tit")], "b/x.wav": [(1.5, 2, "wren")]}


def test_more_of_csvs(write: Write) -> None:
    """Several labels in a cell, formula guards, Excel's first line, durations, frequencies, quotes in tabs."""
    table = write("a.csv", "path,start,end,labels\na.wav,0,1,wren; robin;\n'=b.wav,0,1,'=x\n")
    assert events(read_annotations(table)) == {"a.wav": [(0, 1, "robin"), (0, 1, "wren")], "=b.wav": [(0, 1, "=x")]}
    table = write("b.csv", 'sep=;\nfile;offset;duration;label;low_f\na.wav;1,5;0,5;"a; b";900\n')
    assert events(read_annotations(table)) == {"a.wav": [(1.5, 2, "a; b")]}
    assert read_annotations(table).events["a.wav"][0].low_hz == 900
    table = write("c.tsv", 'file\tstart\tend\tlabel\na.wav\t0\t1\t"say ""hi"""\nb.wav\t0\t1\t"open\n')
    assert events(read_annotations(table)) == {"a.wav": [(0, 1, 'say "hi"')], "b.wav": [(0, 1, '"open')]}
    table = write("site/d.csv", "start,end,label\n0,1,wren\n")
    assert events(read_annotations(table.parent.parent))["site/d"] == [(0, 1, "wren")]


def test_kaleidoscope(write: Write) -> None:
    """The reviewed labels alone; those of the program where nothing was reviewed."""
    columns = (
        "INDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,Fmin,Fmean,Fmax,DATE,TIME,HOUR,TOP1MATCH*,TOP1DIST,MANUAL ID*"
    )
    start, rest = "C:\\in,site1,a.wav,0,", ",1200,2000,4000,2024-05-01,05:00:00,5,cluster_1,0.3,"
    reviewed = write("cluster.csv", f"{columns}\n{start}1.5,2{rest}wren\n{start}9,2{rest}\n")
    read = read_annotations(reviewed)
    assert events(read) == {"C:/in/site1/a.wav": [(1.5, 3.5, "wren")]}
    assert "1 row whose label is their" not in "".join(read.notes)
    assert f"1 row without a label, left out (the first: {reviewed}, line 3)" in read.notes
    assert "2 rows whose label is their MANUAL ID*, though they have TOP1MATCH* too" in read.notes[0]
    unreviewed = write("id.csv", f"{columns}\n{start}1.5,2{rest}\n")
    assert events(read_annotations(unreviewed)) == {"C:/in/site1/a.wav": [(1.5, 3.5, "cluster_1")]}


def test_lists_of_dcase_and_sed_eval(write: Write) -> None:
    table = write("a.txt", "quiet.wav\naudio/x.wav\t1.589213\t2.38382\tdog\naudio/x.wav\t3\t4\tcat\tm\ta128.wav\n")
    assert events(read_annotations(table)) == {
        "audio/x.wav": [(1.589213, 2.38382, "dog"), (3, 4, "cat")],
        "quiet.wav": [],
    }
    table = write("b.txt", "audio/b003.wav\tstreet\t1.58\t2.38\t(object) banging\tm\ta128.wav\n")
    assert events(read_annotations(table)) == {"audio/b003.wav": [(1.58, 2.38, "(object) banging")]}
    table = write("c.csv", "21.64715,23.00552,alert\n36.9,38.2,cough\n")
    assert events(read_annotations(table)) == {"c": [(21.64715, 23.00552, "alert"), (36.9, 38.2, "cough")]}
    assert formats(read_annotations(table)) == ["list"]
    table = write(
        "d.tsv", "filename\tonset\toffset\tevent_label\nx.wav\t0.5\t1.5\tdog\nquiet.wav\t\t\t\nn.wav\tnan\tnan\tnan\n"
    )
    assert events(read_annotations(table)) == {"n.wav": [], "quiet.wav": [], "x.wav": [(0.5, 1.5, "dog")]}
    assert read_annotations(table).notes == ()


def test_numbers_alone_are_no_list(write: Write) -> None:
    """A header with the numbers of classes, positions, loggers' values; but Audacity's labels may be numbers."""
    for n, content in enumerate(
        ("file,0,1,2\na,1,0,0\n", "a\t47.1\t8.2\t400\n", "0.1,0.2,3\n", "0.1\t0.2\t3\t4\n", "1,2\n")
    ):
        with pytest.raises(InputError, match="has no columns of times"):
            read_annotations(write(f"{n}.csv", content))
    assert events(read_annotations(write("a.txt", "0.5\t1\t3\n2\t3\n"))) == {"a": [(0.5, 1, "3")]}


def test_tables_of_crowsetta(write: Write) -> None:
    """Its generic format numbers annotations in a column of that name."""
    header = "label,onset_s,offset_s,onset_sample,offset_sample,notated_path,annot_path,sequence,annotation"
    table = write("bird1.csv", f"{header}\nSIL,0.0,0.76,,,x/a.wav,a.txt,0,0\ncall,0.76,1.1,,,x/a.wav,a.txt,0,0\n")
    assert events(read_annotations(table)) == {"x/a.wav": [(0, 0.76, "SIL"), (0.76, 1.1, "call")]}


def test_notes_on_labels(write: Write) -> None:
    rows = [
        f"a.wav,{n},{n + 1},{label}\n" for n, label in enumerate(["?", "Unknown", "Great Tit", "great_tit", "wren"])
    ]
    read = read_annotations(write("a.csv", "path,start,end,label\n" + "".join(rows)))
    assert read.label_counts == {"?": 1, "Great Tit": 1, "Unknown": 1, "great_tit": 1, "wren": 1}
    assert read.notes == (
        "2 events with a label for what nobody could tell: ?, Unknown",
        "labels that differ in case or blanks alone, taken as different: 'Great Tit' (1), 'great_tit' (1)",
    )


def test_a_folder_of_everything(write: Write, tmp_path: Path) -> None:
    """What holds no labelled times is skipped by name; folders that machines leave are not looked into."""
    write("site/a.wav", "not read")
    write("site/a.txt", "1\t2\twren\n")
    write("README.txt", 'About "these": recordings, and\tothers\n')
    write("train.csv", "filename,ebird_code,duration\na.wav,wren,10\n")
    write("scores.csv", "file,start_s,end_s,score_wren\na.wav,0,5,0.9\n")
    write("config.json", '{"rate": 16000}')
    write("data.txt", "\0\1\2\3")
    write("__MACOSX/a.txt", "1\t2\twren\n")
    write(".hidden.txt", "1\t2\twren\n")
    read = read_annotations(tmp_path)
    assert events(read) == {"site/a": [(1, 2, "wren")]}
    assert {skip.table.name: skip.reason for skip in read.skipped} == {
        "README.txt": 'has no columns of times: About "these": recordings, and, others',
        "train.csv": "has no columns of times: filename, ebird_code, duration",
        "scores.csv": "has no column of labels: file, start_s, end_s, score_wren",
        "config.json": "has no events as aer predict writes them",
        "data.txt": "is no text",
    }
    assert any(note.startswith("5 files without labelled times, skipped (the first: ") for note in read.notes)
