"""Recordings decoded in background threads, as windows in a fixed order, while a model works on those before."""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from aer.audio.info import Waveform
from aer.audio.io import open_stream, resampled
from aer.audio.windows import windows
from aer.errors import AudioError, EmptyAudioError
from aer.inference.recordings import Recording
from aer.inference.results import Status

WAIT_S = 0.1  # how often a thread looks whether it is still wanted


@dataclass(frozen=True)
class Window:
    """A window, or the end of a recording where `end` is set."""

    recording: int  # its place among those asked for
    start: int  # sample
    waveform: Waveform | None
    share: float  # of the recording's windows, by its header: for the progress bar
    end: "End | None" = None


@dataclass(frozen=True)
class End:
    """How the reading of a recording ended."""

    status: Status
    reason: str
    n_samples: int  # that were read, at the model's rate


class _Reader(threading.Thread):
    """Decodes one recording into a queue of at most `n_held` windows."""

    def __init__(self, place: int, recording: Recording, sizes: tuple[int, int, int], n_held: int):
        super().__init__(daemon=True, name=f"decoding {recording.name}")
        self.place = place
        self.recording = recording
        self.sample_rate, self.window_samples, self.hop_samples = sizes
        self.queue: queue.SimpleQueue[Window | BaseException] = queue.SimpleQueue()
        self.room = threading.Semaphore(n_held)  # released by whoever takes a window
        self.unwanted = threading.Event()
        self.n_samples = 0
        self.broken: AudioError | None = None
        self.silent = True

    def run(self) -> None:
        try:
            self._decode()
        except BaseException as error:  # noqa: BLE001 - raised again where the windows are asked for
            self.queue.put(error)

    def _decode(self) -> None:
        try:
            if self.recording.trouble:
                raise AudioError(self.recording.trouble)
            with open_stream(self.recording.path) as (info, blocks):
                share = self.hop_samples / max(info.n_samples * self.sample_rate / info.sample_rate, self.hop_samples)
                stream = self._at_model_rate(info.sample_rate, blocks)
                for start, waveform in windows(stream, self.window_samples, self.hop_samples):
                    if not self._put(Window(self.place, start, waveform, share)):
                        return
        except AudioError as error:
            self.broken = error
        self._put(Window(self.place, 0, None, 0.0, self._end()))

    def _end(self) -> End:
        if self.broken is not None:
            if isinstance(self.broken, EmptyAudioError):
                return End("empty", self.broken.reason, 0)
            return End("partial" if self.n_samples else "failed", self.broken.reason, self.n_samples)
        if not self.n_samples:
            return End("empty", f"too short: nothing is left of it at {self.sample_rate} Hz", 0)
        return End("ok", "silent: all its samples are zero" if self.silent else "", self.n_samples)

    def _at_model_rate(self, own_rate: int, blocks: Iterator[Waveform]) -> Iterator[Waveform]:
        """The recording at the model's rate, up to where it breaks.

        As in validation it ends with the last whole sample of that rate; soxr may give half a sample more.
        """
        n_decoded = 0

        def unbroken() -> Iterator[Waveform]:
            nonlocal n_decoded
            try:
                for block in blocks:
                    n_decoded += len(block)
                    self.silent = self.silent and not block.any()
                    yield block
            except AudioError as error:  # what came before it is scored
                self.broken = error

        held = np.zeros(0, np.float32)  # the last block is the one to cut
        for block in resampled(unbroken(), own_rate, self.sample_rate):
            self.n_samples += len(held)
            yield held
            held = block
        held = held[: max(n_decoded * self.sample_rate // own_rate - self.n_samples, 0)]
        self.n_samples += len(held)
        yield held

    def _put(self, item: Window) -> bool:
        while not self.unwanted.is_set():
            if self.room.acquire(timeout=WAIT_S):
                self.queue.put(item)
                return True
        return False


@contextmanager
def read_windows(
    recordings: Sequence[Recording], sizes: tuple[int, int, int], threads: int, n_held: int
) -> Iterator[Iterator[Window]]:
    """The windows of all recordings in their order, each recording's followed by its `End`.

    `sizes`: the model's sample rate, samples of a window, samples from one window to the next. At most `threads`
    recordings are decoded at a time: the one whose turn it is up to `n_held` windows ahead, and those behind it as many
    together, or one each. What a thread raises (but for AudioErrors, which end a recording) is raised here.
    """
    n_behind = max(n_held // threads, 1)
    todo = enumerate(recordings)
    running: deque[_Reader] = deque()

    def start_more() -> None:
        for place, recording in itertools.islice(todo, threads - len(running)):
            running.append(_Reader(place, recording, sizes, n_behind))
            running[-1].start()

    def all_windows() -> Iterator[Window]:
        start_more()
        while running:
            first = running[0]
            first.room.release(max(n_held - n_behind, 1))
            while True:
                item = first.queue.get()
                if isinstance(item, BaseException):
                    raise item
                first.room.release()
                yield item
                if item.end is not None:
                    break
            running.popleft().join()
            start_more()

    try:
        yield all_windows()
    finally:
        for reader in running:
            reader.unwanted.set()
        for reader in running:
            reader.join()
