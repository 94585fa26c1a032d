"""Recordings of any length -> events, by models that were trained: `aer predict`.

Recordings are gone through in order, their windows put together into batches, and the result of each is written when
its last window is scored. A second call goes on with those that are not done.
"""

import contextlib
import datetime
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from aer import lock, parts
from aer.bundle import Bundle, load
from aer.corpus import SUFFIXES
from aer.cut import LIST as SEGMENTS
from aer.cut import is_list
from aer.errors import AerError, InputError, StoppedError
from aer.events import EventRules
from aer.memory import is_out_of_memory
from aer.parts import Recording, Results
from aer.recognise import Work, recognise
from aer.recogniser import Recogniser
from aer.results import FileResult
from aer.text import counted, printable, some

LONGEST_WAIT = datetime.timedelta(days=7)  # of processes of torchrun for each other
RECIPE = 2  # raised when the same models and options would give other results than before


@dataclass(frozen=True)
class Options:
    """How to recognise. None: what the bundles say."""

    window_s: float | None = None
    overlap_s: float | None = None  # default: half a window for frames, else none
    events: str = "auto"  # "frames", "windows"; auto: frames where the models have them
    threshold: float | None = None
    precision: float | None = None
    rules: EventRules = field(default_factory=EventRules)
    embeddings: bool = False


@dataclass(frozen=True)
class Done:
    """What one call has done, over all processes."""

    n_recordings: int  # gone through now
    audio_s: float  # in them
    seconds: float  # that it took


def find_recordings(given: Sequence[Path]) -> list[Recording]:
    """The files, and those in the folders with the name of an audio format, in order, but for hidden ones.

    Names are those below the folder that was given. Links to folders are followed, each folder once; what
    `aer predict --segments` has cut is no recording. A folder that can't be looked into is given too, with its trouble.
    Raises InputError for what is not there, for no recordings at all, and where two would have the same name.
    """
    found: dict[str, Recording] = {}
    names: dict[str, str] = {}  # by place
    for place in given:
        if not place.exists():
            raise InputError(f"{printable(place)} is not there")
        for recording in _below(place) if place.is_dir() else [_recording(place, place.name)]:
            absolute = os.path.abspath(recording.path)  # noqa: PTH100 - links stay
            if absolute in names:
                continue
            if recording.name in found:
                both = f"{printable(found[recording.name].path)} and {printable(recording.path)}"
                name = printable(recording.name)
                raise InputError(f"{both} would both be called {name}: give the folder around both")
            found[recording.name], names[absolute] = recording, recording.name
    if not found:
        raise InputError(f"{some(given)}: no recordings there, by their names")
    return list(found.values())


def _recording(path: Path, name: str) -> Recording:
    try:
        status = path.stat()
    except OSError:  # a link to nowhere: reading it will say so
        return Recording(path, name, 0, 0)
    return Recording(path, name, status.st_size, status.st_mtime_ns)


def _below(folder: Path) -> Iterator[Recording]:
    seen: set[tuple[int, int]] = set()
    closed: list[OSError] = []
    waiting = [folder]
    while waiting:  # links after all that lies in the folder itself
        for here, folders, files in os.walk(waiting.pop(0), onerror=closed.append):
            status = os.stat(here)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen or (here != os.fspath(folder) and is_list(Path(here, SEGMENTS))):
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += [path for name in folders if (path := Path(here, name)).is_symlink()]
            for name in sorted(files):
                path = Path(here, name)
                if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                    yield _recording(path, path.relative_to(folder).as_posix())
    for error in closed:
        path = Path(error.filename)
        name = path.name if path == folder else path.relative_to(folder).as_posix()
        yield Recording(path, name, 0, 0, f"a folder that can't be looked into: {(error.strerror or '').lower()}")


def prepare(bundle_paths: Sequence[Path], options: Options, device: str) -> tuple[Work, list[str]]:
    """Loads the models; gives what to say of them too. InputError where options and models don't fit."""
    bundles = [load(path) for path in bundle_paths]
    return assemble(Recogniser(bundles, options.window_s, device), options)


def assemble(recogniser: Recogniser, options: Options) -> tuple[Work, list[str]]:
    """What `prepare` gives, from models that are loaded."""
    if options.events == "frames" and not recogniser.has_frames:
        raise InputError("--events frames: these models have no frames (PANNs models of one hop have); take windows")
    by_frames = recogniser.has_frames if options.events == "auto" else options.events == "frames"
    overlap_s = options.overlap_s
    if overlap_s is None:
        overlap_s = recogniser.window_s / 2 if by_frames else 0.0
    hop_samples = recogniser.window_samples - round(overlap_s * recogniser.sample_rate)
    if hop_samples < 1:
        raise InputError(f"--overlap {overlap_s:g} must be less than the window of {recogniser.window_s:g} s")
    kind = "frame" if by_frames else "window"
    thresholds, notes = recogniser.thresholds_of(kind, options.threshold, options.precision)
    recipe = _recipe(recogniser.bundles, options, overlap_s, by_frames)
    work = Work(recogniser, by_frames, hop_samples, thresholds, options.rules, options.embeddings, recipe)
    return work, _say(recogniser.bundles, work, overlap_s, notes)


def _recipe(bundles: Iterable[Bundle], options: Options, overlap_s: float, by_frames: bool) -> str:
    """A digest of all that results depend on, beside the recording."""
    told = {
        "recipe": RECIPE,
        "bundles": [bundle.digest for bundle in bundles],
        **asdict(options),
        "overlap_s": overlap_s,
        "events": "frames" if by_frames else "windows",
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _say(bundles: Sequence[Bundle], work: Work, overlap_s: float, notes: dict[str, str]) -> list[str]:
    used = work.recogniser
    lines = [f"{printable(b.path)}: {b.kind}, {len(b.classes)} classes, epoch {b.epoch}" for b in bundles]
    lines.append(
        f"windows of {used.window_s:g} s with {overlap_s:g} s overlap at {used.sample_rate} Hz, events by "
        f"{work.kind}s, on {used.device.type}"
    )
    trained_s = bundles[0].settings.clip_duration_s
    if used.window_s != trained_s:
        lines.append(f"the thresholds come from windows of {trained_s:g} s")
    for name, note in list(notes.items())[:5]:
        place = used.classes.index(name)
        used_instead = f"{work.thresholds[place]:g}" if np.isfinite(work.thresholds[place]) else "none, never reported"
        lines.append(f"threshold of {printable(name)}: {used_instead} ({note})")
    lines += [f"and {len(notes) - 5} more classes without a threshold of their own"] * (len(notes) > 5)
    return lines


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
        (out / parts.FOLDER).mkdir(parents=True, exist_ok=True)
        if n_ranks > 1:
            torch.distributed.init_process_group("gloo")
            stack.callback(torch.distributed.destroy_process_group)
        todo = [recording for recording in recordings if not parts.is_done(out, recording, work.recipe)]
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
    bar = tqdm(total=total, unit="B", unit_scale=True, desc="recognising", disable=True if is_quiet else None)
    try:
        with bar:
            for recording, result in recognise(todo, work, batch_size, threads, bar):
                parts.save(out, recording, work.recipe, result)
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
