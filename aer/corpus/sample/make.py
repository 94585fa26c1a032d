"""Makes the sample corpus: eight made-up birds in the layout of the Birdcall corpora, synthesised from a seed.

The species differ in the shape of their song and in nothing else: pitch, tempo, loudness, echo, background and
signal-to-noise ratio are drawn from the same ranges for all of them (`sounds` has the sounds).

    root/train_mod.csv                                       one row per clip, columns as in Birdcall
    root/resampled_train_audio/<ebird_code>/XC9xxxxx.wav     clips of 2 to 4 s, 16-bit mono
    root/test_data/test.csv                                  one row per 5 s of soundscape: what is to be recognised
    root/test_data/test_audio/<audio_id>.wav                 soundscapes of minutes
    root/test_data/events.csv                                the ground truth: who sings in them, and when
"""

import io
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.random import Generator

from aer.corpus.sample import SAMPLE_SEED
from aer.corpus.sample.sounds import (
    SAMPLE_RATE,
    SPECIES,
    Species,
    Waveform,
    added_at,
    background,
    decibels_to_gain,
    mixed,
    power,
    reverberated,
    samples,
    scaled_to_peak,
    song,
    sounding,
)
from aer.errors import InputError
from aer.utils.progress import track

CLIPS_PER_SPECIES = 48
CLIP_DURATION_S = (2.0, 4.0)
SNR_DB = (0.0, 20.0)
ECHO_DECAY_S = (0.15, 0.8)
# power of the echo relative to the direct sound
ECHO_WET = (0.02, 0.5)
# peak of a clip relative to full scale: loudness says nothing about the species, and nothing clips
PEAK_DB = (-20.0, -1.0)
# audio_id: (site, duration in s)
SOUNDSCAPES = {"soundscape_1": ("site_1", 120), "soundscape_2": ("site_2", 180)}
EVENT_DURATION_S = (1.2, 4.0)
EVENT_PAUSE_S = (1.5, 9.0)
# that the next event starts before this one has ended
OVERLAP_PROBABILITY = 0.15
# seconds per row of test.csv
ROW_S = 5
RECORDISTS = ("A. Marsh", "B. Heath", "C. Wold", "D. Fenn", "E. Combe", "F. Tarn", "G. Copse", "H. Moor")

# keep the random generators of the two apart
_CLIP_STREAM, _SOUNDSCAPE_STREAM = 0, 1


@dataclass(frozen=True)
class Clip:
    """A training clip (samples,) and its signal-to-noise ratio."""

    waveform: Waveform
    snr_db: float


@dataclass(frozen=True)
class Event:
    """One call sequence of one species in a soundscape, in seconds from its start."""

    start_s: float
    end_s: float
    ebird_code: str


@dataclass(frozen=True)
class SampleSummary:
    """The sample corpus that was made; as text, a line for the console."""

    root: Path
    species: tuple[str, ...]
    clips: int
    soundscapes: int
    events: int

    def __str__(self) -> str:
        return (
            f"made {self.root}: {self.clips} clips of {len(self.species)} synthetic species, and {self.soundscapes} "
            f"soundscapes with {self.events} events"
        )


def make_sample_corpus(root: Path, seed: int = SAMPLE_SEED, n_per_species: int = CLIPS_PER_SPECIES) -> SampleSummary:
    """Make the corpus in the new or empty folder `root`, which appears when it is complete and not before.

    The same seed gives the same bytes, and a clip does not depend on `n_per_species`. Raise InputError for numbers out
    of range and for a folder that can't be used.
    """
    if not 1 <= n_per_species <= 9999:
        raise InputError(f"n_per_species must be from 1 to 9999, it is {n_per_species}")
    if seed < 0:
        raise InputError(f"seed must not be negative, it is {seed}")
    with _appearing_at_once(root) as folder:
        clips = _write_clips(folder, seed, n_per_species)
        events = _write_soundscapes(folder / "test_data", seed)
    return SampleSummary(root, tuple(s.ebird_code for s in SPECIES), len(clips), len(SOUNDSCAPES), len(events))


def drawn_snr_db(rng: Generator) -> float:
    """Draw a signal-to-noise ratio from SNR_DB: rather a high one, as people tend to keep recordings of near birds."""
    return float(rng.triangular(SNR_DB[0], SNR_DB[1], SNR_DB[1]))


def make_clip(seed: int, species_index: int, clip_index: int) -> Clip:
    """Return clip `clip_index` of a species: the same whatever else is made, and in whatever order."""
    rng = np.random.default_rng([seed, _CLIP_STREAM, species_index, clip_index])
    dry = song(SPECIES[species_index], rng, rng.uniform(*CLIP_DURATION_S))
    snr_db = drawn_snr_db(rng)
    wave = mixed(_with_echo(dry, rng), background(rng, len(dry)), sounding(dry), snr_db)
    return Clip(scaled_to_peak(wave, decibels_to_gain(rng.uniform(*PEAK_DB))), snr_db)


