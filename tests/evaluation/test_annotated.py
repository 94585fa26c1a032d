"""Known events in tables of other programs: what recordings are measured on, and what is refused."""

from pathlib import Path

import pytest

from aer.errors import InputError
from aer.evaluation.annotated import HOLD_NOTHING, Annotated, annotated
from aer.inference.recordings import find_recordings

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\n"
CLASSES = ("loud", "quiet")


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for name in ("north/a.wav", "north/b.wav", "south/a.wav"):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "sounds"


def known(path: Path, sounds: Path, label_column: str | None = None) -> Annotated:
    return annotated(path, label_column, find_recordings([sounds]), CLASSES)


def test_tables_beside_their_recordings(sounds: Path) -> None:
    """A recording without a table is not measured; one whose table is empty holds nothing."""
    (sounds / "north/a.Table.1.selections.txt").write_text(
        f"{RAVEN}1\tSpectrogram 1\t1\t1.0\t2.5\tloud\n2\tSpectrogram 1\t1\t2\t3\tstrange\n"
    )
    (sounds / "south/a.Table.1.selections.txt").write_text(RAVEN)
    found = known(sounds, sounds)
    assert [recording.name for recording in found.recordings] == ["north/a.wav", "south/a.wav"]
    ((event,), nothing) = found.truth.events.values()
    assert (event.start_s, event.end_s, event.label, nothing) == (1.0, 2.5, "loud", ())
    assert found.truth.unknown == {"strange": 1}
    assert found.notes == ("1 recording without a table: north/b.wav",)


def test_one_table_of_all(sounds: Path, tmp_path: Path) -> None:
    table = tmp_path / "known.csv"
    table.write_text("filename;onset;offset;event_label\nnorth/b.wav;0,5;1,5;quiet\n")
    found = known(table, sounds)
    assert len(found.recordings) == 3
    assert {name: len(events) for name, events in found.truth.events.items()} == {
        "north/a.wav": 0,
        "north/b.wav": 1,
        "south/a.wav": 0,
    }
    assert found.notes[-2:] == ("2 recordings without a table: north/a.wav, south/a.wav", HOLD_NOTHING)


def test_a_named_column(sounds: Path) -> None:
    table = sounds / "north/b.txt"
    table.write_text(f"{RAVEN[:-1]}\tLevel\n1\tSpectrogram 1\t1\t1.0\t2.5\twren\tloud\n")
    assert [event.label for event in known(table, sounds, "level").truth.events["north/b.wav"]] == ["loud"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "a.wav,0,1,loud\n",
            r"name 1 recording that may be one of several: a\.wav \(north/a\.wav, south/a\.wav\); name",
        ),
        ("north/b.wav,0,1,loud\nc.wav,0,1,loud\n", r"name 1 recording that can't be found: c\.wav$"),
        ("north/b.wav,0,1,wren\n", r"have no class of the model's \(loud, quiet\); they have wren$"),
        ("north/b.wav,,,\n", r"have no class of the model's \(loud, quiet\); they have no event$"),
        (
            "/x/b.wav,0,1,loud\n/y/b.wav,0,1,loud\n",
            r"name 2 recordings that may be one of several: /x/b\.wav \(north/b",
        ),
        ("north/b.wav,1,0,loud\n", r"line 2: ends at 0 s, before its start at 1 s$"),
    ],
)
def test_what_is_refused(sounds: Path, tmp_path: Path, rows: str, message: str) -> None:
    table = tmp_path / "known.csv"
    table.write_text(f"path,start,end,label\n{rows}")
    with pytest.raises(InputError, match=message):
        known(table, sounds)


def test_a_folder_of_tables_of_other_recordings(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/c.txt").write_text("0\t1\tloud\n")
    with pytest.raises(InputError, match=r"labels name 1 recording that can't be found: c$"):
        known(tmp_path / "labels", sounds)
    (tmp_path / "labels/b.txt").write_text("0\t1\tloud\n")
    found = known(tmp_path / "labels", sounds)
    assert [recording.name for recording in found.recordings] == ["north/b.wav"]
    assert "the annotations name 1 recording that can't be found: c" in found.notes
