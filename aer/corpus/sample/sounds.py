"""The signals of the sample corpus: notes, calls, backgrounds, reverberation and their mixture.

Pure functions of their arguments and of the random generator that they are given. Waveforms are float64 of shape
(samples,) at `SAMPLE_RATE`; frequencies are in Hz, pitch differences in octaves, times in seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import next_fast_len  # type: ignore[import-untyped]
from scipy.signal import fftconvolve  # type: ignore[import-untyped]

Waveform = NDArray[np.float64]

SAMPLE_RATE = 16000
# nothing in a call lies above: safely below half the sample rate
HIGHEST_HZ = 7500.0
# one range for all species, so that pitch says nothing about the species
CENTRE_HZ = (2000.0, 4500.0)
# how much faster than its species an individual sings, as a factor
TEMPO = (0.75, 1.35)


def samples(duration_s: float) -> int:
    """Return the number of samples in `duration_s`."""
    return round(duration_s * SAMPLE_RATE)


def decibels_to_gain(decibels: float) -> float:
    """Return the factor by which decibels change an amplitude: 10 for 20 dB."""
    return float(10 ** (decibels / 20))


def power(signal: Waveform) -> float:
    """Return the mean square of (samples,), 0 for no samples."""
    return float(np.mean(signal**2)) if signal.size else 0.0


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """Draw a number from `low` to `high` whose logarithm is uniformly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def silence(duration_s: float) -> Waveform:
    """Return zeros (samples,) of `duration_s`."""
    return np.zeros(samples(duration_s))


def tone(pitch_octaves: Waveform, centre_hz: float, partials: tuple[float, ...] = (1.0, 0.12)) -> Waveform:
    """Return a note whose pitch follows `pitch_octaves` about `centre_hz`; its harmonics have amplitudes `partials`."""
    frequency_hz = centre_hz * 2.0**pitch_octaves
    phase = 2 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE
    wave = np.zeros(len(phase))
    for harmonic, amplitude in enumerate(partials, start=1):
        wave += np.where(harmonic * frequency_hz < HIGHEST_HZ, amplitude, 0.0) * np.sin(harmonic * phase)
    return faded(wave)


def faded(wave: Waveform, fade_s: float = 0.015) -> Waveform:
    """Return the wave with raised-cosine ends of `fade_s`, so that it starts and stops without a click."""
    fade = min(samples(fade_s), len(wave) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))
    return np.asarray(wave * np.concatenate([ramp, np.ones(len(wave) - 2 * fade), ramp[::-1]]), dtype=np.float64)


def noise(rng: Generator, n_samples: int, slope: float = 0.0, band_hz: tuple[float, float] = (0.0, np.inf)) -> Waveform:
    """Return Gaussian noise of unit power whose amplitude falls as frequency ** -slope, inside `band_hz` only."""
    # a length that is prime would take seconds
    fast = next_fast_len(n_samples, real=True)
    spectrum = np.fft.rfft(rng.standard_normal(fast))
    frequency_hz = np.fft.rfftfreq(fast, 1 / SAMPLE_RATE)
    # flat below 100 Hz: no rumble that takes all the power
    shape = np.maximum(frequency_hz, 100.0) ** -slope
    shape[(frequency_hz < band_hz[0]) | (frequency_hz > band_hz[1])] = 0.0
    shaped = np.fft.irfft(spectrum * shape, fast)[:n_samples]
    return np.asarray(shaped / np.sqrt(power(shaped)), dtype=np.float64)


def reverberated(dry: Waveform, rng: Generator, decay_s: float, wet: float) -> Waveform:
    """Return `dry` plus its echo, of the same length: noise that decays by 60 dB in `decay_s`, of power ratio `wet`."""
    n_samples = samples(decay_s)
    response = rng.standard_normal(n_samples) * 10 ** (-3 * np.arange(n_samples) / n_samples)
    response *= np.sqrt(wet / np.sum(response**2))
    response[0] += 1.0
    return np.asarray(fftconvolve(dry, response)[: len(dry)], dtype=np.float64)


def mixed(call: Waveform, background: Waveform, active: NDArray[np.bool_], snr_db: float) -> Waveform:
    """Return `call` over `background`; the power over its `active` samples is `snr_db` above the background's."""
    gain = np.sqrt(power(background) / power(call[active])) * decibels_to_gain(snr_db)
    return np.asarray(gain * call + background, dtype=np.float64)


def scaled_to_peak(signal: Waveform, peak: float) -> Waveform:
    """Return the signal with `peak` as its largest magnitude."""
    return np.asarray(signal * (peak / np.max(np.abs(signal))), dtype=np.float64)


# --- Calls. A phrase is what an individual sings at a time: (rng, centre_hz, tempo) -> (samples,), 0.3 to 1.3 s. ---


