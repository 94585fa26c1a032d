"""Many files worked on by several processes, where no file, crash or interruption costs the results of others."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import TypeVar

from aer.errors import AudioError
from aer.utils.signals import interrupts_wait
from aer.utils.systems import MAX_WORKERS, interrupts_blocked, start_method

Item = TypeVar("Item")
Result = TypeVar("Result")

# small files are handed over in chunks of so many bytes, so that this costs little beside the work
CHUNK_BYTES = 4 << 20
CHUNK_FILES = 32
# multiprocessing's tracker removes the semaphores of a killed run, and need not say so
TRACKER_QUIET = "ignore:resource_tracker:UserWarning"
CRASHED = "the process that read it died (a decoder that crashed on it, or too little memory)"


def map_files(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    sizes_bytes: Sequence[int],
    workers: int,
) -> Generator[tuple[Item, Result | AudioError], None, None]:
    """Yield each item with the result of `work`, or with the AudioError that it raised, in the order of completion.

    When a worker dies, the items that were being worked on are done again, one by one, and the one at fault gets an
    AudioError. Other exceptions of `work` are raised. Workers end with this process, however it ends, and at once when
    the iterator is closed. `work` and the items must be picklable. Small files (`sizes_bytes`) go to a worker together.
    """
    todo = deque(_chunks(items, sizes_bytes))
    while todo:
        suspects: list[Item] = []
        yield from _map_chunks(work, todo, workers, suspects)
        for item in suspects:
            alone: list[Item] = []
            yield from _map_chunks(work, deque([[item]]), 1, alone)
            yield from ((item, AudioError(CRASHED)) for item in alone)


def _chunks(items: Sequence[Item], sizes_bytes: Sequence[int]) -> Iterator[list[Item]]:
    """Yield the items in order, in chunks of at most CHUNK_FILES, and of CHUNK_BYTES or a single file."""
    chunk: list[Item] = []
    chunk_bytes = 0
    for item, size_bytes in zip(items, sizes_bytes, strict=True):
        if chunk and (len(chunk) == CHUNK_FILES or chunk_bytes + size_bytes > CHUNK_BYTES):
            yield chunk
            chunk, chunk_bytes = [], 0
        chunk.append(item)
        chunk_bytes += size_bytes
    if chunk:
        yield chunk


def _map_chunks(
    work: Callable[[Item], Result], todo: deque[list[Item]], workers: int, suspects: list[Item]
) -> Iterator[tuple[Item, Result | AudioError]]:
    """Take chunks from `todo` until it is empty or a worker dies; `suspects` then gets the unfinished items."""
    running: dict[Future[list[Result | AudioError]], list[Item]] = {}
    with _pool(min(workers, len(todo), MAX_WORKERS), _module_of(work)) as pool:
        try:
            while todo or running:
                while todo and len(running) < 2 * workers:
                    # this starts workers
                    with interrupts_wait():
                        running[pool.submit(_work_on, work, todo[0])] = todo[0]
                    todo.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    results = future.result()
                    yield from zip(running.pop(future), results, strict=True)
        except BrokenProcessPool:
            suspects.extend(item for chunk in running.values() for item in chunk)


def _work_on(work: Callable[[Item], Result], chunk: list[Item]) -> list[Result | AudioError]:
    results: list[Result | AudioError] = []
    for item in chunk:
        try:
            results.append(work(item))
        except AudioError as error:
            # without the cause, which may not be picklable
            results.append(AudioError(str(error), error.path, error.reason))
    return results


def _module_of(work: Callable[..., object]) -> str:
    return _module_of(work.func) if isinstance(work, functools.partial) else work.__module__


@contextlib.contextmanager
def _pool(workers: int, module: str) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of worker processes that end when this block or this process does."""
    with interrupts_wait():
        start_early(module)
        context = multiprocessing.get_context(start_method())
        reader, writer = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(reader,))
    try:
        yield pool
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


def start_early(module: str) -> None:
    """Start the fork server if it isn't running, so that it imports the module while this process is busy.

    Ctrl-C is blocked in it from the start, and so in the workers. Do nothing on systems without a fork server.
    """
    if start_method() != "forkserver":
        return
    with interrupts_wait():
        _start_server(module)


def _start_server(module: str) -> None:
    # not every system has them
    from multiprocessing import forkserver, resource_tracker

    with _environment(PYTHONWARNINGS=",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), TRACKER_QUIET]))):
        resource_tracker.ensure_running()
    multiprocessing.set_forkserver_preload([module])
    with interrupts_blocked():
        forkserver.ensure_running()


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables for the processes that are started within the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker(parent: Connection) -> None:
    """Prepare a worker: the parent handles Ctrl-C, and the worker ends when the parent's end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        # nothing is ever sent: this returns when the other end is closed, or its process is gone
        parent.poll(None)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
