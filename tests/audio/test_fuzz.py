"""A small share of benchmarks/fuzz_audio.py: 120 damaged recordings, each read or refused by name."""

import sys
from collections import Counter
from pathlib import Path

import fuzz_audio


def test_damaged_recordings_are_read_or_refused_by_name() -> None:
    rows, said = fuzz_audio.fuzz(120, seed=7)
    assert [row for row in rows if row["outcome"] not in ("read", "refused")] == []
    assert said == ""  # decoders don't write to the console by themselves
    assert len(rows) == 120
    assert all(count == 3 for count in Counter((row["format"], row["damage"]) for row in rows).values())
    outcomes = Counter(row["outcome"] for row in rows)
    assert min(outcomes["read"], outcomes["refused"]) > 20, "damage that always or never shows would test little"


READER = """
import json, os, sys, time
for line in sys.stdin:
    name = json.loads(line)
    if name.endswith("crash"):
        os.abort()
    if name.endswith("hang"):
        time.sleep(60)
    print(json.dumps({"outcome": "read", "why": name}), flush=True)
"""


def test_a_crash_or_a_hang_is_pinned_on_its_file(tmp_path: Path) -> None:
    with (tmp_path / "noise").open("w+b") as noise:
        watched = fuzz_audio.Watched(tmp_path / "sound", noise, [sys.executable, "-c", READER])
        try:
            asked = ("a", "crash", "b", "hang", "c")
            outcomes = [watched.ask(Path(name), limit_s=1)[0]["outcome"] for name in asked]
        finally:
            watched.stop()
    assert outcomes == ["read", "crash", "read", "hang", "read"]
