"""Does the same work with the code of two checkouts and compares all that they write and print, to the byte.

    python benchmarks/same_behaviour.py BEFORE AFTER --python BEFORE_PYTHON AFTER_PYTHON

It trains both models, prepares a raw corpus, recognises with what was trained, gives wrong input to every command, and
lets AFTER resume a training and a recognition that BEFORE began and SIGKILL ended. Everything happens in one folder by
turns, in which `code` and `env` lead to the checkout and its environment: so paths are the same too. Both environments
must hold the same versions of what versions.json names. `--expected FILE` has the messages that were reworded on
purpose, a line each: `old -> new`. The exit status is 1 where anything else differs. It needs a POSIX system.
"""

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # as the tests do: the scripts are no package

from helpers.corpora import FORMATS, SMALL, make_corpus, write_clip  # noqa: E402
from helpers.same import difference, tensorboard_rows  # noqa: E402

from aer.errors import InputError  # noqa: E402
from aer.training import checkpoint_file  # noqa: E402

TIMEOUT_S = 600
OUTPUT = "output"
EXCERPT_LINES = 8
# figures of the machine, not of the work: seconds of an epoch, speeds
TIMES = re.compile(r"\b[\d.,]+(?= s(?:  best so far)?$| times real time| (?:clips|recordings|files)/s)", re.MULTILINE)
TRAIN = {
    "panns": f"code/train_panns.py {SMALL} --corpus corpus --run-dir runs/panns --workers 0 --checkpoint-every-steps 1",
    "resnest": f"code/train_resnest.py {SMALL} --corpus corpus --run-dir runs/resnest --workers 2 --image-height 32 "
    "--mixup.on waveform --loss-func Focal",
}
PREDICT = (
    "-m aer predict runs/panns/best.aer field --out predicted/panns --threshold 0.4 --batch-size 1 --workers 1 "
    "--format csv parquet raven audacity json"
)
PREDICT_BOTH = (
    "-m aer predict runs/panns/best.aer runs/resnest/best.aer field --out predicted/both --threshold 0.3 "
    "--overlap 0.32 --events windows --embeddings --segments predicted/clips --top-n 2"
)
WORK = (
    *TRAIN.values(),
    TRAIN["resnest"],  # again: there is nothing to do
    "-m aer prepare raw/raw_train_audio --workers 2",
    "-m aer prepare raw/raw_train_audio --workers 2",
    "-m aer prepare corpus --out cut --format flac --segment 0.4 --trim-silence 30 --sample-rate 16000",
    "-m aer corpus raw --details corpus.csv --workers 2",
    "-m aer corpus corpus --quick --n-folds 3",
    "-m aer summary runs/panns/best.aer",
    PREDICT,
    PREDICT_BOTH,
    "-m aer evaluate runs/resnest/best.aer corpus --out evaluated --draws 50",
)
# what each command refuses, as the tests of messages have it
BAD_TRAINING = (
    "--batch-size -2", "--bach-size 3", "--batch-size x", "--loss-func nothing", "--optimizer-params {", "--fold 7",
    "--config nowhere.py", "--config bad/config.py", "--corpus nowhere", "--corpus bad/empty", "--corpus bad/one",
    "--csv bad/missing.csv", "--csv bad/several.csv --loss-func CrossEntropy", "--csv bad/columns.csv",
    "--csv bad/short.csv", "--csv bad/utf16.csv", "--csv nowhere.csv", "--batch-size 13", "--optimizer Adamm",
    "--scheduler StepLRR", "--n-folds 30", "--mixed-precision fp16", "--device cuda",
    "--run-dir corpus/robin/robin_0.wav", "--run-dir bad", "--run-dir runs/panns --learning-rate 0.5",
    "--run-dir runs/panns --seed 5", "--pretrained-panns bad/text.pth", "--initial-weights bad/text.pth",
    "--initial-weights nowhere.pth", "--group-by author", "--validation-groups theo", "--mel.f-max-hz 9000",
    "--clip-duration-s 0.01",
)  # fmt: skip
BAD_COMMANDS = (
    "", "nothing", "prepare", "prepare nowhere", "prepare bad", "prepare raw --sample-rate 0",
    "prepare raw --segment nan", "prepare raw --format mp3", "prepare raw --sample-rate 16000",
    "prepare corpus --out raw", "prepare raw --csv nowhere.csv", "prepare bad/broken --out broken", "corpus nowhere",
    "corpus corpus --n-folds 1", "corpus corpus --plot picture.txt", "corpus corpus --csv bad/short.csv",
    "corpus corpus --group-by author", "corpus corpus --workers 0", "sample corpus", "summary nowhere.aer",
    "summary bad/text.aer", "summary bad/cut.aer", "summary corpus", "crossval", "crossval other",
    "crossval panns --batch-size x", "predict field", "predict runs/panns/best.aer",
    "predict runs/panns/best.aer nowhere", "predict bad/text.aer field", "predict bad/cut.aer field",
    "predict runs/panns/best.aer bad/empty", "predict runs/panns/best.aer field --threshold 0.5 --precision 0.9",
    "predict runs/panns/best.aer field --hysteresis 1.5", "predict runs/panns/best.aer field --batch-size 0",
    "predict runs/panns/best.aer field --window 1e300", "predict runs/panns/best.aer field --overlap nan",
    "predict runs/panns/best.aer field --format kaggle",
    "predict runs/panns/best.aer field --format raven --format csv",
    "predict runs/panns/best.aer field --segments field", "predict runs/panns/best.aer field --out bad",
    "predict runs/panns/best.aer field --format xml", "predict runs/resnest/best.aer field --events frames",
    "predict runs/panns/best.aer field --device cuda",
    "predict runs/panns/best.aer field --format kaggle --test-csv bad/short.csv", "evaluate runs/panns/best.aer",
    "evaluate runs/panns/best.aer nowhere", "evaluate runs/panns/best.aer corpus --csv bad/columns.csv",
    "evaluate bad/text.aer corpus", "evaluate runs/panns/best.aer corpus --draws 0",
)  # fmt: skip


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

    def start(self, arguments: str, here: Path) -> "subprocess.Popen[str]":
        """Python with these arguments in `here`; its aer is the one of the checkout."""
        self.enter(here)
        environment = {**os.environ, "PYTHONPATH": str(here / "code"), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        return subprocess.Popen(
            [str(here / "env/bin" / self.python.name), *arguments.split()],
            cwd=here,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: str, here: Path) -> None:
        """Run it to its end; its exit status and what it prints go into a file of `here`/output."""
        process = self.start(arguments, here)
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        number = len(list((here / OUTPUT).iterdir()))
        name = f"{number:03} {re.sub(r'[^a-zA-Z0-9.-]+', '_', arguments.replace(SMALL, ''))[:80]}.txt"
        text = f"exit status {process.returncode}\n{stdout}--- stderr\n{stderr}"
        (here / OUTPUT / name).write_text(text, encoding="utf-8")


def make_inputs(folder: Path) -> None:
    """Corpora, recordings and files that are wrong; copies of them keep their times, which `aer prepare` looks at."""
    (folder / OUTPUT).mkdir(parents=True)
    make_corpus(folder / "corpus")
    raw = make_corpus(folder / "raw/raw_train_audio", clips_per_class=5)
    (raw / "robin/broken.wav").write_bytes(b"RIFF and nothing else")
    (raw / "wren/empty.mp3").write_bytes(b"")
    rows = [f"{path.parent.name},{path.name},XC{i}" for i, path in enumerate(sorted(raw.rglob("*.*")))]
    (folder / "raw/train.csv").write_text("\n".join(["ebird_code,filename,xc_id", *rows, ""]))
    for i in range(8):
        write_clip(folder / f"field/site_{i % 2}/{i}.{FORMATS[i % 4]}", 1000.0 + 500 * i, 1.0 + i, seed=i)
    soundfile.write(folder / "field/silent.wav", np.zeros(8000), 16000)
    (folder / "field/broken.flac").write_bytes(b"fLaC and nothing else")
    make_bad(folder / "bad", folder / "corpus")


def make_bad(bad: Path, corpus: Path) -> None:
    """Files and folders for the command lines that are refused."""
    for name in ("empty/owl", "broken/robin"):
        (bad / name).mkdir(parents=True)
    shutil.copytree(corpus / "robin", bad / "one/robin")
    (bad / "broken/robin/a.wav").write_bytes(b"")
    clips = [f"corpus/{name}/{name}_{i}.wav,{name}" for name in ("robin", "wren") for i in (0, 4, 8)]
    tables = {
        "missing": ["path,labels", *clips, "corpus/gone.wav,wren"],
        "several": ["path,labels", "corpus/robin/robin_1.flac,robin;wren", *clips],
        "columns": ["path,class", *clips],
        "short": ["path,labels", *clips, "corpus/robin/robin_1.flac"],
    }
    for name, lines in tables.items():
        (bad / f"{name}.csv").write_text("\n".join([*lines, ""]))
    (bad / "utf16.csv").write_text("path,labels\n", encoding="utf-16")
    (bad / "config.py").write_text("panns = 3\n")
    for name in ("text.pth", "text.aer"):
        (bad / name).write_text("these are no weights")


def do_all(checkout: Checkout, inputs: Path, here: Path) -> None:
    """All work that is compared, in a fresh copy of the inputs."""
    shutil.copytree(inputs, here)
    for arguments in WORK:
        checkout.run(arguments, here)
    bundle = (here / "runs/panns/best.aer").read_bytes()
    (here / "bad/cut.aer").write_bytes(bundle[: len(bundle) // 2])
    for options in BAD_TRAINING:
        checkout.run(f"code/train_panns.py {SMALL} --corpus corpus --run-dir out {options}", here)
    for options in BAD_COMMANDS:
        checkout.run(f"-m aer {options}", here)


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
    process = checkout.start(arguments, here)
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
    for told, reworded in expected.items():
        old = old.replace(told, reworded)
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
    """Old message -> new one, from lines `old -> new`, which may be items of a list."""
    lines = [] if path is None else path.read_text(encoding="utf-8").splitlines()
    pairs = (line.removeprefix("- ").partition(" -> ") for line in lines if " -> " in line)
    return {old.strip("` "): new.strip("` ") for old, _, new in pairs}


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
