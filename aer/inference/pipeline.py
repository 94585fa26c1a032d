"""Windows of recordings -> scores -> events, one recording's windows after another's, in batches across recordings."""

from array import array
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from aer.inference.events import EventTracker, FrameTimeline, as_events, window_spans
from aer.inference.plan import Plan
from aer.inference.recogniser import Output
from aer.inference.recordings import Recording
from aer.inference.results import FileResult
from aer.inference.window_reader import End, Window, read_windows

# called with the bytes of recordings that were scored since the last call
Advance = Callable[[float], object]


class _Collector:
    """Puts the scores of one recording's windows together."""

    def __init__(self, recording: Recording, plan: Plan):
        self.recording = recording
        self.plan = plan
        # arrays that grow, as a small block of memory for each batch would lie between the large ones of the model and
        # keep glibc (before 2.38) from using those again: the memory of hours of audio
        self.starts = array("q")
        self.scores = array("f")
        self.embeddings = array("f")
        used = plan.recogniser
        self.timeline = FrameTimeline(len(used.classes), used.hop_samples)
        self.tracker = EventTracker(plan.thresholds, plan.rules, used.hop_samples / used.sample_rate)

    def add(self, start: int, output: Output, row: int) -> None:
        """Add the models' output for window `row` of a batch; the window begins at sample `start`."""
        self.starts.append(start)
        self.scores.frombytes(output.scores[row].tobytes())
        if output.embeddings is not None:
            self.embeddings.frombytes(output.embeddings[row].tobytes())
        if self.plan.by_frames and output.frames is not None:
            self.tracker.add(self.timeline.add(start, output.frames[row]))

    def result(self, end: End) -> FileResult:
        """Return the recording's result, once all of its windows were added."""
        used, rate = self.plan.recogniser, self.plan.recogniser.sample_rate
        duration_s = end.n_samples / rate
        scores = np.array(self.scores).reshape(-1, len(used.classes))
        embeddings = np.array(self.embeddings).reshape(len(scores), len(self.embeddings) // max(len(scores), 1))
        starts_s = np.array(self.starts, dtype=np.float64) / rate
        if self.plan.by_frames:
            self.tracker.add(self.timeline.finish(end.n_samples))
            frame_s = used.hop_samples / rate
            spans = [(s.begin * frame_s, s.end * frame_s, s.class_index, s.peak) for s in self.tracker.finish()]
        else:
            found = window_spans(scores, self.plan.thresholds)
            spans = [(starts_s[w], starts_s[w] + used.window_s, c, score) for w, c, score in found]
        reason = end.reason if end.status != "partial" else f"{end.reason}; scored up to {duration_s:.2f} s"
        return FileResult(
            name=self.recording.name,
            path=str(self.recording.path),
            status=end.status,
            reason="; ".join(filter(None, [reason, *end.notes])),
            duration_s=duration_s,
            events=as_events(spans, used.classes, self._probabilities(spans), duration_s),
            classes=used.classes,
            window_s=used.window_s,
            starts_s=starts_s,
            scores=scores,
            embeddings=embeddings if self.plan.embeddings else None,
        )

    def _probabilities(self, spans: Sequence[tuple[float, float, int, float]]) -> list[float | None]:
        """Return the calibrated probability of each span (start in s, end in s, class, score)."""
        found: list[float | None] = [None] * len(spans)
        recogniser, kind = self.plan.recogniser, self.plan.kind
        for class_index in {span[2] for span in spans}:
            rows = [row for row, span in enumerate(spans) if span[2] == class_index]
            scores = np.array([spans[row][3] for row in rows])
            for row, value in zip(rows, recogniser.probabilities(kind, class_index, scores), strict=True):
                found[row] = value
        return found


class _Batcher:
    """Collects windows across recordings to batches of one size, and the scores of each recording.

    The last batch is filled with zeros, so that all are of one size: scores do not depend on how many there are.
    """

    def __init__(self, recordings: Sequence[Recording], plan: Plan, batch_size: int, advance: Advance):
        self.recordings = recordings
        self.plan = plan
        self.batch_size = batch_size
        self.advance = advance
        # in the order of the recordings, ends among them
        self.held: list[Window] = []
        # among those held
        self.n_waveforms = 0
        # by the index of the recording
        self.collectors: dict[int, _Collector] = {}

    @property
    def is_full(self) -> bool:
        """Whether the windows held make a batch."""
        return self.n_waveforms == self.batch_size

    def add(self, window: Window) -> None:
        """Hold a window, or the end of a recording, for the next batch."""
        if window.recording not in self.collectors:
            self.collectors[window.recording] = _Collector(self.recordings[window.recording], self.plan)
        self.held.append(window)
        self.n_waveforms += window.waveform is not None

    def flush(self) -> Iterator[tuple[Recording, FileResult]]:
        """Score the windows held; yield the recordings that end among them, each with its result."""
        self._score()
        for window in self.held:
            if window.end is not None:
                collector = self.collectors.pop(window.recording)
                yield self.recordings[window.recording], collector.result(window.end)
        self.held.clear()
        self.n_waveforms = 0

    def _score(self) -> None:
        batch = np.zeros((self.batch_size, self.plan.recogniser.window_samples), dtype=np.float32)
        scored = [window for window in self.held if window.waveform is not None]
        for row, window in enumerate(scored):
            batch[row] = window.waveform
        if not scored:
            return
        output = self.plan.recogniser(batch, self.plan.embeddings, self.plan.by_frames)
        for row, window in enumerate(scored):
            self.collectors[window.recording].add(window.start, output, row)
            self.advance(window.share * self.recordings[window.recording].size_bytes)


def recognise(
    recordings: Sequence[Recording], plan: Plan, batch_size: int, threads: int, advance: Advance
) -> Iterator[tuple[Recording, FileResult]]:
    """Yield each recording with its result, in order.

    `threads` decode, while batches of `batch_size` windows go through the models; `advance` is called with the bytes
    of each recording that a scored window stands for.
    """
    batcher = _Batcher(recordings, plan, batch_size, advance)
    with read_windows(recordings, plan.sizes, threads, 2 * batch_size) as windows:
        for window in windows:
            batcher.add(window)
            if batcher.is_full:
                yield from batcher.flush()
        yield from batcher.flush()
