"""Removes tables of an earlier call that this one has not written anew and that no longer hold.

OUT/parts/tables.json keeps which tables were written from what. A call for another format of the same results leaves
the tables that there are; other recordings, models or options make them stale.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from aer.inference.recordings import Recording
from aer.inference.result_store import ADVICE, FOLDER
from aer.utils.files import write_whole
from aer.utils.text import as_bytes, some

TABLES_JSON = f"{FOLDER}/tables.json"
# of all files that `write` writes: those with others are never taken for a table, and so never removed
TABLE_SUFFIXES = (".csv", ".json", ".parquet", ".txt")


def remove(out: Path, written: Sequence[Path], recipe: str, recordings: Sequence[Recording]) -> str:
    """Remove the stale tables below `out`, now that those of this call are `written`, and keep a list of these.

    Stale ones that somebody has changed stay: return a line that names them, or "".
    """
    key = _key(out, recipe, recordings)
    before = _read(out)
    now = {path.relative_to(out).as_posix(): _state(path) for path in written}
    rest = {name: state for name, state in before["tables"].items() if name not in now}
    changed = []
    if before["key"] != key:
        there = {name: state for name, state in rest.items() if (out / name).is_file()}
        changed = [name for name, state in there.items() if _state(out / name) != state]
        for name in there.keys() - set(changed):
            (out / name).unlink()
        rest = {}
    content = as_bytes(json.dumps({"key": key, "tables": rest | now}))
    write_whole(out / TABLES_JSON, lambda file: file.write(content), ADVICE)
    return f"of an earlier call, and changed since, so left as they are: {some(sorted(changed))}" if changed else ""


def _key(out: Path, recipe: str, recordings: Sequence[Recording]) -> str:
    """Return a digest of what tables are made from. files.csv has the status of each recording."""
    identities = [[str(r.path.absolute()), r.name, r.size_bytes, r.mtime_ns] for r in recordings]
    made_from = json.dumps([recipe, identities]).encode() + (out / "files.csv").read_bytes()
    return hashlib.sha256(made_from).hexdigest()


def _state(path: Path) -> list[int]:
    """Return size in bytes and time of the last change in ns."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(out: Path) -> dict[str, Any]:
    """Return the list that the last call kept; an empty one where there is none, or none that can be read."""
    nothing: dict[str, Any] = {"key": "", "tables": {}}
    try:
        listed = json.loads((out / TABLES_JSON).read_bytes())
    except (OSError, ValueError):
        return nothing
    tables = listed.get("tables") if isinstance(listed, Mapping) else None
    if not isinstance(tables, Mapping):
        return nothing
    return {"key": listed.get("key"), "tables": {name: state for name, state in tables.items() if _is_inside(name)}}


def _is_inside(name: str) -> bool:
    """Return whether a name can be a table's: below the folder, and no recording's."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and os.path.splitext(name)[1] in TABLE_SUFFIXES  # noqa: PTH122