def _sweeps(rng: Generator, centre_hz: float, tempo: float, direction: int) -> Waveform:
    """Return two or three whistles that each slide by most of an octave."""
    half_octaves = direction * rng.uniform(0.3, 0.45)
    note = samples(rng.uniform(0.24, 0.32) / tempo)
    gap = silence(0.07 / tempo)
    whistle = tone(np.linspace(-half_octaves, half_octaves, note), centre_hz)
    return np.concatenate([whistle, gap] * int(rng.integers(2, 4)))[: -len(gap)]


def rising_whistles(rng: Generator, centre_hz: float, tempo: float) -> Waveform:
    """Return whistles that slide up."""
    return _sweeps(rng, centre_hz, tempo, direction=1)


def falling_whistles(rng: Generator, centre_hz: float, tempo: float) -> Waveform:
    """Return whistles that slide down."""
    return _sweeps(rng, centre_hz, tempo, direction=-1)


def warble(rng: Generator, centre_hz: float, tempo: float) -> Waveform:
    """Return one long whistle that swings up and down about five times a second."""
    time_s = np.arange(samples(rng.uniform(0.8, 1.1) / tempo)) / SAMPLE_RATE
    swing = 2 * np.pi * 5 * tempo * time_s + rng.uniform(0, 2 * np.pi)
    return tone(rng.uniform(0.25, 0.4) * np.sin(swing), centre_hz)


def trill(rng: Generator, centre_hz: float, tempo: float) -> Waveform:
    """Return one pitch, interrupted about twelve times a second."""
    note = tone(np.zeros(samples(0.046 / tempo)), centre_hz)
    return np.concatenate([note, silence(0.036 / tempo)] * int(rng.integers(8, 13)))


def two_tones(rng: Generator, centre_hz: float, tempo: float) -> Waveform:
    """Return flat whistles that alternate between two pitches half an octave apart, the high one first."""
    half_octaves = rng.uniform(0.22, 0.32)
    note = np.ones(samples(0.16 / tempo))
    high, low = tone(half_octaves * note, centre_hz), tone(-half_octaves * note, centre_hz)
    gap = silence(0.03 / tempo)
    return np.concatenate([high, gap, low, gap] * int(rng.integers(2, 4)))


def harmonic_stack(rng: Generator, centre_hz: float, tempo: float) -> Waveform:
    """Return nasal calls of one flat pitch with many harmonics, the strongest near `centre_hz`."""
    strongest = 3
    partials = tuple(float(np.exp(-abs(k - strongest) / 2.5)) for k in range(1, 13))
    note = np.zeros(samples(rng.uniform(0.2, 0.28) / tempo))
    call = tone(note, centre_hz / strongest, partials)
    gap = silence(0.1 / tempo)
    return np.concatenate([call, gap] * int(rng.integers(2, 4)))[: -len(gap)]


def buzz(rng: Generator, centre_hz: float, tempo: float) -> Waveform:
    """Return a hoarse noise an octave wide, beating about eleven times a second."""
    n_samples = samples(rng.uniform(0.6, 0.9) / tempo)
    half_octaves = rng.uniform(0.35, 0.5)
    hiss = noise(rng, n_samples, band_hz=(centre_hz * 2**-half_octaves, min(centre_hz * 2**half_octaves, HIGHEST_HZ)))
    beat = np.sin(np.pi * 11 * tempo * np.arange(n_samples) / SAMPLE_RATE) ** 2
    return faded(hiss * beat)


def chirps(rng: Generator, centre_hz: float, tempo: float) -> Waveform:
    """Return short steep chirps, each down by more than an octave, that come faster and faster."""
    half_octaves = rng.uniform(0.5, 0.6)
    chirp = tone(np.linspace(half_octaves, -half_octaves, samples(0.045)), centre_hz, (1.0,))
    gaps_s = np.geomspace(0.16, 0.04, int(rng.integers(6, 10))) / tempo
    return np.concatenate([part for gap_s in gaps_s for part in (chirp, silence(gap_s))])


@dataclass(frozen=True)
class Species:
    """A made-up bird: `ebird_code` is its label, `phrase(rng, centre_hz, tempo)` its song."""

    ebird_code: str
    name: str
    phrase: Callable[[Generator, float, float], Waveform]


SPECIES = (
    Species("chibun", "Chipping Bunting", chirps),
    Species("grebuz", "Grey Buzzard-wren", buzz),
    Species("hornut", "Horned Nuthatch", harmonic_stack),
    Species("lamwhi", "Lament Whistler", falling_whistles),
    Species("risthr", "Rising Thrush", rising_whistles),
    Species("sawtit", "See-saw Tit", two_tones),
    Species("triwar", "Trilling Warbler", trill),
    Species("wavlar", "Wavering Lark", warble),
)


