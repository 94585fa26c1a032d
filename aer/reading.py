"""Recordings decoded in background threads, as windows in a fixed order, while a model works on those before."""

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aer.audio import Waveform, open_stream, resampled
from aer.errors import AudioError, EmptyAudioError
from aer.parts import Recording
from aer.results import Status
from aer.text import printable
from aer.windows import windows

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
    """Decodes one recording into a queue that holds a few windows."""

    def __init__(self, place: int, recording: Recording, sizes: tuple[int, int, int], n_held: int):
        super().__init__(daemon=True, name=f"decoding {recording.name}")
        self.place = place
        self.recording = recording
        self.sample_rate, self.window_samples, self.hop_samples = sizes
        self.queue: queue.Queue[Window | BaseException] = queue.Queue(n_held)
        self.unwanted = threading.Event()
        self.n_samples = 0

    def run(self) -> None:
        try:
            self._decode()
        except BaseException as error:  # noqa: BLE001 - raised again where the windows are asked for
            self._put(error)

    def _decode(self) -> None:
        end = End("ok", "", 0)
        try:
            with open_stream(self.recording.path) as (info, blocks):
                counted = self._counted(resampled(blocks, info.sample_rate, self.sample_rate))
                share = self.hop_samples / max(info.n_samples * self.sample_rate / info.sample_rate, self.hop_samples)
                for start, waveform in windows(counted, self.window_samples, self.hop_samples):
                    if not self._put(Window(self.place, start, waveform, share)):
                        return
        except EmptyAudioError as error:
            end = End("empty", self._reason(error), 0)
        except AudioError as error:
            end = End("partial" if self.n_samples else "failed", self._reason(error), 0)
        self._put(Window(self.place, 0, None, 0.0, End(end.status, end.reason, self.n_samples)))

    def _counted(self, blocks: Iterator[Waveform]) -> Iterator[Waveform]:
        for block in blocks:
            self.n_samples += len(block)
            yield block

    def _reason(self, error: AudioError) -> str:
        return str(error).removeprefix(f"{printable(self.recording.path)}: ")

    def _put(self, item: Window | BaseException) -> bool:
        while not self.unwanted.is_set():
            try:
                self.queue.put(item, timeout=WAIT_S)
                return True
            except queue.Full:
                continue
        return False


@contextmanager
def read_windows(
    recordings: Sequence[Recording], sizes: tuple[int, int, int], threads: int, n_held: int
) -> Iterator[Iterator[Window]]:
    """The windows of all recordings in their order, each recording's followed by its `End`.

    `sizes`: the model's sample rate, samples of a window, samples from one window to the next. At most `threads`
    recordings are decoded at a time, each up to `n_held` windows ahead. What a thread raises (but for AudioErrors,
    which end a recording) is raised here.
    """
    todo = deque(_Reader(place, recording, sizes, n_held) for place, recording in enumerate(recordings))
    running: deque[_Reader] = deque()

    def all_windows() -> Iterator[Window]:
        while todo or running:
            while todo and len(running) < threads:
                running.append(todo.popleft())
                running[-1].start()
            while True:
                item = running[0].queue.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if item.end is not None:
                    break
            running.popleft().join()

    try:
        yield all_windows()
    finally:
        for reader in running:
            reader.unwanted.set()
        for reader in running:
            reader.join()
