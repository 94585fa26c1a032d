"""A run's last words, in one line: memory that runs out, worker processes that die, Ctrl-C and SIGTERM."""

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


def memory_advice(batch_size: int, workers: int, has_state: bool) -> str:
    """Return what to lower. `has_state`: the run can be resumed, but only with its own batch size."""
    if batch_size >= 4:
        half = batch_size // 2
        advice = f"batch_size is {batch_size}: set --batch-size to {half} or less"
        advice += " with --fresh (a run that goes on keeps its batch size)" if has_state else ""
    else:
        advice = f"batch_size is {batch_size}, which is hardly too large: lower clip_duration_s"
    return advice + (f", or lower workers (now {workers})" if workers else "")


def lost_worker(error: BaseException) -> str | None:
    """Return how a loader's worker process ended, if that is what the error says: "killed by SIGKILL"; else None."""
    if not isinstance(error, RuntimeError) or not _LOST_WORKER.search(str(error)):
        return None
    # the handler of SIGCHLD, which knows how, may have been the first
    message = f"{error} {error.__cause__ or ''}"
    for number in signal.Signals:
        if f"killed by signal: {signal.strsignal(number)}." in message:
            return f"killed by {number.name}"
    code = re.search(r"exit code (\d+)", message)
    return f"ended with exit status {code[1]}" if code else "ended unexpectedly"


def worker_advice(how: str, batch_size: int, workers: int) -> str:
    """Return what to do about a worker process that ended as `lost_worker` says."""
    if "SIGKILL" in how:
        return (
            f"as the system does when memory runs out: lower workers (now {workers}) or batch_size (now {batch_size}), "
            "or give it more memory"
        )
    if "SIGBUS" in how:
        return f"as happens when the shared memory /dev/shm is full: enlarge it, or lower workers (now {workers})"
    return "perhaps by a recording that a decoder can't stand: --workers 0 shows where"


def newest_state(run_dir: Path) -> str | None:
    """Describe the newest whole state, from which a run is resumed, for a message; None if there never was one."""
    try:
        path, _ = checkpoint_file.find_state(run_dir / "checkpoints")
        if path is None:
            return None
        content = checkpoint_file.read(path)
    except InputError as error:
        return str(error)
    within = content.get("within")
    steps = "" if within is None else f" and {within['steps'][0]} steps of all processes in the next"
    return f"{path} (epoch {content['epoch']}{steps})"


@contextlib.contextmanager
def explain_failures(runner: dl.IRunner, engine: Engine, settings: Settings, run_dir: Path) -> Iterator[None]:
    """Raise AerError, with the reason and how to resume, where the run in `run_dir` ends early. Bugs stay bugs."""
    try:
        yield
    except AerError:
        raise
    except KeyboardInterrupt as cause:
        # one process gives the advice for all
        advice = _resume_advice(settings, run_dir, engine) if engine.is_main_process else "so has the main process"
        raise StoppedError(advice, cause) from cause
    except (RuntimeError, MemoryError, OSError) as error:
        kept = newest_state(run_dir)
        if how := lost_worker(error):
            advice = worker_advice(how, settings.batch_size, settings.workers)
            what = f"a process that reads audio was {how}" if how.startswith("killed") else f"one of them {how}"
            raise AerError(f"{what}{position(runner)}, {advice}; {state_note(kept)}") from error
        if is_out_of_memory(error):
            advice = memory_advice(settings.batch_size, settings.workers, kept is not None)
            raise AerError(f"out of memory{position(runner)}; {advice}; {state_note(kept)}") from error
        raise


def position(runner: dl.IRunner) -> str:
    """Return " in epoch 3, step 7 of validation", or "" before the first epoch."""
    if not runner.epoch_step or runner.loader_key is None:
        return ""
    step = runner.loader_batch_step // runner.engine.num_processes
    return f" in epoch {runner.epoch_step}, step {step}{' of validation' if runner.is_valid_loader else ''}"


def state_note(state: str | None) -> str:
    """Return what `newest_state` described as a part of a message."""
    return f"the last good checkpoint is {state}" if state else "there is no checkpoint yet"


def _resume_advice(settings: Settings, run_dir: Path, engine: Engine) -> str:
    state = newest_state(run_dir)
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    command = resume_command(sys.orig_argv, settings.fresh, run_dir, n_local)
    if engine.num_processes > n_local:
        command = f"{command} (on every machine, with torchrun's other options as before)"
    begins = (
        f"the state is kept in {state}; this goes on from there" if state else "no epoch is done yet; this starts anew"
    )
    return f"{begins}: {command}"


def resume_command(argv: Sequence[str], fresh: bool, run_dir: Path, processes: int = 1) -> str:
    """Return the shell command that resumes the run in `run_dir`, begun by the command line `argv` (python first).

    `fresh`: it was begun in a new folder, which is named now. `processes`: of torchrun, on one machine; 1: without it.
    """
    python, *rest = argv
    if fresh:
        # where --fresh came from the config module, it must be undone
        undo = [] if "--fresh" in rest else ["--no-fresh"]
        rest = [*_without_folder(rest), "--run-dir", str(run_dir), *undo]
    if processes > 1:
        start = ["torchrun", f"--nproc_per_node={processes}"]
        # torchrun starts python with -u by itself
        rest = rest[1:] if rest[:1] == ["-u"] else rest
    else:
        start = [python]
    return shell_command([*start, *rest])


def _without_folder(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command without those that say in which folder it works."""
    kept = []
    remaining = iter(arguments)
    for argument in remaining:
        name, has_value, _ = argument.replace("_", "-").partition("=")
        if name == "--run-dir":
            if not has_value:
                next(remaining, None)
        elif name not in ("--fresh", "--no-fresh"):
            kept.append(argument)
    return kept


@contextlib.contextmanager
def explain_lost_process(engine: Engine) -> Iterator[None]:
    """Raise AerError with what to do, not the network library's traceback, where another process of the run is lost.

    Two things can come first: the network library's error, or the SIGTERM that torchrun sends to the others.
    """
    process = f"process {engine.process_index + 1} of {engine.num_processes}"
    try:
        yield
    except SigtermError as cause:
        # its error has the very command
        if engine.is_main_process:
            raise
        raise StoppedError(
            f"{process}: torchrun has ended it, as it does when another process has ended or the run is to stop; "
            "the same command goes on from the last checkpoint",
            cause,
        ) from cause
    except RuntimeError as error:
        if not engine.is_ddp or not (isinstance(error, torch.distributed.DistError) or "gloo" in str(error)):
            raise
        # the sentences that follow the first one guess at the cause
        reason = " ".join(str(error).split()).split(". ")[0]
        raise AerError(
            f"{process}: another process of the run has ended "
            f"({reason}); the same command goes on from the last checkpoint"
        ) from error
