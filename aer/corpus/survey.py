"""What is in a corpus, without training: sizes, lengths, folds, duplicates, levels.

A sample counts as clipped where it is at full scale (|x| >= 32767/32768) and so is one of its neighbours: one sample
there alone is what normalisation to the peak leaves. A recording clips from CLIPPED_FROM such samples on. All is
measured on the mean of the channels, at the recording's own rate.
"""

import contextlib
import hashlib
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aer.audio.info import Waveform
from aer.audio.io import open_stream
from aer.corpus.discovery import Corpus, check_classes
from aer.corpus.folds import assign_folds
from aer.errors import AudioError, InputError, StoppedError
from aer.utils.parallel import map_files
from aer.utils.progress import ProgressBar

FULL_SCALE = 32767 / 32768
CLIPPED_FROM = 10  # samples
SILENT_BELOW_DBFS = -60.0  # RMS of the whole recording
DIGEST_BYTES = 16


@dataclass(frozen=True)
class Levels:
    """What the samples of a recording say. Decibels are relative to full scale, -inf for digital silence."""

    n_samples: int
    peak_dbfs: float
    rms_dbfs: float
    clipped_samples: int
    digest: str  # of the samples, in hex: the same for the same audio in WAV and FLAC

    @property
    def clips(self) -> bool:
        """Whether enough of it is clipped to be worth a word."""
        return self.clipped_samples >= CLIPPED_FROM

    @property
    def is_silent(self) -> bool:
        """Whether there is next to nothing in it."""
        return self.rms_dbfs < SILENT_BELOW_DBFS


@dataclass(frozen=True)
class Survey:
    """A corpus and what was measured of it. Places are those in `Corpus.recordings`."""

    corpus: Corpus
    levels: tuple[Levels | None, ...]  # of every recording; None: not decoded, or not decodable
    failed: dict[int, str]  # place: why it could not be decoded
    duplicates: tuple[tuple[int, ...], ...]  # places that have the same audio
    folds: tuple[int, ...] | None  # of every recording
    no_folds: str  # why there are none
    n_folds: int
    decode_s: float | None  # seconds that it took; None: only headers were read

    def across_classes(self, group: Sequence[int]) -> bool:
        """Whether the same audio has different labels."""
        return len({frozenset(self.corpus.recordings[place].labels) for place in group}) > 1

    def across_folds(self, group: Sequence[int]) -> bool:
        """Whether the same audio would be trained on and validated on."""
        return self.folds is not None and len({self.folds[place] for place in group}) > 1


def levels(blocks: Iterable[Waveform]) -> Levels:
    """Measures a recording that comes in mono blocks (samples,); how it is cut into blocks makes no difference."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    n_samples, n_clipped, peak, energy = 0, 0, 0.0, 0.0
    edge = np.zeros(2, dtype=bool)  # of the two samples before the block; the later one's neighbour is still to come
    for block in blocks:
        if not len(block):
            continue
        digest.update((block + np.float32(0)).astype("<f4").tobytes())  # makes -0 the 0 that it equals
        magnitude = np.abs(block)
        n_samples += len(block)
        peak = max(peak, float(magnitude.max()))
        energy += float(np.square(block, dtype=np.float64).sum())
        full = np.concatenate([edge, magnitude >= FULL_SCALE])
        n_clipped += _inner_clipped(full)
        edge = full[-2:]
    n_clipped += _inner_clipped(np.append(edge, False))
    rms = math.sqrt(energy / max(n_samples, 1))
    return Levels(n_samples, _decibels(peak), _decibels(rms), n_clipped, digest.hexdigest())


def _inner_clipped(full: NDArray[np.bool_]) -> int:
    """How many at full scale have a neighbour there, (samples,) without the first and the last."""
    return int(np.count_nonzero(full[1:-1] & (full[:-2] | full[2:])))


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def duplicates(corpus: Corpus, measured: Sequence[Levels | None]) -> tuple[tuple[int, ...], ...]:
    """The places of recordings with the same samples at the same rate, a group each, in the corpus' order."""
    groups: dict[tuple[int, str], list[int]] = {}
    for place, (recording, level) in enumerate(zip(corpus.recordings, measured, strict=True)):
        if level is not None:
            groups.setdefault((recording.sample_rate, level.digest), []).append(place)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def survey(
    corpus: Corpus, n_folds: int, fold_seed: int, grouped: bool, workers: int, headers_only: bool = False
) -> Survey:
    """Decodes every recording (unless `headers_only`) and makes the folds that training would make.

    A recording that can't be decoded stands in `failed`. Raises StoppedError for Ctrl-C.
    """
    folds, no_folds = None, ""
    try:
        check_classes(corpus)
        folds = tuple(assign_folds(corpus, n_folds, fold_seed, grouped).tolist())
    except InputError as error:
        no_folds = str(error)
    measured: list[Levels | None] = [None] * len(corpus.recordings)
    failed: dict[int, str] = {}
    began = time.monotonic()
    if not headers_only:
        measured, failed = _measure_all(corpus, workers)
    decode_s = None if headers_only else time.monotonic() - began
    groups = duplicates(corpus, measured)
    return Survey(corpus, tuple(measured), failed, groups, folds, no_folds, n_folds, decode_s)


def _measure(task: tuple[int, Path]) -> Levels:
    with open_stream(task[1]) as (_, blocks):
        return levels(blocks)


def _measure_all(corpus: Corpus, workers: int) -> tuple[list[Levels | None], dict[int, str]]:
    """The levels of every recording, and the reasons of those without, by place."""
    measured: list[Levels | None] = [None] * len(corpus.recordings)
    failed: dict[int, str] = {}
    tasks = [(place, recording.path) for place, recording in enumerate(corpus.recordings)]
    sizes = [_size_bytes(path) for _, path in tasks]
    bar = ProgressBar(sum(sizes), "decoding", "B", scaled=True)
    try:
        with bar, contextlib.closing(map_files(_measure, tasks, sizes, workers)) as results:
            for (place, _), result in results:
                if isinstance(result, AudioError):
                    failed[place] = result.reason
                else:
                    measured[place] = result
                bar.update(sizes[place])
    except KeyboardInterrupt as cause:
        raise StoppedError("the same command starts again (--quick reads headers only)", cause) from cause
    return measured, dict(sorted(failed.items()))


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone since its header was read: decoding it says so
        return 0
