"""Runs that are killed, started twice, short of disk space, or spread over two processes; in real processes."""

import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import launcher
from helpers.corpora import make_corpus
from helpers.paths import HELPERS, ROOT
from helpers.same import run_differences

from aer.errors import InputError
from aer.training import checkpoint_file
from aer.utils import lock
from benchmarks.kill_and_resume import RUN_DIR, kill, start, wait_and_kill

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, f"waited {timeout_s} s for {what}"
        time.sleep(0.01)


def output(folder: Path) -> str:
    return (folder / "output.txt").read_text()


def test_a_run_survives_kills_a_second_start_and_a_full_disk(tmp_path: Path) -> None:
    corpus, whole, killed = make_corpus(tmp_path / "corpus"), tmp_path / "whole", tmp_path / "killed"
    checkpoints = killed / RUN_DIR / "checkpoints"
    undisturbed = start("resnest", 2, corpus, whole, epochs=2)  # beside the others

    # killed alone, as a checkpoint is being written; its workers live on for some seconds
    first = start("resnest", 2, corpus, killed, epochs=2, begin=launcher.Popen)
    wait_for(lambda: (checkpoints / "last.pth").exists() and bool(list(checkpoints.glob(".*.part"))), "a checkpoint")
    first.send_signal(signal.SIGSTOP)  # or it might end before the second one asks
    assert start("resnest", 2, corpus, killed, epochs=2, begin=launcher.Popen).wait(60) == 2
    owner = f"process {first.pid} on {socket.gethostname()}"
    assert f"\nerror: a run is under way in {RUN_DIR} ({owner}): wait for its end" in output(killed)
    kill(first, with_workers=False)

    # files can't grow beyond 50 MB, and a checkpoint has 200 MB
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50 << 20, 50 << 20))

    assert start("resnest", 0, corpus, killed, epochs=2, preexec_fn=limit).wait(200) == 1, output(killed)
    *_, ending = output(killed).splitlines()
    assert re.match(r"error: can't write run/checkpoints/\S+: .*File too large; make room or name another", ending)
    assert "the same command goes on" in ending
    assert "changed: workers 2 -> 0" in output(killed)
    names = {path.name for path in checkpoints.iterdir()}
    assert "last.pth" in names
    assert not any(name.endswith(".part") for name in names)
    for name in names:
        checkpoint_file.load(checkpoints / name)

    # killed with its workers, at any time
    wait_and_kill(start("resnest", 2, corpus, killed, epochs=2, begin=launcher.Popen), killed, 8, random.Random(1))
    assert start("resnest", 2, corpus, killed, epochs=2, begin=launcher.Popen).wait(200) == 0, output(killed)
    assert f"going on with {RUN_DIR}: " in output(killed)
    assert undisturbed.wait(200) == 0, output(whole)
    assert run_differences(whole / RUN_DIR, killed / RUN_DIR) == []


HOLDER = """
import os, sys, time
from pathlib import Path
from aer.utils import lock
with lock.held(Path(sys.argv[1])):
    child = os.fork()  # as a loader forks its workers
    if child:
        print(os.getpid(), child, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="forks, as loaders do on POSIX systems")
def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        pid, child = map(int, holder.stdout.readline().split())
        with pytest.raises(InputError, match=rf"process {pid} on {re.escape(socket.gethostname())}"):
            lock.held(tmp_path / "run").__enter__()
        holder.kill()
        holder.wait(10)
        os.kill(child, 0)  # still there, and not in the way
        with lock.held(tmp_path / "run"):
            assert (tmp_path / "run" / lock.NAME).read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
        os.kill(child, signal.SIGKILL)
    assert (tmp_path / "run" / lock.NAME).read_text() == ""


def two_processes(*arguments: str, before: tuple[str, ...] = TORCHRUN) -> "subprocess.Popen[str]":
    command = [*before, str(HELPERS / "two_processes.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return launcher.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)


def ranks_of_our_own(*arguments: str) -> "list[subprocess.Popen[str]]":
    """The same with what torchrun sets, and without torchrun, whose processes import torch for seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    several = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        launcher.Popen(
            [sys.executable, HELPERS / "two_processes.py", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank), **several},
        )
        for rank in range(2)
    ]


def test_two_processes_train_and_measure_as_one_does(tmp_path: Path) -> None:
    """Training is compared on a model without batch normalisation: its statistics are those of one process's clips.

    (SyncBatchNorm would make them one, and exists on GPUs only.)
    """
    make_corpus(tmp_path / "corpus")
    alone = [two_processes("quickly", str(tmp_path / "one"), "8", before=(sys.executable,))]
    for done in alone + ranks_of_our_own("quickly", str(tmp_path / "two"), "4"):
        printed, _ = done.communicate(timeout=200)
        assert done.returncode == 0, printed
    one, two = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    assert one["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-4)
    first, second = (json.loads((tmp_path / name / "resnest.json").read_text()) for name in ("one", "two"))
    assert first.keys() == second.keys() == {"loss", "f1", "map"}
    assert second == pytest.approx(first, rel=0, abs=1e-4)


def ranks(torchrun: int) -> dict[int, int]:
    """The processes that torchrun has started: rank -> pid."""
    children = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    environments = {int(pid): Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in children}
    return {
        int(entry.removeprefix(b"RANK=")): pid
        for pid, entries in environments.items()
        for entry in entries
        if entry.startswith(b"RANK=")
    }


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_when_one_of_two_processes_is_killed_the_other_ends_and_the_run_goes_on(tmp_path: Path) -> None:
    whole = ranks_of_our_own("slowly", str(tmp_path / "whole"), "4")
    history = tmp_path / "parts/metrics.csv"
    run = two_processes("slowly", str(tmp_path / "parts"), "4")
    wait_for(history.exists, "an epoch")
    os.kill(ranks(run.pid)[0], signal.SIGKILL)  # the one that writes
    since_s = time.monotonic()
    printed, _ = run.communicate(timeout=60)
    assert time.monotonic() - since_s < 60
    assert run.returncode == 1
    # reported by the network library or by torchrun, whichever was faster
    ending = re.findall("^(?:error|stopped)[:;] (.*)", printed, re.MULTILINE)
    assert len(ending) == 1, printed
    assert re.match("process 2 of 2: (another process of the run has ended|torchrun has ended it)", ending[0])
    assert ending[0].endswith("; the same command goes on from the last checkpoint")
    first, *others = [*ranks_of_our_own("slowly", str(tmp_path / "parts"), "4"), *whole]
    printed, _ = first.communicate(timeout=200)
    assert first.returncode == 0, printed
    assert f"going on with {tmp_path / 'parts'}" in printed
    for process in others:
        printed, _ = process.communicate(timeout=200)
        assert process.returncode == 0, printed
    assert run_differences(tmp_path / "whole", tmp_path / "parts") == []
