"""Tables of an earlier call do not stay beside those of another one."""

import json
from pathlib import Path

import pytest

from aer.inference.recordings import Recording
from aer.inference.result_store import FOLDER
from aer.outputs import stale

ONE, OTHER = [Recording(Path("a.wav"), "a.wav", 1, 1)], [Recording(Path("a.wav"), "a.wav", 1, 2)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out" / FOLDER).mkdir(parents=True)
    return tmp_path / "out"


def tables(out: Path, *names: str, status: str = "ok") -> list[Path]:
    """What `aer predict` would have written."""
    for name in ("files.csv", *names):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(status)
    return [out / name for name in ("files.csv", *names)]


def there(out: Path) -> set[str]:
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    return found - {stale.TABLES_JSON, "files.csv"}


def test_another_format_of_the_same_leaves_what_is_there(out: Path) -> None:
    assert stale.remove(out, tables(out, "events.csv", "raven/a.txt"), "recipe", ONE) == ""
    assert stale.remove(out, tables(out, "events.json"), "recipe", ONE) == ""
    assert there(out) == {"events.csv", "raven/a.txt", "events.json"}


@pytest.mark.parametrize("changed", [{"recipe": "new"}, {"recordings": OTHER}, {"status": "failed"}])
def test_other_options_recordings_or_results_remove_them(out: Path, changed: dict[str, object]) -> None:
    recipe, recordings = str(changed.get("recipe", "recipe")), changed.get("recordings", ONE)
    stale.remove(out, tables(out, "events.csv", "raven/a.txt", "raven/b.txt"), "recipe", ONE)
    (out / "mine.csv").write_text("")
    (out / "raven/b.txt").write_text("with notes of a listener")
    now = tables(out, "events.csv", status=str(changed.get("status", "ok")))
    line = stale.remove(out, now, recipe, recordings)  # type: ignore[arg-type]
    assert line == "of an earlier call, and changed since, so left as they are: raven/b.txt"
    assert there(out) == {"events.csv", "raven/b.txt", "mine.csv"}


@pytest.mark.parametrize("content", ["", "[]", '{"tables": 1}', '{"key": "x"}', "\udcff"])
def test_a_list_that_is_none(out: Path, content: str) -> None:
    (out / stale.TABLES_JSON).write_text(content, errors="surrogateescape")
    assert stale.remove(out, tables(out, "events.csv"), "recipe", ONE) == ""
    assert there(out) == {"events.csv"}


def test_nothing_outside_is_removed(out: Path) -> None:
    outside = out.parent / "precious.csv"
    outside.write_text("x")
    (out / "a.wav").write_text("x")
    status = outside.stat()
    names = ["../precious.csv", str(outside), "a.wav", "raven/../../precious.csv"]
    listed = {name: [status.st_size, status.st_mtime_ns] for name in names}
    (out / stale.TABLES_JSON).write_text(json.dumps({"key": "x", "tables": listed}))
    stale.remove(out, tables(out), "recipe", ONE)
    assert outside.exists()
    assert (out / "a.wav").exists()
