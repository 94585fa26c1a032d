"""Labels renamed and left out by a list of the user's."""

from pathlib import Path

import pytest

from aer.corpus.annotations.label_map import label_map, read_label_map
from aer.corpus.annotations.read import read_annotations
from aer.errors import InputError


def test_labels_are_renamed_put_together_and_left_out(tmp_path: Path) -> None:
    table, csv = tmp_path / "a.csv", tmp_path / "map.csv"
    labels = ("Robin", "robin ", "?", "wren", "Robin")
    table.write_text("path,start,end,label\n" + "".join(f"a.wav,{n},{n + 1},{name}\n" for n, name in enumerate(labels)))
    csv.write_text("old,new\nRobin,robin\n?,\nowl,tawny owl\nwren,wren\n")
    mapping = read_label_map(csv)
    assert mapping == {"Robin": "robin", "?": "", "owl": "tawny owl", "wren": "wren"}
    read = read_annotations(table)
    mapped = label_map(read, mapping)
    assert mapped.label_counts == {"robin": 3, "wren": 1}
    assert mapped.notes[len(read.notes) :] == (
        "2 events with another label by the label map: Robin",
        "1 event left out by the label map: ?",
        "labels of the label map that no event has: owl",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("from,to\na,b\n", r"needs the columns old and new; it has from, to$"),
        ("old,new\n,b\n", r"row 1: has no old label$"),
        ("old,new\na,b\na,c\n", r"row 2: a becomes 'c' here and 'b' before$"),
    ],
)
def test_lists_that_say_nothing_clear(tmp_path: Path, content: str, message: str) -> None:
    csv = tmp_path / "map.csv"
    csv.write_text(content)
    with pytest.raises(InputError, match=message):
        read_label_map(csv)
