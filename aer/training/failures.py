"""What ends a run, told in one line: memory that runs out, worker processes that die, Ctrl-C and SIGTERM."""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from catalyst import dl

from aer.errors import AerError, InputError, SigtermError, StoppedError
from aer.settings import Settings
from aer.training import checkpoint_file
from aer.training.engine import Engine
from aer.utils.devices import is_out_of_memory
from aer.utils.systems import shell_command

_LOST_WORKER = re.compile(r"DataLoader worker \(pid(\(s\))? [\d, ]+\)")


def memory_advice(batch_size: int, workers: int, goes_on: bool) -> str:
    """What to lower. `goes_on`: the run has a state, which belongs to its batch size."""
    if batch_size >= 4:
        half = batch_size // 2
        advice = f"batch_size is {batch_size}: set --batch-size to {half} or less"
        advice += " with --fresh (a run that goes on keeps its batch size)" if goes_on else ""
    else:
        advice = f"batch_size is {batch_size}, which is hardly too large: lower clip_duration_s"
    return advice + (f", or lower workers (now {workers})" if workers else "")


def lost_worker(error: BaseException) -> str | None:
    """How a loader's worker process ended, if that is what the error says: "killed by SIGKILL"."""
    if not isinstance(error, RuntimeError) or not _LOST_WORKER.search(str(error)):
        return None
    told = f"{error} {error.__cause__ or ''}"  # the handler of SIGCHLD, which knows how, may have been the first
    for number in signal.Signals:
        if f"killed by signal: {signal.strsignal(number)}." in told:
            return f"killed by {number.name}"
    code = re.search(r"exit code (\d+)", told)
    return f"ended with exit status {code[1]}" if code else "ended unexpectedly"


def worker_advice(how: str, batch_size: int, workers: int) -> str:
    """What to do about a worker process that ended so."""
    if "SIGKILL" in how:
        return (
            f"as the system does when memory runs out: lower workers (now {workers}) or batch_size (now {batch_size}), "
            "or give it more memory"
        )
    if "SIGBUS" in how:
        return f"as happens when the shared memory /dev/shm is full: enlarge it, or lower workers (now {workers})"
    return "perhaps by a recording that a decoder can't stand: --workers 0 shows where"


def last_state(run_dir: Path) -> str | None:
    """The newest whole state, from which a run goes on, for a message; None where there never was one."""
    try:
        path, _ = checkpoint_file.find(run_dir / "checkpoints")
        if path is None:
            return None
        content = checkpoint_file.read(path)
    except InputError as error:
        return str(error)
    within = content.get("within")
    steps = "" if within is None else f" and {within['steps'][0]} steps of all processes in the next"
    return f"{path} (epoch {content['epoch']}{steps})"


@contextlib.contextmanager
def told_in_one_line(runner: dl.IRunner, engine: Engine, settings: Settings, run_dir: Path) -> Iterator[None]:
    """Where the run in `run_dir` ends before its time: AerError that says why and how to go on. Bugs stay bugs."""
    try:
        yield
    except AerError:
        raise
    except KeyboardInterrupt as cause:
        # one process tells how to go on for all
        told = _how_to_go_on(settings, run_dir, engine) if engine.is_main_process else "so has the main process"
        raise StoppedError(told, cause) from cause
    except (RuntimeError, MemoryError, OSError) as error:
        kept = last_state(run_dir)
        if how := lost_worker(error):
            advice = worker_advice(how, settings.batch_size, settings.workers)
            what = f"a process that reads audio was {how}" if how.startswith("killed") else f"one of them {how}"
            raise AerError(f"{what}{where(runner)}, {advice}; {kept_state(kept)}") from error
        if is_out_of_memory(error):
            advice = memory_advice(settings.batch_size, settings.workers, kept is not None)
            raise AerError(f"out of memory{where(runner)}; {advice}; {kept_state(kept)}") from error
        raise


def where(runner: dl.IRunner) -> str:
    """ " in epoch 3, step 7 of validation", or nothing before the first epoch."""
    if not runner.epoch_step or runner.loader_key is None:
        return ""
    step = runner.loader_batch_step // runner.engine.num_processes
    return f" in epoch {runner.epoch_step}, step {step}{' of validation' if runner.is_valid_loader else ''}"


def kept_state(state: str | None) -> str:
    """`last_state` as a part of a message."""
    return f"the last good checkpoint is {state}" if state else "there is no checkpoint yet"


def _how_to_go_on(settings: Settings, run_dir: Path, engine: Engine) -> str:
    state = last_state(run_dir)
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    command = continue_command(sys.orig_argv, settings.fresh, run_dir, n_local)
    if engine.num_processes > n_local:
        command = f"{command} (on every machine, with torchrun's other options as before)"
    begins = (
        f"the state is kept in {state}; this goes on from there" if state else "no epoch is done yet; this starts anew"
    )
    return f"{begins}: {command}"


def continue_command(argv: Sequence[str], fresh: bool, run_dir: Path, processes: int = 1) -> str:
    """The shell command that goes on with a run in `run_dir`, which the command line `argv` (python first) began.

    `fresh`: it was begun in a new folder, which is named now. `processes`: it was begun by torchrun on one machine.
    """
    python, *rest = argv
    if fresh:
        kept: list[str] = []
        options = iter(rest)
        for option in options:
            name, has_value, _ = option.replace("_", "-").partition("=")
            if name == "--run-dir":
                if not has_value:
                    next(options, None)
            elif name not in ("--fresh", "--no-fresh"):
                kept.append(option)
        named = any(option == "--fresh" for option in rest)
        rest = [*kept, "--run-dir", str(run_dir), *([] if named else ["--no-fresh"])]
    if processes > 1:
        start = ["torchrun", f"--nproc_per_node={processes}"]
        rest = rest[1:] if rest[:1] == ["-u"] else rest  # torchrun's own
    else:
        start = [python]
    return shell_command([*start, *rest])


@contextlib.contextmanager
def told_how_to_go_on(engine: Engine) -> Iterator[None]:
    """Where another process of the run is lost: AerError with what to do, not the network library's traceback.

    Whichever comes first: the network library's error, or the SIGTERM that torchrun sends to the others.
    """
    process = f"process {engine.process_index + 1} of {engine.num_processes}"
    try:
        yield
    except SigtermError as cause:
        if engine.is_main_process:  # which tells the very command
            raise
        raise StoppedError(
            f"{process}: torchrun has ended it, as it does when another process has ended or the run is to stop; "
            "the same command goes on from the last checkpoint",
            cause,
        ) from cause
    except RuntimeError as error:
        if not engine.is_ddp or not (isinstance(error, torch.distributed.DistError) or "gloo" in str(error)):
            raise
        reason = " ".join(str(error).split()).split(". ")[0]  # the sentences that follow guess at the cause
        raise AerError(
            f"{process}: another process of the run has ended "
            f"({reason}); the same command goes on from the last checkpoint"
        ) from error
