"""Recordings of any length -> events, by models that were trained: `aer predict`.

Recordings are gone through in order, their windows put together into batches, and the result of each is written when
its last window is scored. A second call goes on with those that are not done.
"""

import contextlib
import datetime
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from aer.errors import AerError, StoppedError
from aer.inference import result_store
from aer.inference.pipeline import recognise
from aer.inference.plan import Work
from aer.inference.recordings import Recording
from aer.inference.result_store import Results
from aer.inference.results import FileResult
from aer.utils import lock
from aer.utils.devices import is_out_of_memory
from aer.utils.progress import ProgressBar
from aer.utils.text import counted, printable

LONGEST_WAIT = datetime.timedelta(days=7)  # of processes of torchrun for each other


@dataclass(frozen=True)
class Done:
    """What one call has done, over all processes."""

    n_recordings: int  # gone through now
    audio_s: float  # in them
    seconds: float  # that it took


def predict(
    recordings: Sequence[Recording], work: Work, out: Path, batch_size: int, threads: int
) -> tuple[Results, Done]:
    """Recognises what is not done yet, writes each result below `out`, and gives all results to read.

    Under torchrun every process takes its share of the recordings, and all wait for each other. StoppedError for
    Ctrl-C.
    """
    rank, n_ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if rank == 0:
            stack.enter_context(lock.held(out, "--out"))
        (out / result_store.FOLDER).mkdir(parents=True, exist_ok=True)
        if n_ranks > 1:
            torch.distributed.init_process_group("gloo")
            stack.callback(torch.distributed.destroy_process_group)
        todo = [recording for recording in recordings if not result_store.is_done(out, recording, work.recipe)]
        if n_ranks > 1:
            torch.distributed.barrier()  # all have looked before one writes
        mine = sorted(todo, key=lambda recording: -recording.size_bytes)[rank::n_ranks] if n_ranks > 1 else todo
        audio_s = _recognise_all(mine, work, out, batch_size, threads, is_quiet=rank > 0)
        if n_ranks > 1:
            # hours, as one process may have many more windows to go through than another
            torch.distributed.monitored_barrier(timeout=LONGEST_WAIT)
            audio_s = _sum(audio_s)
    return Results(out, recordings), Done(len(todo), audio_s, time.monotonic() - began)


def _sum(value: float) -> float:
    """Over all processes."""
    total = torch.tensor(value, dtype=torch.float64)
    torch.distributed.all_reduce(total)
    return total.item()


def _recognise_all(
    todo: Sequence[Recording], work: Work, out: Path, batch_size: int, threads: int, is_quiet: bool
) -> float:
    """Writes the result of each recording when it is done; gives the seconds of audio in them."""
    began, audio_s, n_done = time.monotonic(), 0.0, 0
    total = sum(recording.size_bytes for recording in todo)
    bar = ProgressBar(total, "recognising", "B", scaled=True, stay=True, shown=not is_quiet)
    try:
        with bar:
            for recording, result in recognise(todo, work, batch_size, threads, bar):
                result_store.save(out, recording, work.recipe, result)
                audio_s, n_done = audio_s + result.duration_s, n_done + 1
                speed = audio_s / (time.monotonic() - began)
                bar.set_postfix_str(f"{n_done} of {len(todo)}, {speed:.0f} times real time")
    except KeyboardInterrupt as cause:
        message = f"{n_done:,} of {len(todo):,} recordings are done; the same command goes on"
        raise StoppedError(message, cause) from cause
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        lower = f"set --batch-size (now {batch_size}) lower, or --window (now {work.recogniser.window_s:g} s)"
        message = f"out of memory: {lower}; {n_done:,} of {len(todo):,} recordings are done, and kept"
        raise AerError(message) from error
    return audio_s


def summary(results: Iterable[FileResult], done: Done, written: Sequence[Path]) -> str:
    """The last lines of `aer predict`. AerError where not one recording could be read."""
    n_events = n_files = 0
    bad: list[FileResult] = []
    for result in results:
        n_files, n_events = n_files + 1, n_events + len(result.events)
        if result.status != "ok":
            bad.append(FileResult(**{**vars(result), "scores": np.zeros((0, 0), np.float32), "embeddings": None}))
    if bad and not any(result.status == "partial" for result in bad) and len(bad) == n_files:
        raise AerError(
            f"none of the {n_files:,} recordings could be read; the first: {printable(bad[0].path)}: "
            f"{printable(bad[0].reason)}"
        )
    ratio = done.audio_s / done.seconds
    times = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
    speed = f"; {times} times real time" if done.n_recordings else "; all were done already"
    lines = [f"{counted(n_events, 'event')} in {counted(n_files, 'recording')}{speed}"]
    lines += [f"{counted(len(bad), 'recording')} could not be read, or not to their end: files.csv names them"] * bool(
        bad
    )
    lines += [f"  {printable(result.name)}: {result.status}: {printable(result.reason)}" for result in bad[:5]]
    lines += [f"  {printable(path)}" for path in written[:5]]
    lines += [f"  and {len(written) - 5:,} more files"] * (len(written) > 5)
    return "\n".join(lines)
