"""Surveys a corpus, without training: folds, duplicates, levels.

A sample is clipped if it is at full scale (|x| >= 32767/32768) and so is one of its neighbours: a single one is what
normalisation to the peak leaves. A recording clips if it has CLIPPED_FROM such samples. Everything is measured on what
is heard of the channels (their mean, or one of them), at the recording's own rate.
"""

import contextlib
import functools
import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aer.audio.channels import LevelMeter
from aer.audio.info import Waveform
from aer.audio.io import Heard, open_stream
from aer.audio.notes import recording_notes
from aer.corpus.discovery import Corpus, check_classes
from aer.corpus.folds import assign_folds
from aer.errors import AudioError, InputError, StoppedError
from aer.utils.channels import MIX, Channels
from aer.utils.parallel import map_files
from aer.utils.progress import ProgressBar

FULL_SCALE = 32767 / 32768
# clipped samples from which a recording clips
CLIPPED_FROM = 10
# RMS of the whole recording
SILENT_BELOW_DBFS = -60.0
DIGEST_BYTES = 16


@dataclass(frozen=True)
class Levels:
    """Measurements of a recording's samples. Decibels are relative to full scale, -inf for digital silence.

    `digest` is that of the samples, in hex: the same for the same audio in WAV and FLAC.
    """

    n_samples: int
    peak_dbfs: float
    rms_dbfs: float
    clipped_samples: int
    digest: str

    @property
    def clips(self) -> bool:
        """Whether enough samples are clipped to be reported."""
        return self.clipped_samples >= CLIPPED_FROM

    @property
    def is_silent(self) -> bool:
        """Whether it is near-silent on the whole."""
        return self.rms_dbfs < SILENT_BELOW_DBFS


@dataclass(frozen=True)
class Survey:
    """A corpus and its measurements. Indices are those of `Corpus.recordings`.

    `levels` has None for a recording that was not decoded or could not be: `failed` says why, by index. `partial` says
    what is missing of those that can be heard in part (without decoding: that are cut short). `duplicates` are groups
    of indices of the same audio. `folds` has the fold of every recording, or is None for the reason `no_folds`.
    Decoding took `decode_s` seconds; None: only headers were read. `notes` says what is odd about recordings.
    """

    corpus: Corpus
    levels: tuple[Levels | None, ...]
    failed: dict[int, str]
    duplicates: tuple[tuple[int, ...], ...]
    folds: tuple[int, ...] | None
    no_folds: str
    n_folds: int
    decode_s: float | None
    partial: dict[int, str] = field(default_factory=dict)
    notes: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def across_classes(self, group: Sequence[int]) -> bool:
        """Tell whether a group of duplicates has different labels."""
        return len({frozenset(self.corpus.recordings[i].labels) for i in group}) > 1

    def across_folds(self, group: Sequence[int]) -> bool:
        """Tell whether a group of duplicates would be trained on and validated on."""
        return self.folds is not None and len({self.folds[i] for i in group}) > 1


