"""Recordings decoded in background threads, as windows in a fixed order, while a model works on those before."""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from aer.audio.channels import LevelMeter
from aer.audio.info import Waveform
from aer.audio.io import Heard, open_stream, resampled
from aer.audio.notes import recording_notes
from aer.audio.windows import windows
from aer.errors import AudioError, EmptyAudioError
from aer.inference.recordings import Recording
from aer.inference.results import Status
from aer.utils.channels import MIX, Channels

# how often a thread that waits for room looks whether it is still wanted
POLL_S = 0.1


class WindowSizes(NamedTuple):
    """The windows that a model takes, and of which channels."""

    # Hz
    sample_rate: int
    window_samples: int
    # from the start of one window to that of the next
    hop_samples: int
    # what is heard of several
    channels: Channels = MIX
    # up to which the model listens; 0: not known
    band_hz: float = 0.0


@dataclass(frozen=True)
class Window:
    """A window, or the end of a recording where `end` is set."""

    # index among the recordings that were asked for
    recording: int
    # first sample, at the model's rate
    start: int
    # (window_samples,)
    waveform: Waveform | None
    # what this is of all windows of the recording, by its header: for the progress bar
    share: float
    end: "End | None" = None


@dataclass(frozen=True)
class End:
    """How the reading of a recording ended."""

    status: Status
    reason: str
    # samples that were read, at the model's rate
    n_samples: int
    # what is odd about what was read
    notes: tuple[str, ...] = ()


class _Reader(threading.Thread):
    """Decodes one recording into a queue of at most `n_held` windows."""

    def __init__(self, index: int, recording: Recording, sizes: WindowSizes, n_held: int):
        super().__init__(daemon=True, name=f"decoding {recording.name}")
        self.index = index
        self.recording = recording
        self.sizes = sizes
        self.queue: queue.SimpleQueue[Window | BaseException] = queue.SimpleQueue()
        # released by whoever takes a window
        self.room = threading.Semaphore(n_held)
        self.unwanted = threading.Event()
        self.heard = Heard()
        self.meter = LevelMeter()
        self.notes: tuple[str, ...] = ()
        # samples at the model's rate
        self.n_samples = 0
        self.silent = True

    def run(self) -> None:
        """Decode the recording; an exception that is not an AudioError goes into the queue."""
        try:
            self._decode()
        except BaseException as error:  # noqa: BLE001 - raised again where the windows are asked for
            self.queue.put(error)

    def take(self) -> Window:
        """Wait for the next window and return it; raise the thread's exception if it has raised one."""
        item = self.queue.get()
        if isinstance(item, BaseException):
            raise item
        self.room.release()
        return item

    def _decode(self) -> None:
        rate, window_samples, hop_samples, channels, band_hz = self.sizes
        try:
            if self.recording.trouble:
                raise AudioError(self.recording.trouble)
            with open_stream(self.recording.path, channels=channels, observe=self.meter.add) as (info, blocks):
                share = hop_samples / max(info.n_samples * rate / info.sample_rate, hop_samples)
                stream = self._at_model_rate(info.sample_rate, blocks)
                for start, waveform in windows(stream, window_samples, hop_samples):
                    if not self._put(Window(self.index, start, waveform, share)):
                        return
                self.notes = recording_notes(info, self.meter, channels, band_hz)
        except AudioError as error:
            self.heard.error = error
        self._put(Window(self.index, 0, None, 0.0, self._end()))

    def _end(self) -> End:
        error = self.heard.error
        if error is not None:
            if isinstance(error, EmptyAudioError):
                return End("empty", error.reason, 0)
            return End("partial" if self.n_samples else "failed", error.reason, self.n_samples, self.notes)
        if not self.n_samples:
            return End("empty", f"too short: nothing is left of it at {self.sizes.sample_rate} Hz", 0)
        return End("ok", "silent: all its samples are zero" if self.silent else "", self.n_samples, self.notes)

    def _at_model_rate(self, own_rate: int, blocks: Iterator[Waveform]) -> Iterator[Waveform]:
        """Yield the recording at the model's rate, up to where it can't be read any further.

        As in validation it ends with the last whole sample of that rate; soxr may give half a sample more.
        """
        # the last block is the one to cut
        held = np.zeros(0, np.float32)
        for block in resampled(self._readable(blocks), own_rate, self.sizes.sample_rate):
            self.n_samples += len(held)
            yield held
            held = block
        held = held[: max(self.heard.n_samples * self.sizes.sample_rate // own_rate - self.n_samples, 0)]
        self.n_samples += len(held)
        yield held

    def _readable(self, blocks: Iterator[Waveform]) -> Iterator[Waveform]:
        """Yield blocks up to an AudioError, which is kept: what came before it is scored."""
        for block in self.heard.over(blocks):
            self.silent = self.silent and not block.any()
            yield block

    def _put(self, item: Window) -> bool:
        """Put a window into the queue once there is room; return False where it is not wanted any more."""
        while not self.unwanted.is_set():
            if self.room.acquire(timeout=POLL_S):
                self.queue.put(item)
                return True
        return False


class _ReaderPool:
    """At most `threads` readers at work: the one whose turn it is, and those of the recordings behind it."""

    def __init__(self, recordings: Sequence[Recording], sizes: WindowSizes, threads: int, n_held: int):
        self.sizes = sizes
        self.threads = threads
        self.n_held = n_held
        self.n_held_behind = max(n_held // threads, 1)
        self.todo = enumerate(recordings)
        self.running: deque[_Reader] = deque()

    def windows(self) -> Iterator[Window]:
        """Yield the windows of all recordings in their order, each recording's followed by its end."""
        self._start_more()
        while self.running:
            reader = self.running[0]
            # its turn has come: it may read further ahead than those behind it
            reader.room.release(max(self.n_held - self.n_held_behind, 1))
            has_ended = False
            while not has_ended:
                window = reader.take()
                yield window
                has_ended = window.end is not None
            self.running.popleft().join()
            self._start_more()

    def stop(self) -> None:
        """End all threads, whether or not their windows were taken."""
        for reader in self.running:
            reader.unwanted.set()
        for reader in self.running:
            reader.join()

    def _start_more(self) -> None:
        for index, recording in itertools.islice(self.todo, self.threads - len(self.running)):
            self.running.append(_Reader(index, recording, self.sizes, self.n_held_behind))
            self.running[-1].start()


@contextmanager
def read_windows(
    recordings: Sequence[Recording], sizes: WindowSizes, threads: int, n_held: int
) -> Iterator[Iterator[Window]]:
    """Yield an iterator over the windows of all recordings in their order, each recording's followed by its `End`.

    At most `threads` recordings are decoded at a time: the one whose turn it is up to `n_held` windows ahead, and
    those behind it as many together, or one each. What a thread raises (but for AudioErrors, which end a recording)
    is raised by the iterator.
    """
    pool = _ReaderPool(recordings, sizes, threads, n_held)
    try:
        yield pool.windows()
    finally:
        pool.stop()
