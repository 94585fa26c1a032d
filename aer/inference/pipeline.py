"""Windows of recordings -> scores -> events, one recording's windows after another's, in batches across recordings."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from aer.inference.events import EventTracker, FrameTimeline, as_events, window_spans
from aer.inference.plan import Work
from aer.inference.recogniser import Output
from aer.inference.recordings import Recording
from aer.inference.results import FileResult
from aer.inference.window_reader import End, Window, read_windows


class _Collector:
    """Puts the scores of one recording's windows together."""

    def __init__(self, recording: Recording, work: Work):
        self.recording = recording
        self.work = work
        # Arrays that grow, as a small block of memory for each batch would lie between the large ones of the model and
        # keep glibc (before 2.38) from using those again: the memory of hours of audio
        self.starts = array("q")
        self.scores = array("f")
        self.embeddings = array("f")
        used = work.recogniser
        self.timeline = FrameTimeline(len(used.classes), used.hop_samples)
        self.tracker = EventTracker(work.thresholds, work.rules, used.hop_samples / used.sample_rate)

    def add(self, start: int, output: Output, place: int) -> None:
        """Takes what the models say of window `place` of a batch, which begins at sample `start`."""
        self.starts.append(start)
        self.scores.frombytes(output.scores[place].tobytes())
        if output.embeddings is not None:
            self.embeddings.frombytes(output.embeddings[place].tobytes())
        if self.work.by_frames and output.frames is not None:
            self.tracker.add(self.timeline.add(start, output.frames[place]))

    def result(self, end: End) -> FileResult:
        """The recording's result, once all of its windows were added."""
        used, rate = self.work.recogniser, self.work.recogniser.sample_rate
        duration_s = end.n_samples / rate
        scores = np.array(self.scores).reshape(-1, len(used.classes))
        embeddings = np.array(self.embeddings).reshape(len(scores), len(self.embeddings) // max(len(scores), 1))
        starts_s = np.array(self.starts, dtype=np.float64) / rate
        if self.work.by_frames:
            self.tracker.add(self.timeline.finish(end.n_samples))
            frame_s = used.hop_samples / rate
            spans = [(s.begin * frame_s, s.end * frame_s, s.place, s.peak) for s in self.tracker.finish()]
        else:
            found = window_spans(scores, self.work.thresholds)
            spans = [(starts_s[w], starts_s[w] + used.window_s, place, score) for w, place, score in found]
        reason = end.reason if end.status != "partial" else f"{end.reason}; scored up to {duration_s:.2f} s"
        return FileResult(
            name=self.recording.name,
            path=str(self.recording.path),
            status=end.status,
            reason=reason,
            duration_s=duration_s,
            events=as_events(spans, used.classes, self._probabilities(spans), duration_s),
            classes=used.classes,
            window_s=used.window_s,
            starts_s=starts_s,
            scores=scores,
            embeddings=embeddings if self.work.embeddings else None,
        )

    def _probabilities(self, spans: Sequence[tuple[float, float, int, float]]) -> list[float | None]:
        found: list[float | None] = [None] * len(spans)
        for place in {span[2] for span in spans}:
            rows = [row for row, span in enumerate(spans) if span[2] == place]
            scores = np.array([spans[row][3] for row in rows])
            for row, value in zip(rows, self.work.recogniser.probabilities(self.work.kind, place, scores), strict=True):
                found[row] = value
        return found


def recognise(
    recordings: Sequence[Recording], work: Work, batch_size: int, threads: int, bar: Any
) -> Iterator[tuple[Recording, FileResult]]:
    """Each recording with its result, in order. The last batch is filled with zeros: all batches are of one size."""
    used = work.recogniser
    sizes = (used.sample_rate, used.window_samples, work.hop_samples)
    collectors: dict[int, _Collector] = {}
    held: list[Window] = []

    def scored() -> None:
        batch = np.zeros((batch_size, used.window_samples), dtype=np.float32)
        inside = [window for window in held if window.waveform is not None]
        for row, window in enumerate(inside):
            batch[row] = window.waveform
        if inside:
            output = used(batch, work.embeddings, work.by_frames)
            for row, window in enumerate(inside):
                collectors[window.recording].add(window.start, output, row)
                bar.update(min(window.share * recordings[window.recording].size_bytes, bar.total - bar.n))

    def ended() -> Iterator[tuple[Recording, FileResult]]:
        for window in held:
            if window.end is not None:
                yield recordings[window.recording], collectors.pop(window.recording).result(window.end)

    with read_windows(recordings, sizes, threads, 2 * batch_size) as windows:
        for window in windows:
            if window.recording not in collectors:
                collectors[window.recording] = _Collector(recordings[window.recording], work)
            held.append(window)
            if sum(item.waveform is not None for item in held) == batch_size:
                scored()
                yield from ended()
                held.clear()
        scored()
        yield from ended()
