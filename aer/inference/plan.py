"""How recordings are to be recognised: options, and what follows from them and the models."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from aer.errors import InputError
from aer.inference.events import EventRules
from aer.inference.recogniser import Recogniser
from aer.inference.window_reader import WindowSizes
from aer.models.bundle import Bundle, load
from aer.utils.channels import MIX, Channels
from aer.utils.text import printable

# to be increased when the same models and options would give other results than before
RECIPE = 2
# classes without a threshold of their own that are named
MOST_NOTES = 5


@dataclass(frozen=True)
class Options:
    """How to recognise. None: what the bundles say.

    The names of the fields are part of the digest by which results of an earlier call are recognised.
    """

    window_s: float | None = None
    # default: half a window for frames, else none
    overlap_s: float | None = None
    # "frames", "windows"; auto: frames where the models have them
    events: str = "auto"
    threshold: float | None = None
    precision: float | None = None
    rules: EventRules = field(default_factory=EventRules)
    embeddings: bool = False
    # enters the digest only where it is not what the bundles say
    channels: Channels | None = None


@dataclass(frozen=True)
class Plan:
    """All that is the same for every recording."""

    recogniser: Recogniser
    by_frames: bool
    # from the start of one window to that of the next
    hop_samples: int
    # (C,); infinite for classes that are never reported
    thresholds: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    rules: EventRules
    embeddings: bool
    # a digest of all that results depend on, beside the recording
    recipe: str
    # what is heard of recordings with several
    channels: Channels = MIX

    @property
    def kind(self) -> str:
        """Which of the bundles' thresholds apply: "frame" or "window"."""
        return "frame" if self.by_frames else "window"

    @property
    def sizes(self) -> WindowSizes:
        """The windows that the models take."""
        used = self.recogniser
        band_hz = max(bundle.settings.mel.fmax_hz for bundle in used.bundles)
        return WindowSizes(used.sample_rate, used.window_samples, self.hop_samples, self.channels, band_hz)


def load_plan(bundle_paths: Sequence[Path], options: Options, device: str) -> tuple[Plan, list[str]]:
    """Load the models; return the plan and lines that describe it. Raise InputError as `make_plan` does."""
    bundles = [load(path) for path in bundle_paths]
    return make_plan(Recogniser(bundles, options.window_s, device, options.channels), options)


def make_plan(recogniser: Recogniser, options: Options) -> tuple[Plan, list[str]]:
    """Return the plan for models that are loaded, and lines that describe it.

    Raise InputError where options and models do not fit together.
    """
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
    recipe = _recipe(recogniser, options, overlap_s, by_frames)
    plan = Plan(
        recogniser,
        by_frames,
        hop_samples,
        thresholds,
        options.rules,
        options.embeddings,
        recipe,
        recogniser.channels if options.channels is None else options.channels,
    )
    return plan, _describe(recogniser.bundles, plan, overlap_s, notes)


def _recipe(recogniser: Recogniser, options: Options, overlap_s: float, by_frames: bool) -> str:
    """Return a digest of all that results depend on, beside the recording."""
    chosen = asdict(options)
    if options.channels in (None, recogniser.channels):
        del chosen["channels"]
    made_with = {
        "recipe": RECIPE,
        "bundles": [bundle.digest for bundle in recogniser.bundles],
        **chosen,
        "overlap_s": overlap_s,
        "events": "frames" if by_frames else "windows",
    }
    return hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()


def _channel_name(channels: Channels) -> str:
    return f"number {channels}" if isinstance(channels, int) else f"the {channels}"


def _describe(bundles: Sequence[Bundle], plan: Plan, overlap_s: float, notes: dict[str, str]) -> list[str]:
    """Return lines on models, windows, and the classes (`notes`) without a threshold of their own."""
    used = plan.recogniser
    lines = [f"{printable(b.path)}: {b.kind}, {len(b.classes)} classes, epoch {b.epoch}" for b in bundles]
    lines.append(
        f"windows of {used.window_s:g} s with {overlap_s:g} s overlap at {used.sample_rate} Hz, events by "
        f"{plan.kind}s, on {used.device.type}"
    )
    if plan.channels != MIX:
        lines.append(f"of several channels: {_channel_name(plan.channels)}")
    trained_s = bundles[0].settings.clip_duration_s
    if used.window_s != trained_s:
        lines.append(f"the thresholds come from windows of {trained_s:g} s")
    for name, note in list(notes.items())[:MOST_NOTES]:
        threshold = plan.thresholds[used.classes.index(name)]
        used_instead = f"{threshold:g}" if np.isfinite(threshold) else "none, never reported"
        lines.append(f"threshold of {printable(name)}: {used_instead} ({note})")
    if len(notes) > MOST_NOTES:
        lines.append(f"and {len(notes) - MOST_NOTES} more classes without a threshold of their own")
    return lines