def levels(blocks: Iterable[Waveform]) -> Levels:
    """Measure a recording that comes in mono blocks (samples,); how it is cut into blocks makes no difference."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    n_samples, n_clipped, peak, energy = 0, 0, 0.0, 0.0
    # whether the two samples before the block are at full scale; the later one's neighbour is still to come
    edge = np.zeros(2, dtype=bool)
    for block in blocks:
        if not len(block):
            continue
        # adding 0 makes -0 the 0 that it equals
        digest.update((block + np.float32(0)).astype("<f4").tobytes())
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
    """Return how many of (samples,) at full scale, less the first and the last, have a neighbour there."""
    return int(np.count_nonzero(full[1:-1] & (full[:-2] | full[2:])))


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def duplicates(corpus: Corpus, measured: Sequence[Levels | None]) -> tuple[tuple[int, ...], ...]:
    """Return groups of indices of recordings with the same samples at the same rate, in the corpus' order."""
    groups: dict[tuple[int, str], list[int]] = {}
    for index, (recording, level) in enumerate(zip(corpus.recordings, measured, strict=True)):
        if level is not None:
            groups.setdefault((recording.sample_rate, level.digest), []).append(index)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def survey(
    corpus: Corpus,
    n_folds: int,
    fold_seed: int,
    grouped: bool,
    workers: int,
    headers_only: bool = False,
    channels: Channels = MIX,
) -> Survey:
    """Decode every recording (unless `headers_only`) in `workers` processes, and make the folds of a training run.

    A recording that can't be decoded is in `Survey.failed`. Raise StoppedError for Ctrl-C.
    """
    folds, no_folds = None, ""
    try:
        check_classes(corpus)
        folds = tuple(assign_folds(corpus, n_folds, fold_seed, grouped).tolist())
    except InputError as error:
        no_folds = str(error)
    recordings = dict(enumerate(corpus.recordings))
    measured: dict[int, _Measured] = {}
    failed: dict[int, str] = {}
    # what headers alone say
    partial = {index: recording.cut for index, recording in recordings.items() if recording.cut}
    notes = {index: recording.notes for index, recording in recordings.items() if recording.notes}
    began = time.monotonic()
    if not headers_only:
        measured, failed = _measure_all(corpus, workers, channels)
        partial = {index: one.reason for index, one in measured.items() if one.reason}
        notes = {index: one.notes for index, one in measured.items() if one.notes}
    decode_s = None if headers_only else time.monotonic() - began
    all_levels = tuple(measured[index].levels if index in measured else None for index in recordings)
    groups = duplicates(corpus, all_levels)
    return Survey(corpus, all_levels, failed, groups, folds, no_folds, n_folds, decode_s, partial, notes)


@dataclass(frozen=True)
class _Measured:
    """The levels of what can be heard of a recording, what can't ("": nothing), and what is odd about it."""

    levels: Levels
    reason: str
    notes: tuple[str, ...]


def _measure(channels: Channels, band_hz: float, task: tuple[int, Path]) -> _Measured:
    heard, meter = Heard(), LevelMeter()
    with open_stream(task[1], channels=channels, observe=meter.add) as (info, blocks):
        measured = levels(heard.over(blocks))
    if heard.error and not measured.n_samples:
        raise heard.error
    notes = recording_notes(info, meter, channels, band_hz)
    return _Measured(measured, heard.error.reason if heard.error else "", notes)


def _measure_all(corpus: Corpus, workers: int, channels: Channels) -> tuple[dict[int, _Measured], dict[int, str]]:
    """Return what is measured of the recordings, and why the others could not be decoded, by index."""
    measured: dict[int, _Measured] = {}
    failed: dict[int, str] = {}
    tasks = [(index, recording.path) for index, recording in enumerate(corpus.recordings)]
    sizes = [_size_bytes(path) for _, path in tasks]
    measure = functools.partial(_measure, channels, _band_hz(corpus))
    bar = ProgressBar(sum(sizes), "decoding", "B", scaled=True)
    try:
        with bar, contextlib.closing(map_files(measure, tasks, sizes, workers)) as results:
            for (index, _), result in results:
                if isinstance(result, AudioError):
                    failed[index] = result.reason
                else:
                    measured[index] = result
                bar.update(sizes[index])
    except KeyboardInterrupt as cause:
        raise StoppedError("the same command starts again (--quick reads headers only)", cause) from cause
    return dict(sorted(measured.items())), dict(sorted(failed.items()))


def _band_hz(corpus: Corpus) -> float:
    """Return up to where most of the recordings reach: half of the most common sample rate."""
    rates = Counter(recording.sample_rate for recording in corpus.recordings)
    return max(rates, key=lambda rate: (rates[rate], rate)) / 2


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    # gone since its header was read: decoding it says so
    except OSError:
        return 0
