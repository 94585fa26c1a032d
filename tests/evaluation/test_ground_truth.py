"""Known events as people write them, and what is no event."""

from pathlib import Path

import pytest
from helpers.figures import CLASSES, events

from aer.errors import InputError
from aer.evaluation.ground_truth import GroundTruth, label_targets, of_recordings, read_events, window_targets

HEADER = "audio_id,start_s,end_s,ebird_code\n"


def write_csv(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "events.csv"
    path.write_text(header + rows)
    return path


def test_events_are_read(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "s2,3,4.5,a\ns1,1,2,b\ns2,0.25,1,b\ns2,7,8,strange\ns3,0,1,strange\n")
    truth = read_events(csv, CLASSES)
    assert truth.events == {"s1": events((1, 2, "b")), "s2": events((0.25, 1, "b"), (3, 4.5, "a")), "s3": ()}
    assert truth.unknown == {"strange": 2}
    assert truth.note == "2 known events of no class of the model's, not counted: strange"


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("audio_id,start_s,end_s,label\n", "s,0,1,a\n", "needs the columns audio_id, start_s, end_s, ebird_code"),
        (HEADER, "", "has no rows"),
        (HEADER, "s,0,1,a\ns,-1,2,a\n", "1 of 2 events starts before 0 s; the first in line 3"),
        (HEADER, "s,2,1,a\n", "does not end after its start"),
        (HEADER, "s,1,1,a\n", "does not end after its start"),
        (HEADER, "s,x,1,a\n", "is no number"),
        (HEADER, "s,0,nan,a\n", "is no number"),
        (HEADER, "s,0,inf,a\n", "is no number"),
        (HEADER, "s,0,,a\n", "is no number"),
        (HEADER, ",0,1,a\n", "has no audio_id"),
        (HEADER, "s,0,1, \n", "no ebird_code"),
        (HEADER, "s,0,1,p\ns,0,1,q\n", "has no class of the model's (a, b, c and 1 more); it has p, q"),
    ],
)
def test_events_that_can_not_be_used(tmp_path: Path, header: str, rows: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_events(write_csv(tmp_path, rows, header), CLASSES)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_csv_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        read_events(tmp_path / "events.csv", CLASSES)


def test_recordings_are_named_as_people_do(tmp_path: Path) -> None:
    truth = GroundTruth({"one": events((0, 1, "a")), "b/two.wav": events((2, 3, "a")), "a/three": ()}, {"z": 1})
    csv = tmp_path / "events.csv"
    names = ["a/one.wav", "b/two.wav", "a/three.flac", "a/four.wav"]
    named = of_recordings(truth, names, csv)
    assert named.events == {
        "a/one.wav": truth.events["one"],
        "b/two.wav": truth.events["b/two.wav"],
        "a/three.flac": (),
    }
    assert named.unknown == {"z": 1}
    with pytest.raises(InputError, match=r"1 recording that can't be found: one"):
        of_recordings(truth, names[1:], csv)
    with pytest.raises(InputError, match=r"one may be one of several: a/one.wav, b/one.wav"):
        of_recordings(truth, [*names, "b/one.wav"], csv)
    with pytest.raises(InputError, match="may be one of several"):
        of_recordings(GroundTruth({"one": (), "one.wav": ()}, {}), names, csv)


def test_targets_of_windows_and_recordings() -> None:
    known = {"x": events((0, 1.05, "a"), (1.97, 2.02, "b"))}
    windows = [("x", 0.0, 1.0), ("x", 1.0, 2.0), ("x", 2.0, 3.0), ("y", 0.0, 1.0)]
    assert window_targets(known, windows, "ab").tolist() == [
        [True, False],
        [False, False],
        [False, False],
        [False] * 2,
    ]
    assert window_targets(known, windows, "ab", 0.02).tolist()[1:3] == [[True, True], [False, True]]
    targets, unknown = label_targets([["a", "z"], [], ["b", "a"], ["z", "z"]], "ab")
    assert targets.tolist() == [[True, False], [False, False], [True, True], [False, False]]
    assert unknown == {"z": 2}
