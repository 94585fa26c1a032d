"""Kills runs with SIGKILL, starts them again until they are done, and compares their folders with an undisturbed run's.

    python benchmarks/kill_and_resume.py --runs 30

Half of the kills come at a random time, half while a file is being written (as its `.part` shows up); half take the
worker processes along, as a power cut does, and half the main process alone, as the system does when memory is short.
A start after a kill may be killed too. All draws follow from --seed; when exactly a signal arrives does not.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # as the tests do: the scripts are no package

from helpers.corpora import make_corpus  # noqa: E402
from helpers.same import run_differences  # noqa: E402

RUN_DIR = "run"  # the same name in a folder of its own for each run: settings and checkpoints have it in them
# Three steps an epoch, on 12 clips. Momentum, so that the optimizer has a state; with Adam's, Cnn14 would write 1 GB.
SMALLEST = (
    "--clip-duration-s 0.64 --mel.window-samples 512 --mel.hop-samples 320 --mel.n-mels 32 --batch-size 4 "
    '--n-folds 3 --optimizer SGD --optimizer-params {"momentum":0.9} --learning-rate 1e-3 --keep-best 1 --device cpu '
    "--checkpoint-every-steps 2 --mixup.on spectrogram --waveform-augment.gain-db 6"
)
ONLY_OF = {"panns": "--dropout 0.2 --embedding-dropout 0.5", "resnest": "--image-height 32"}
TIMEOUT_S = 600


@dataclass
class Run:
    """One run with what befell it."""

    kills: int = 0
    while_writing: int = 0
    differences: list[str] = field(default_factory=list)


def start(
    model: str,
    workers: int,
    corpus: Path,
    folder: Path,
    epochs: int = 3,
    begin: Callable[..., subprocess.Popen[Any]] = subprocess.Popen,
    **arguments: Any,
) -> subprocess.Popen[Any]:
    """The script of that model, as a user starts it in `folder`, with its output in `output.txt` there.

    `arguments`: more for `begin`, which is subprocess.Popen or takes what that takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = f"{SMALLEST} {ONLY_OF[model]} --corpus {corpus} --run-dir {RUN_DIR} --workers {workers} --epochs {epochs}"
    with (folder / "output.txt").open("ab") as output:
        return begin(
            [sys.executable, str(ROOT / f"train_{model}.py"), *options.split()],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **arguments,
        )


def parts(folder: Path) -> list[Path]:
    """Files that are being written."""
    return list((folder / RUN_DIR).glob("**/.*.part"))


def kill(process: subprocess.Popen[Any], with_workers: bool) -> None:
    """SIGKILL to the main process and, where asked, to its workers."""
    if with_workers:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait(TIMEOUT_S)


def wait_and_kill(process: subprocess.Popen[Any], folder: Path, duration_s: float, draw: random.Random) -> list[Path]:
    """Kills a process at a drawn moment; returns the files that were half written then. Returns early if it ends."""
    delay_s, n_writes, with_workers = draw.uniform(0, duration_s), draw.randrange(16), draw.random() < 0.5
    while_writing, instant_s = draw.random() < 0.5, draw.uniform(0, 0.2)
    since_s, seen, writing = time.monotonic(), 0, False
    while process.poll() is None:
        if while_writing:
            began, writing = not writing, bool(parts(folder))
            seen += began and writing
            if seen > n_writes:
                time.sleep(instant_s)
                break
        elif time.monotonic() - since_s > delay_s:
            break
        time.sleep(0.002)
    if process.poll() is None:
        kill(process, with_workers)
    return parts(folder)


def killed_run(model: str, workers: int, corpus: Path, folder: Path, duration_s: float, draw: random.Random) -> Run:
    """A run that is killed once at least, and then ends by itself."""
    run = Run()
    kills = draw.choice((1, 1, 2, 3))
    while run.kills < kills:
        process = start(model, workers, corpus, folder)
        half_written = wait_and_kill(process, folder, duration_s, draw)
        if process.returncode == 0 and run.kills == 0:
            shutil.rmtree(folder)  # it was faster than its killer: once more
        elif process.returncode == 0:
            break
        elif process.returncode != -signal.SIGKILL:
            raise SystemExit(f"exit status {process.returncode}, see {folder / 'output.txt'}")
        else:
            run.kills += 1
            run.while_writing += bool(half_written)
    return run


def finish(model: str, workers: int, corpus: Path, folder: Path) -> float:
    """Starts a run and lets it end; returns its seconds."""
    since_s = time.monotonic()
    status = start(model, workers, corpus, folder).wait(TIMEOUT_S)
    if status:
        raise SystemExit(f"exit status {status}, see {folder / 'output.txt'}")
    return time.monotonic() - since_s


def measure(model: str, workers: int, n_runs: int, seed: int, folder: Path) -> list[Run]:
    """Kills and finishes `n_runs` runs in folders below `folder`; each is compared and removed."""
    corpus = folder / "corpus"
    if not corpus.exists():
        make_corpus(corpus)
    whole = folder / f"{model}-{workers}-whole"
    duration_s = finish(model, workers, corpus, whole)
    runs = []
    for number in range(n_runs):
        here = folder / f"{model}-{workers}-{number}"
        run = killed_run(model, workers, corpus, here, duration_s, random.Random(f"{seed} {model} {workers} {number}"))
        finish(model, workers, corpus, here)
        run.differences = run_differences(whole / RUN_DIR, here / RUN_DIR)
        runs.append(run)
        print(
            f"{model}, {workers} workers, run {number}: killed {run.kills} times, {run.while_writing} while writing; "
            f"{'; '.join(run.differences) or 'the same'}",
            flush=True,
        )
        shutil.rmtree(here)
    shutil.rmtree(whole)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="runs for each model and number of workers")
    parser.add_argument("--models", nargs="+", default=["panns", "resnest"], choices=["panns", "resnest"])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rows = ["| model | workers | runs | kills | of them while writing | runs with any difference | time |"]
    rows.append("|---|---|---|---|---|---|---|")
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        for model in chosen.models:
            for workers in chosen.workers:
                since_s = time.monotonic()
                runs = measure(model, workers, chosen.runs, chosen.seed, Path(folder))
                differing += (bad := sum(bool(run.differences) for run in runs))
                rows.append(
                    f"| {model} | {workers} | {len(runs)} | {sum(run.kills for run in runs)} "
                    f"| {sum(run.while_writing for run in runs)} | {bad} "
                    f"| {(time.monotonic() - since_s) / 60:.0f} min |"
                )
    print("\n".join(rows))
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
