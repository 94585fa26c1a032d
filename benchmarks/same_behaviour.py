"""Does the same work with the code of two checkouts and compares all that they write and print, to the byte.

    python benchmarks/same_behaviour.py BEFORE AFTER --python BEFORE_PYTHON AFTER_PYTHON

It trains both models, prepares a raw corpus, recognises with what was trained, gives wrong input to every command, and
lets AFTER resume a training and a recognition that BEFORE began and SIGKILL ended. Everything happens in one folder by
turns, in which `code` and `env` lead to the checkout and its environment: so paths are the same too. Both environments
must hold the same versions of what versions.json names. `--expected FILE` has the messages that were reworded on
purpose, a line each: `old -> new`; CHANGELOG.md will do. The exit status is 1 where anything else differs. It needs a
POSIX system.
"""

import argparse
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]  # as the tests do: the scripts are no package

from helpers.corpora import SMALL  # noqa: E402
from helpers.same import difference, tensorboard_rows  # noqa: E402
from same_behaviour_cases import BAD_COMMANDS, BAD_TRAINING, PREDICT, TRAIN, WORK, make_inputs  # noqa: E402

from aer.errors import InputError  # noqa: E402
from aer.training import checkpoint_file  # noqa: E402

TIMEOUT_S = 600
OUTPUT = "output"
EXCERPT_LINES = 8
# of the moment, not of the work: seconds of an epoch, speeds, times of files in nanoseconds
TIMES = re.compile(
    r"\b[\d.,]+(?= s(?:  best so far)?$| times real time| (?:clips|recordings|files)/s)|\b\d{19}\b", re.MULTILINE
)
REWORDED = re.compile(r"- `([^`]+)` -> `([^`]+)`")
# takes `[file for output, arguments]` as lines of JSON; forks with the packages that take long to import already there
FORKS = """
import json, os, runpy, sys
import catalyst.dl, pydantic, sklearn.metrics, soundfile, torch, tyro

for line in sys.stdin.read().splitlines():
    path, arguments = json.loads(line)
    if os.fork() == 0:
        for number, kind in enumerate((os.devnull, path + ".stdout", path + ".stderr")):
            os.dup2(os.open(kind, os.O_RDWR | os.O_CREAT), number)
        sys.stdin = open(0)
        is_module = arguments[0] == "-m"
        sys.argv = arguments[is_module:]
        if is_module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
        break
    with open(path + ".status", "w") as file:
        file.write(str(os.waitstatus_to_exitcode(os.wait()[1])))
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with aer's code, and the Python that runs it."""

    root: Path
    python: Path

    def enter(self, here: Path) -> None:
        """Let `here`/code and `here`/env lead to this checkout."""
        for name, target in (("code", self.root), ("env", self.python.parents[1])):
            (here / name).unlink(missing_ok=True)
            (here / name).symlink_to(target)

    def start(self, here: Path, *arguments: str, **more: Any) -> "subprocess.Popen[str]":
        """Python with these arguments in `here`; its aer is the one of the checkout. `more`: for subprocess.Popen."""
        self.enter(here)
        environment = {**os.environ, "PYTHONPATH": str(here / "code"), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        command = [str(here / "env/bin" / self.python.name), *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.Popen(command, cwd=here, env=environment, text=True, **streams)

    def run(self, arguments: str, here: Path) -> None:
        """Run it to its end; its exit status and what it prints go into files of `here`/output."""
        process = self.start(here, *arguments.split())
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        path = output(here, arguments)
        for kind, text in (("stdout", stdout), ("stderr", stderr), ("status", str(process.returncode))):
            Path(f"{path}.{kind}").write_text(text, encoding="utf-8")

    def run_all(self, lines: Sequence[str], here: Path) -> None:
        """Run many command lines as `run` does, in forks of one process that has imported torch."""
        process = self.start(here, "-c", FORKS, stdin=subprocess.PIPE)
        jobs = [json.dumps([str(output(here, line, number)), line.split()]) for number, line in enumerate(lines)]
        _, stderr = process.communicate("\n".join(jobs), timeout=TIMEOUT_S * len(lines))
        if process.returncode:
            raise SystemExit(stderr)


def output(here: Path, arguments: str, more: int = 0) -> Path:
    """Where the output of the next command goes, or of the one that comes `more` after it."""
    number = len(list((here / OUTPUT).glob("*.status"))) + more
    return here / OUTPUT / f"{number:03} {re.sub(r'[^a-zA-Z0-9.-]+', '_', arguments.replace(SMALL, ''))[:80]}"


def do_all(checkout: Checkout, inputs: Path, here: Path) -> None:
    """All work that is compared, in a fresh copy of the inputs."""
    shutil.copytree(inputs, here)
    for arguments in WORK:
        checkout.run(arguments, here)
    bundle = (here / "runs/panns/best.aer").read_bytes()
    (here / "bad/cut.aer").write_bytes(bundle[: len(bundle) // 2])
    refused = [f"code/train_panns.py {SMALL} --corpus corpus --run-dir out {options}" for options in BAD_TRAINING]
    checkout.run_all([*refused, *(f"-m aer {options}" for options in BAD_COMMANDS)], here)


def within_second_epoch(here: Path) -> bool:
    """Whether the training's last state lies within its second epoch."""
    try:
        content = checkpoint_file.read(here / "runs/panns/checkpoints/last.pth")
    except InputError:  # it is not there yet
        return False
    return content["epoch"] == 1 and content.get("within") is not None


def some_recordings_done(here: Path) -> bool:
    """Whether a recognition has finished a part of its recordings."""
    return len(list((here / "predicted/panns/parts").glob("*.npz"))) >= 3


def begin_and_kill(checkout: Checkout, arguments: str, here: Path, ripe: Callable[[Path], bool]) -> None:
    """Start it and end it with SIGKILL as soon as `ripe`; SystemExit where it was faster."""
    process = checkout.start(here, *arguments.split())
    while not ripe(here):
        if process.poll() is not None:
            raise SystemExit(f"it ended before it could be killed: {arguments}\n{process.communicate()[1]}")
        time.sleep(0.002)
    process.kill()
    process.communicate()
    if not ripe(here):
        raise SystemExit(f"it was killed too late: {arguments}")


def resume_across(before: Checkout, after: Checkout, inputs: Path, here: Path) -> None:
    """A training and a recognition that `before` begins, SIGKILL ends and `after` finishes."""
    shutil.copytree(inputs, here)
    for arguments, ripe in ((TRAIN["panns"], within_second_epoch), (PREDICT, some_recordings_done)):
        begin_and_kill(before, arguments, here, ripe)
        after.run(arguments, here)


def files_below(folder: Path) -> set[str]:
    """Names of all files, less those of TensorBoard, which have the time in them."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("events.out"))
    return {name for path in paths if not (name := path.relative_to(folder).as_posix()).startswith(("code/", "env/"))}


def excerpt(before: bytes, after: bytes, expected: dict[str, str]) -> str | None:
    """Return what differs, as some lines of a diff; None where only messages that are expected differ."""
    try:
        old, new = (TIMES.sub("N", content.decode()) for content in (before, after))
    except UnicodeDecodeError:
        at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), "the end of one")
        return f"    {len(before)} and {len(after)} bytes, which differ from {at} on"
    for message, reworded in expected.items():
        old = old.replace(message, reworded)
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0))[2:]
    return "\n".join(f"    {line[:200]}" for line in lines[:EXCERPT_LINES]) or (None if old == new else "    line ends")


def compared(before: Path, after: Path, below: str, expected: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    """Each file below a folder of both, with what differs, or None."""
    for name in sorted(files_below(before / below) | files_below(after / below)):
        one, other, where = before / below / name, after / below / name, f"{below}/{name}"
        if not (one.exists() and other.exists()):
            yield where, f"    only {'before' if one.exists() else 'after'}"
        elif one.read_bytes() == other.read_bytes():
            yield where, None
        elif name.endswith(".pth"):
            found = difference(checkpoint_file.load(one), checkpoint_file.load(other))
            yield where, f"    {found}" if found else None
        else:
            yield where, excerpt(one.read_bytes(), other.read_bytes(), expected)
    for folder in sorted({path.parent for path in (before / below).rglob("tensorboard/*")}):
        rows = [tensorboard_rows(root / folder.relative_to(before)) for root in (before, after)]
        yield folder.relative_to(before).as_posix(), None if rows[0] == rows[1] else "    rows differ"


def read_expected(path: Path | None) -> dict[str, str]:
    """Return old message -> new one, from lines `old -> new`, or from CHANGELOG.md, which has both in backticks."""
    lines = [] if path is None else path.read_text(encoding="utf-8").splitlines()
    expected = {}
    for line in lines:
        if quoted := REWORDED.match(line):
            expected[quoted[1]] = quoted[2]
        elif " -> " in line and "`" not in line:
            old, _, new = line.removeprefix("- ").partition(" -> ")
            expected[old.strip()] = new.strip()
    return expected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--python", nargs=2, type=Path, default=[Path(sys.executable)] * 2, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--expected", type=Path, metavar="FILE")
    parser.add_argument("--work", type=Path, help="new folder that keeps what was made; default: a temporary one")
    chosen = parser.parse_args()
    expected = read_expected(chosen.expected)
    # Python's path is not resolved: in a venv it is a link to another one
    before, after = (
        Checkout(root.resolve(), python.absolute())
        for root, python in zip((chosen.before, chosen.after), chosen.python, strict=True)
    )
    with tempfile.TemporaryDirectory() as temporary:
        work = (chosen.work or Path(temporary)).resolve()
        inputs, here = work / "inputs", work / "here"
        make_inputs(inputs)
        (inputs / OUTPUT).mkdir()
        for name, checkout in (("before", before), ("after", after)):
            do_all(checkout, inputs, here)
            here.rename(work / name)
        resume_across(before, after, inputs, here)
        results = list(compared(work / "before", work / "after", ".", expected))
        for below in ("runs/panns", "predicted/panns"):
            results += [(f"resumed: {name}", found) for name, found in compared(work / "before", here, below, expected)]
    for name, found in results:
        print(f"equal: {name}" if found is None else f"differs: {name}\n{found}")
    differing = sum(found is not None for _, found in results)
    print(f"{len(results)} comparisons, {differing} differ")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
