"""Recordings of any length -> events, by models that were trained: `aer predict`.

Recordings are recognised in order, their windows collected into batches, and the result of each is written when its
last window is scored. A second call continues with those that are not done.
"""

import contextlib
import datetime
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from aer.errors import AerError, StoppedError
from aer.inference import result_store
from aer.inference.pipeline import recognise
from aer.inference.plan import Plan
from aer.inference.recordings import Recording
from aer.inference.result_store import Results
from aer.inference.results import FileResult
from aer.utils import lock
from aer.utils.devices import is_out_of_memory
from aer.utils.progress import ProgressBar
from aer.utils.text import counted, printable

# for which processes of torchrun wait for each other
LONGEST_WAIT = datetime.timedelta(days=7)
# recordings, and files, that the summary lists
MOST_LINES = 5


@dataclass(frozen=True)
class Done:
    """The work of one call, over all processes."""

    # recognised now, not before
    n_recordings: int
    # length of these recordings
    audio_s: float
    # time that it took
    seconds: float


@dataclass(frozen=True)
class Processes:
    """The processes that torchrun has started, and which of them this is; a single one without torchrun."""

    rank: int
    n: int

    @classmethod
    def of_environment(cls) -> "Processes":
        """Return what torchrun says in the environment variables RANK and WORLD_SIZE."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes the tables."""
        return self.rank == 0

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Connect the processes for as long as the block runs."""
        if self.n == 1:
            yield
            return
        torch.distributed.init_process_group("gloo")
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.n > 1:
            torch.distributed.barrier()

    def share(self, recordings: Sequence[Recording]) -> Sequence[Recording]:
        """Return those that this process recognises: a similar number of large and small ones for each."""
        if self.n == 1:
            return recordings
        return sorted(recordings, key=lambda recording: -recording.size_bytes)[self.rank :: self.n]

    def sum_when_all_are_done(self, value: float) -> float:
        """Return the sum of the processes' values once all are here: one may have hours more to recognise."""
        if self.n == 1:
            return value
        torch.distributed.monitored_barrier(timeout=LONGEST_WAIT)
        total = torch.tensor(value, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return total.item()


def predict(
    recordings: Sequence[Recording], plan: Plan, out: Path, batch_size: int, threads: int
) -> tuple[Results, Done]:
    """Recognise what is not done yet, write each result below `out`, and return all results to be read from there.

    Under torchrun every process takes its share of the recordings, and all wait for each other. Raise StoppedError for
    Ctrl-C, and AerError where memory is too small or another call writes to `out`.
    """
    processes = Processes.of_environment()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if processes.is_main:
            stack.enter_context(lock.held(out, "--out"))
        (out / result_store.FOLDER).mkdir(parents=True, exist_ok=True)
        stack.enter_context(processes.connected())
        todo = [recording for recording in recordings if not result_store.is_done(out, recording, plan.recipe)]
        # all have looked before one writes
        processes.wait()
        audio_s = _recognise_all(processes.share(todo), plan, out, batch_size, threads, is_quiet=not processes.is_main)
        audio_s = processes.sum_when_all_are_done(audio_s)
    return Results(out, recordings), Done(len(todo), audio_s, time.monotonic() - began)


def _recognise_all(
    todo: Sequence[Recording], plan: Plan, out: Path, batch_size: int, threads: int, is_quiet: bool
) -> float:
    """Write the result of each recording when it is done; return the seconds of audio in them."""
    began, audio_s, n_done = time.monotonic(), 0.0, 0
    total = sum(recording.size_bytes for recording in todo)
    bar = ProgressBar(total, "recognising", "B", scaled=True, stay=True, shown=not is_quiet)

    def advance(n_bytes: float) -> None:
        # a header may promise fewer windows than there are
        bar.update(min(n_bytes, bar.total - bar.n))

    try:
        with bar:
            for recording, result in recognise(todo, plan, batch_size, threads, advance):
                result_store.save(out, recording, plan.recipe, result)
                audio_s, n_done = audio_s + result.duration_s, n_done + 1
                speed = audio_s / (time.monotonic() - began)
                bar.set_postfix_str(f"{n_done} of {len(todo)}, {speed:.0f} times real time")
    except KeyboardInterrupt as cause:
        message = f"{n_done:,} of {len(todo):,} recordings are done; the same command goes on"
        raise StoppedError(message, cause) from cause
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        lower = f"set --batch-size (now {batch_size}) lower, or --window (now {plan.recogniser.window_s:g} s)"
        message = f"out of memory: {lower}; {n_done:,} of {len(todo):,} recordings are done, and kept"
        raise AerError(message) from error
    return audio_s


def summary(results: Iterable[FileResult], done: Done, written: Sequence[Path]) -> str:
    """Return the last lines of `aer predict`. Raise AerError where not one recording could be read."""
    n_events = n_files = n_notes = 0
    bad: list[FileResult] = []
    for result in results:
        n_files, n_events = n_files + 1, n_events + len(result.events)
        n_notes += result.status == "ok" and bool(result.reason)
        if result.status != "ok":
            # without the large arrays, as there may be many of them
            bad.append(replace(result, scores=np.zeros((0, 0), np.float32), embeddings=None))
    if bad and not any(result.status == "partial" for result in bad) and len(bad) == n_files:
        raise AerError(
            f"none of the {n_files:,} recordings could be read; the first: {printable(bad[0].path)}: "
            f"{printable(bad[0].reason)}"
        )
    lines = [f"{counted(n_events, 'event')} in {counted(n_files, 'recording')}{_speed(done)}"]
    if bad:
        lines.append(f"{counted(len(bad), 'recording')} could not be read, or not to their end: files.csv names them")
    lines += [f"  {printable(result.name)}: {result.status}: {printable(result.reason)}" for result in bad[:MOST_LINES]]
    if n_notes:
        lines.append(f"{counted(n_notes, 'recording')} with notes: the column reason of files.csv has them")
    lines += [f"  {printable(path)}" for path in written[:MOST_LINES]]
    if len(written) > MOST_LINES:
        lines.append(f"  and {len(written) - MOST_LINES:,} more files")
    return "\n".join(lines)


def _speed(done: Done) -> str:
    if not done.n_recordings:
        return "; all were done already"
    ratio = done.audio_s / done.seconds
    return f"; {ratio:,.0f} times real time" if ratio >= 10 else f"; {ratio:.1f} times real time"
