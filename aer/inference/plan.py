"""How recordings are to be recognised: options, and what follows from them and the models."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from aer.errors import InputError
from aer.inference.events import EventRules
from aer.inference.recogniser import Recogniser
from aer.models.bundle import Bundle, load
from aer.utils.text import printable

RECIPE = 2  # raised when the same models and options would give other results than before


@dataclass(frozen=True)
class Options:
    """How to recognise. None: what the bundles say."""

    window_s: float | None = None
    overlap_s: float | None = None  # default: half a window for frames, else none
    events: str = "auto"  # "frames", "windows"; auto: frames where the models have them
    threshold: float | None = None
    precision: float | None = None
    rules: EventRules = field(default_factory=EventRules)
    embeddings: bool = False


@dataclass(frozen=True)
class Work:
    """All that is the same for every recording."""

    recogniser: Recogniser
    by_frames: bool
    hop_samples: int  # from one window to the next
    thresholds: "np.ndarray[tuple[int], np.dtype[np.float64]]"  # (C,)
    rules: EventRules
    embeddings: bool
    recipe: str

    @property
    def kind(self) -> str:
        """Which of the bundles' thresholds hold."""
        return "frame" if self.by_frames else "window"


def prepare(bundle_paths: Sequence[Path], options: Options, device: str) -> tuple[Work, list[str]]:
    """Loads the models; gives what to say of them too. InputError where options and models don't fit."""
    bundles = [load(path) for path in bundle_paths]
    return assemble(Recogniser(bundles, options.window_s, device), options)


def assemble(recogniser: Recogniser, options: Options) -> tuple[Work, list[str]]:
    """What `prepare` gives, from models that are loaded."""
    if options.events == "frames" and not recogniser.has_frames:
        raise InputError("--events frames: these models have no frames (PANNs models of one hop have); take windows")
    by_frames = recogniser.has_frames if options.events == "auto" else options.events == "frames"
    overlap_s = options.overlap_s
    if overlap_s is None:
        overlap_s = recogniser.window_s / 2 if by_frames else 0.0
    hop_samples = recogniser.window_samples - round(overlap_s * recogniser.sample_rate)
    if hop_samples < 1:
        raise InputError(f"--overlap {overlap_s:g} must be less than the window of {recogniser.window_s:g} s")
    kind = "frame" if by_frames else "window"
    thresholds, notes = recogniser.thresholds_of(kind, options.threshold, options.precision)
    recipe = _recipe(recogniser.bundles, options, overlap_s, by_frames)
    work = Work(recogniser, by_frames, hop_samples, thresholds, options.rules, options.embeddings, recipe)
    return work, _say(recogniser.bundles, work, overlap_s, notes)


def _recipe(bundles: Iterable[Bundle], options: Options, overlap_s: float, by_frames: bool) -> str:
    """A digest of all that results depend on, beside the recording."""
    told = {
        "recipe": RECIPE,
        "bundles": [bundle.digest for bundle in bundles],
        **asdict(options),
        "overlap_s": overlap_s,
        "events": "frames" if by_frames else "windows",
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _say(bundles: Sequence[Bundle], work: Work, overlap_s: float, notes: dict[str, str]) -> list[str]:
    used = work.recogniser
    lines = [f"{printable(b.path)}: {b.kind}, {len(b.classes)} classes, epoch {b.epoch}" for b in bundles]
    lines.append(
        f"windows of {used.window_s:g} s with {overlap_s:g} s overlap at {used.sample_rate} Hz, events by "
        f"{work.kind}s, on {used.device.type}"
    )
    trained_s = bundles[0].settings.clip_duration_s
    if used.window_s != trained_s:
        lines.append(f"the thresholds come from windows of {trained_s:g} s")
    for name, note in list(notes.items())[:5]:
        place = used.classes.index(name)
        used_instead = f"{work.thresholds[place]:g}" if np.isfinite(work.thresholds[place]) else "none, never reported"
        lines.append(f"threshold of {printable(name)}: {used_instead} ({note})")
    lines += [f"and {len(notes) - 5} more classes without a threshold of their own"] * (len(notes) > 5)
    return lines
