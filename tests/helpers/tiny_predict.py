"""A recogniser that hears loudness, for tests of recognition: milliseconds a window, and simple to compute by hand.

As a script, `aer predict` with it: python tiny_predict.py OUT BATCH_SIZE SLEEP_S RECORDINGS.
"""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import torch

import config
from aer.cli.errors import run_command
from aer.inference import predict
from aer.inference.plan import Options, Plan, make_plan
from aer.inference.recogniser import Recogniser
from aer.inference.recordings import find_recordings
from aer.models.bundle import Bundle
from aer.settings import PannsSettings

RATE = 16000
WINDOW_S = 1.0
HOP = 320  # samples of a frame
CLASSES = ("loud", "quiet")
UNKNOWN = {"n_positive": 0, "best_f1": None, "f1": None, "curve": [], "calibration": None, "note": "too few"}


class Loudness(torch.nn.Module):
    """(B, S) -> scores (B, 2): peak, and a tenth of it; frames (B, S // HOP + 1, 2): the peak of the HOP samples."""

    def __init__(self, gain: float, sleep_s: float) -> None:
        super().__init__()
        self.gain = gain
        self.sleep_s = sleep_s

    def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        time.sleep(self.sleep_s)
        padded = torch.nn.functional.pad(waveform.abs(), (0, HOP))[:, : (waveform.shape[1] // HOP + 1) * HOP]
        frames = padded.unflatten(1, (-1, HOP)).amax(dim=2)
        per_class = self.gain * torch.tensor([1.0, 0.1])
        return {
            "clipwise_output": waveform.abs().amax(dim=1)[:, None] * per_class,
            "framewise_output": frames[:, :, None] * per_class,
            "embedding": frames[:, :4],
        }


@dataclasses.dataclass(frozen=True)
class TinyBundle(Bundle):
    """A bundle of `Loudness`, never in a file."""

    gain: float = 1.0
    sleep_s: float = 0.0

    def build_model(self) -> torch.nn.Module:
        return Loudness(self.gain, self.sleep_s)


def tiny_bundle(**changes: Any) -> TinyBundle:
    settings = PannsSettings.model_validate(
        config.PANNS["sample"].model_dump() | {"sample_rate": RATE, "clip_duration_s": WINDOW_S}
    )
    thresholds = {"window": [UNKNOWN] * len(CLASSES), "frame": [UNKNOWN] * len(CLASSES)}
    return TinyBundle(
        path=Path("tiny.aer"), kind="panns", settings=settings, thresholds=thresholds, weights={},
        **{"classes": CLASSES, "metrics": {}, "background": None, "epoch": 1, "versions": {}, "created_by": "a test",
           "digest": "0" * 64, **changes},
    )  # fmt: skip


def tiny_plan(*bundles: TinyBundle, **options: Any) -> Plan:
    """Windows every half second; events from 0.5 on, by frames if not `events="windows"`."""
    chosen = Options(**{"overlap_s": WINDOW_S / 2, "threshold": 0.5, **options})
    recogniser = Recogniser(bundles or [tiny_bundle()], chosen.window_s, "cpu")
    plan, _ = make_plan(recogniser, chosen)
    return plan


def main() -> None:
    out, batch_size, sleep_s, *recordings = sys.argv[1:]
    plan = tiny_plan(tiny_bundle(sleep_s=float(sleep_s)))
    found = find_recordings([Path(name) for name in recordings])
    results, done = predict.predict(found, plan, Path(out), int(batch_size), 2)
    print(predict.summary(results, done, []))
    status = Path("/proc/self/status")
    if status.exists():  # Linux; unlike ru_maxrss it has no part of the process that started this one
        print(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    sys.exit(run_command(main))
