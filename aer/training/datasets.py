"""Clips for training and windows for validation, as dicts of tensors. S samples, C classes.

waveform    (S,) float32
targets     (C,) float32, 1 for each class in the recording
clip        ()   int64, the recording's index in `recordings`
unreadable  ()   int64, the index of a recording that could not be read, or -1
reason      text, why it could not be read, or ""
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from aer.audio.info import Waveform
from aer.audio.io import place, read_crop
from aer.audio.windows import window_starts
from aer.corpus.discovery import Recording
from aer.errors import AudioError
from aer.settings import Settings

# what `unreadable` is where there is nothing to complain of
READABLE = -1


def multi_hot(recordings: Sequence[Recording], classes: Sequence[str]) -> Tensor:
    """Return targets (recordings, C), float32: 1 for each label."""
    column = {name: i for i, name in enumerate(classes)}
    targets = torch.zeros(len(recordings), len(classes))
    for row, recording in enumerate(recordings):
        targets[row, [column[label] for label in recording.labels]] = 1
    return targets


class _Recordings(Dataset[dict[str, Any]]):
    """What both datasets know of their recordings."""

    def __init__(self, recordings: Sequence[Recording], classes: Sequence[str], settings: Settings):
        self.recordings = list(recordings)
        self.targets = multi_hot(recordings, classes)
        self.sample_rate = settings.sample_rate
        self.clip_samples = settings.clip_samples
        self.channels = settings.channels

    def _read(self, index: int, start: int) -> Waveform:
        """Return at most a clip's samples of a recording, from `start` (in samples) on; raise AudioError."""
        recording, n_samples = self.recordings[index], self.clip_samples
        if recording.cut:
            # not beyond its end, where the rest is missing
            n_samples = max(min(n_samples, self._n_samples(index) - start), 1)
        start_s, duration_s = start / self.sample_rate, n_samples / self.sample_rate
        return read_crop(recording.path, start_s, duration_s, self.sample_rate, channels=self.channels)

    def _n_samples(self, index: int) -> int:
        """Return a recording's length, from its header, in samples at the sample rate of the model."""
        recording = self.recordings[index]
        own_samples = round(recording.duration_s * recording.sample_rate)
        return own_samples * self.sample_rate // recording.sample_rate

    def _item(self, index: int, waveform: Waveform, unreadable: int = READABLE, reason: str = "") -> dict[str, Any]:
        return {
            "waveform": torch.from_numpy(waveform),
            "targets": self.targets[index],
            "clip": torch.tensor(index),
            "unreadable": torch.tensor(unreadable),
            "reason": reason,
        }


class TrainClips(_Recordings):
    """One random crop of each recording per epoch, drawn from (seed, epoch, recording) and from nothing else.

    A recording shorter than a clip is placed at a random offset in zeros. One that can't be read is replaced by
    another, and `unreadable` says so. Raise AudioError if none can be read.
    """

    def __init__(self, recordings: Sequence[Recording], classes: Sequence[str], settings: Settings):
        super().__init__(recordings, classes, settings)
        self.seed = settings.seed
        # shared memory, so that worker processes that live on from epoch to epoch see it change
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def start_epoch(self, epoch: int) -> None:
        """Draw the crops of this epoch from now on."""
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> dict[str, Any]:
        random = np.random.default_rng([self.seed, int(self.epoch), index])
        try:
            return self._item(index, self._crop(index, random))
        except AudioError as error:
            reason = error
        for other in random.permutation(len(self.recordings)).tolist():
            try:
                return self._item(other, self._crop(other, random), index, reason.reason)
            except AudioError:
                # it is reported when its own turn comes
                continue
        raise AudioError(f"none of the {len(self.recordings)} recordings to train on can be read; {reason}") from reason

    def _crop(self, index: int, random: Generator) -> Waveform:
        """Return a random crop (clip_samples,) of a recording."""
        spare = self._n_samples(index) - self.clip_samples
        crop = self._read(index, int(random.integers(max(spare, 0) + 1)))
        return place(crop, self.clip_samples, int(random.integers(self.clip_samples - len(crop) + 1)))


class ValidationWindows(_Recordings):
    """Fixed windows over whole recordings: one after the other, the last one aligned to the end. Nothing is drawn.

    A recording shorter than a window is centred in zeros. A window that can't be read keeps its index, with zeros for
    a waveform; `unreadable` marks it, and the metrics leave it out.
    """

    def __init__(self, recordings: Sequence[Recording], classes: Sequence[str], settings: Settings):
        super().__init__(recordings, classes, settings)
        self.windows = [
            (index, start) for index in range(len(self.recordings)) for start in self._starts(self._n_samples(index))
        ]

    def _starts(self, n_samples: int) -> list[int]:
        """Return the first samples of the windows over a recording of that length; what is before it is not read."""
        # one that its header says has no samples gets a window too: reading it says what is wrong
        return [max(start, 0) for start in window_starts(max(n_samples, 1), self.clip_samples, self.clip_samples)]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        index, start = self.windows[number]
        try:
            crop = self._read(index, start)
        except AudioError as error:
            return self._item(index, np.zeros(self.clip_samples, dtype=np.float32), index, error.reason)
        return self._item(index, place(crop, self.clip_samples, (self.clip_samples - len(crop)) // 2))


class EpochSampler(Sampler[int]):
    """Every index once, in an order that follows from (seed, epoch) alone."""

    def __init__(self, length: int, seed: int):
        self.length = length
        self.seed = seed
        self.epoch = 0
        self.n_done = 0
        self.generator = torch.Generator()

    def start_epoch(self, epoch: int) -> None:
        """Take the order of this epoch, from its beginning."""
        self.epoch = epoch
        self.n_done = 0

    def start_after(self, n_done: int) -> None:
        """Leave out the first indices of this epoch, which a resumed run has behind it; `len` stays."""
        self.n_done = n_done

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        mixed = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0]
        self.generator.manual_seed(int(mixed))
        yield from torch.randperm(self.length, generator=self.generator)[self.n_done :].tolist()