def song(species: Species, rng: Generator, duration_s: float) -> Waveform:
    """Return `duration_s` of an individual that repeats its phrase with short pauses: any 2 s hold some of it."""
    centre_hz, tempo = log_uniform(rng, *CENTRE_HZ), rng.uniform(*TEMPO)
    parts, n_samples = [silence(rng.uniform(0.05, 0.3))], samples(duration_s)
    while sum(map(len, parts)) < n_samples:
        phrase = species.phrase(rng, centre_hz * 2 ** rng.uniform(-0.04, 0.04), tempo)
        parts += [decibels_to_gain(rng.uniform(-3, 0)) * phrase, silence(rng.uniform(0.15, 0.5))]
    return faded(np.concatenate(parts)[:n_samples])


def sounding(dry: Waveform, pause_s: float = 0.1) -> NDArray[np.bool_]:
    """Return (samples,), True where `dry` sounds; silences shorter than `pause_s` (gaps of a trill) count as sound."""
    loud = np.flatnonzero(np.abs(dry) > 1e-3 * np.max(np.abs(dry)))
    starts, ends = loud[:-1], loud[1:]
    bridged = ends - starts <= samples(pause_s)
    steps = np.zeros(len(dry), dtype=int)
    steps[starts[bridged]] += 1
    steps[ends[bridged]] -= 1
    active = np.cumsum(steps) > 0
    active[loud] = True
    return active


# --- Backgrounds: sounds that occur with all species alike, (rng, n_samples) -> (n_samples,). ---


def added_at(wave: Waveform, sound: Waveform, start: int) -> None:
    """Add `sound` to `wave` in place from sample `start`; what would lie beyond the end is dropped."""
    end = min(start + len(sound), len(wave))
    wave[start:end] += sound[: end - start]


def insects(rng: Generator, n_samples: int) -> Waveform:
    """Return a steady high hum that slowly swells."""
    time_s = np.arange(n_samples) / SAMPLE_RATE
    hum = noise(rng, n_samples, band_hz=((low_hz := rng.uniform(2500, 7000)), low_hz + rng.uniform(80, 300)))
    return np.asarray(hum * (1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 1.0) * time_s)), dtype=np.float64)


def rain(rng: Generator, n_samples: int) -> Waveform:
    """Return clicks of a few milliseconds, each with its own loudness, at random times."""
    wave = np.zeros(n_samples)
    for start in rng.integers(0, n_samples, rng.poisson(n_samples / SAMPLE_RATE * rng.uniform(2, 12))):
        drop = rng.standard_normal(samples(0.006)) * np.exp(-np.arange(samples(0.006)) / samples(0.0015))
        added_at(wave, decibels_to_gain(rng.uniform(-12, 6)) * drop, int(start))
    return wave


def wind(rng: Generator, n_samples: int) -> Waveform:
    """Return low noise in gusts."""
    gusts = np.abs(noise(rng, n_samples, band_hz=(0.0, 1.5)))
    return np.asarray(noise(rng, n_samples, slope=1.0, band_hz=(60, 900)) * gusts, dtype=np.float64)


def blips(rng: Generator, n_samples: int) -> Waveform:
    """Return single short peeps of any pitch, too short and too few to be a song."""
    wave = np.zeros(n_samples)
    for start in rng.integers(0, n_samples, rng.poisson(n_samples / SAMPLE_RATE * 0.7)):
        peep = tone(np.full(samples(rng.uniform(0.04, 0.1)), rng.uniform(-0.2, 0.2)), log_uniform(rng, 1200, 6500))
        added_at(wave, decibels_to_gain(rng.uniform(-6, 6)) * peep, int(start))
    return wave


def far_calls(rng: Generator, n_samples: int) -> Waveform:
    """Return any one species far away: all echo, and so far below the noise that it is no second label."""
    caller = SPECIES[rng.integers(len(SPECIES))]
    echo = reverberated(song(caller, rng, n_samples / SAMPLE_RATE), rng, decay_s=1.5, wet=20.0)
    return scaled_to_peak(echo, decibels_to_gain(-6))


# each with the range of its level in dB, relative to the noise of the background
DISTRACTORS: tuple[tuple[Callable[[Generator, int], Waveform], tuple[float, float]], ...] = (
    (insects, (-16, -4)),
    (rain, (-6, 6)),
    (wind, (-6, 6)),
    (blips, (-3, 3)),
    (far_calls, (-12, -4)),
)


def background(rng: Generator, n_samples: int, far: bool = True) -> Waveform:
    """Return noise of a random colour with about two of the distractors in it, of unit power on the whole.

    `far=False` leaves faint far calls out: where the times of events must be known, nobody else may sing.
    """
    wave = noise(rng, n_samples, slope=rng.uniform(0.0, 1.0), band_hz=(60, SAMPLE_RATE / 2))
    for distractor, level_db in DISTRACTORS:
        if rng.random() < 0.4 and (far or distractor is not far_calls):
            wave += decibels_to_gain(rng.uniform(*level_db)) * distractor(rng, n_samples)
    return np.asarray(wave / np.sqrt(power(wave)), dtype=np.float64)
