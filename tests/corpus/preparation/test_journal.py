"""The journal's lines: what is read back, and what is skipped."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT

from aer.corpus.preparation import journal
from aer.corpus.preparation.convert import Clip, Converted
from aer.corpus.preparation.journal import Begun, Entry

CLIPS = (Clip("a_000000000.wav", 0.0, 160_000, 3, 320_044), Clip("a_\udce9.wav", 5.5, 9, 0, 62))
ENTRY = Entry(
    "wren/a.mp3", 40_000, 1_700_000_000_123_456_789, "a", "2 32000 wav None 5.0", Converted(44100, 2, 9, CLIPS)
)
BEGUN = Begun("wren/caf\udce9.wav", "café_", "flac", True)


def line(entry: Entry = ENTRY) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(entry, default=vars))
    return content


def read(folder: Path, *lines: object) -> journal.Journal:
    """Read a journal of these lines, text as it is and all else as JSON."""
    path = folder / "journal.jsonl"
    path.write_text("".join(f"{text if isinstance(text, str) else json.dumps(text)}\n" for text in lines))
    found = journal.read(path)
    assert found is not None
    return found


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert journal.read(path) is None
    journal.begin(path, "../raw", [BEGUN])
    with path.open("ab") as file:
        journal.append(file, ENTRY)
    found = journal.read(path)
    assert found is not None
    assert (found.raw, found.begun, found.entries, found.valid) == ("../raw", [BEGUN], [ENTRY], {ENTRY.name: ENTRY})
    before = path.read_bytes()
    journal.write(path, "../raw", found.entries)
    head, _, last = before.splitlines(keepends=True)
    assert path.read_bytes() == head + last


def test_a_line_that_is_cut_off_is_skipped(tmp_path: Path) -> None:
    whole = json.dumps(line())
    for length in range(len(whole)):
        assert not read(tmp_path, whole[:length], {"raw": "x"}).entries
    assert read(tmp_path, whole).entries == [ENTRY]


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the entry's line with another value at `path`; with `...`, without one."""
    content = part = line()
    for key in path[:-1]:
        part = part[key]  # type: ignore[index]
    if value is ...:
        del part[path[-1]]  # type: ignore[arg-type]
    else:
        part[path[-1]] = value  # type: ignore[index]
    return content


NAMES = [("name",), ("stem",), ("made",), ("converted", "clips", 0, "name")]
INTEGERS = [
    ("size_bytes",),
    ("mtime_ns",),
    ("converted", "sample_rate"),
    ("converted", "channels"),
    ("converted", "n_samples"),
    ("converted", "clips", 1, "n_samples"),
    ("converted", "clips", 1, "n_clipped"),
    ("converted", "clips", 1, "size_bytes"),
]
OFFSET = ("converted", "clips", 0, "offset_s")


@pytest.mark.parametrize(
    ("path", "values"),
    [
        *((path, (1, None, True, ["a"], {}, ...)) for path in NAMES),
        *((path, ("1", 1.0, None, True, [], ...)) for path in INTEGERS),
        (OFFSET, ("1", None, True, ...)),
        (("converted",), ([], "text", None, ...)),
        (("converted", "clips"), (7, None, [7], [["a"]], ["text"], ...)),
        (("converted", "clips", 0, "name"), ("../a.wav", "b/a.wav")),
        (("unknown",), (1,)),
        (("converted", "unknown"), (1,)),
        (("converted", "clips", 0, "unknown"), (1,)),
    ],
)
def test_an_entry_of_other_fields_or_types_is_skipped(
    tmp_path: Path, path: tuple[str | int, ...], values: tuple[object, ...]
) -> None:
    for value in values:
        found = read(tmp_path, changed(path, value), {"raw": "x"})
        assert (found.entries, found.valid, found.raw) == ([], {}, "x"), value


def test_a_whole_number_of_seconds_stays_as_it_was_written(tmp_path: Path) -> None:
    found = read(tmp_path, changed(OFFSET, 0))
    assert found.entries == [ENTRY] and type(found.entries[0].converted.clips[0].offset_s) is int


@pytest.mark.parametrize(
    "content",
    [
        *({"name": "a", "stem": "a", "format": "wav", "segmented": value} for value in (1, "yes", None)),
        *({"name": value, "stem": "a", "format": "wav", "segmented": True} for value in (1, None, ["a"])),
        {"name": "a", "stem": "a", "format": "wav"},
        {"name": "a", "stem": "a", "format": "wav", "segmented": True, "unknown": 1},
        [],
        "text",
        None,
    ],
)
def test_a_begun_line_of_other_fields_or_types_is_skipped(tmp_path: Path, content: object) -> None:
    assert not read(tmp_path, {"begun": content}).begun


def test_other_json_is_skipped(tmp_path: Path) -> None:
    found = read(tmp_path, [], 7, "", "null", '"raw"', '["raw"]', {"raw": 5}, {}, line())
    assert (found.raw, found.entries) == (None, [ENTRY])


def test_what_was_begun_anew_is_no_longer_valid(tmp_path: Path) -> None:
    begun = {"name": ENTRY.name, "stem": "a", "format": "wav", "segmented": True}
    found = read(tmp_path, line(), {"begun": begun})
    assert (found.entries, found.valid) == ([ENTRY], {})


def test_a_recording_that_takes_the_stem_of_another_takes_its_clips(tmp_path: Path) -> None:
    other = replace(ENTRY, name="wren/a.wav")
    found = read(tmp_path, line(), line(other))
    assert found.valid == {other.name: other}


def test_which_files_may_be_clips_of_what_was_begun() -> None:
    assert BEGUN.gives("café__000001500.flac") and not BEGUN.gives("café__1500.flac")
    assert not BEGUN.gives("café_.flac") and not BEGUN.gives("café__000001500.wav")
    whole = replace(BEGUN, segmented=False)
    assert whole.gives("café_.flac") and not whole.gives("café__000001500.flac")


def test_neither_workers_nor_their_parent_wait_for_pydantic() -> None:
    code = "import sys; import aer.corpus.preparation.{}; assert 'pydantic' not in sys.modules"
    for module in ("convert", "prepare"):
        subprocess.run([sys.executable, "-c", code.format(module)], cwd=ROOT, check=True)
