"""CSVs and lists as programs write them (headers and odd rows as in public files), read to events written by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.annotations import events, formats, write_table

from aer.corpus.annotations.read import read_annotations
from aer.errors import InputError

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a table to a name below the test's folder."""
    return lambda name, content: write_table(tmp_path / name, content)


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