def make_soundscape(seed: int, soundscape_index: int, duration_s: float) -> tuple[Waveform, list[Event]]:
    """Return a recording (samples,) with calls at random times, each with its own echo and SNR, and its events."""
    rng = np.random.default_rng([seed, _SOUNDSCAPE_STREAM, soundscape_index])
    # of unit power, which the calls' levels refer to
    wave = background(rng, samples(duration_s), far=False)
    events = []
    for species, start_s, length_s in _schedule(rng, duration_s):
        dry = song(species, rng, length_s)
        active = np.flatnonzero(sounding(dry))
        # with time for the echo to decay
        dry = np.append(dry[active[0] : active[-1] + 1], np.zeros(samples(0.5)))
        call = _with_echo(dry, rng)
        gain = decibels_to_gain(drawn_snr_db(rng)) / np.sqrt(power(call[sounding(dry)]))
        start, length = samples(start_s), int(active[-1] + 1 - active[0])
        added_at(wave, gain * call, start)
        events.append(Event(start / SAMPLE_RATE, (start + length) / SAMPLE_RATE, species.ebird_code))
    return scaled_to_peak(wave, decibels_to_gain(PEAK_DB[1])), events


def _with_echo(dry: Waveform, rng: Generator) -> Waveform:
    """Return the sound with an echo whose decay time and share are drawn."""
    return reverberated(dry, rng, rng.uniform(*ECHO_DECAY_S), rng.uniform(*ECHO_WET))


def _schedule(rng: Generator, duration_s: float) -> Iterator[tuple[Species, float, float]]:
    """Yield (species, start in s, length in s) of the events: all species in one order, then in another, and so on."""
    start_s, overlaps = rng.uniform(2.0, 6.0), False
    while True:
        order = rng.permutation(len(SPECIES))
        for index in order:
            length_s = rng.uniform(*EVENT_DURATION_S)
            if start_s + length_s > duration_s - 1.0:
                return
            yield SPECIES[index], start_s, length_s
            # two sing at once, never three, and never a species with itself (it may come first in the next order)
            overlaps = not overlaps and index != order[-1] and rng.random() < OVERLAP_PROBABILITY
            start_s += length_s * rng.uniform(0.4, 0.7) if overlaps else length_s + rng.uniform(*EVENT_PAUSE_S)


def _write_clips(folder: Path, seed: int, n_per_species: int) -> pd.DataFrame:
    """Write the clips and train_mod.csv; return its rows."""
    rows = []
    indices = np.ndindex(len(SPECIES), n_per_species)
    for species_index, clip_index in track(indices, len(SPECIES) * n_per_species, "sample corpus", "clip"):
        species, clip = SPECIES[species_index], make_clip(seed, species_index, clip_index)
        xc_id = 900_000 + 10_000 * species_index + clip_index
        name = f"XC{xc_id}.wav"
        _write_wav(folder / "resampled_train_audio" / species.ebird_code / name, clip.waveform)
        rows.append(
            {
                "ebird_code": species.ebird_code,
                "filename": name,
                "xc_id": xc_id,
                "species": species.name,
                "author": RECORDISTS[clip_index % len(RECORDISTS)],
                "rating": 1 + round(4 * (clip.snr_db - SNR_DB[0]) / (SNR_DB[1] - SNR_DB[0])),
                "duration": round(len(clip.waveform) / SAMPLE_RATE, 3),
                "resampled_filename": name,
                "resampled_sampling_rate": SAMPLE_RATE,
                "resampled_channels": "1 (mono)",
            }
        )
    return _write_csv(folder / "train_mod.csv", rows)


def _write_soundscapes(folder: Path, seed: int) -> pd.DataFrame:
    """Write the soundscapes, test.csv and events.csv; return the rows of the latter."""
    rows: list[dict[str, Any]] = []
    ground_truth: list[dict[str, Any]] = []
    for index, (audio_id, (site, duration_s)) in enumerate(SOUNDSCAPES.items()):
        wave, events = make_soundscape(seed, index, duration_s)
        _write_wav(folder / "test_audio" / f"{audio_id}.wav", wave)
        for end_s in range(ROW_S, duration_s + 1, ROW_S):
            rows.append({"site": site, "row_id": f"{site}_{audio_id}_{end_s}", "seconds": end_s, "audio_id": audio_id})
        for event in events:
            times_s = {"start_s": round(event.start_s, 3), "end_s": round(event.end_s, 3)}
            ground_truth.append({"audio_id": audio_id, **times_s, "ebird_code": event.ebird_code})
    _write_csv(folder / "test.csv", rows)
    return _write_csv(folder / "events.csv", ground_truth)


def _write_wav(path: Path, wave: Waveform) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # written by Python, so that a full disk is an OSError with its reason
    encoded = io.BytesIO()
    soundfile.write(encoded, wave, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    path.write_bytes(encoded.getvalue())


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    path.write_text(table.to_csv(index=False, lineterminator="\n"), encoding="utf-8", newline="\n")
    return table


@contextmanager
def _appearing_at_once(root: Path) -> Iterator[Path]:
    """Make a folder beside `root` that becomes `root` when the block ends well, and is removed when it does not."""
    # of a link, the folder that it points to
    target = root.resolve()
    folder = target.parent / f".{target.name}-{uuid.uuid4().hex[:8]}.partial"
    try:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise InputError(f"{root} exists already: delete it or name another folder for the sample corpus")
        folder.mkdir(parents=True)
        try:
            yield folder
            if target.exists():
                # empty, or somebody else has filled it meanwhile: then this raises
                target.rmdir()
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise InputError(f"can't make the sample corpus in {root}: {error.strerror or error}") from error
