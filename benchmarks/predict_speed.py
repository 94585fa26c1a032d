"""Speed and memory of `aer predict` on recordings of hours, and what reading and the front end take beside the model.

    python benchmarks/predict_speed.py runs/panns/best.aer [--hours 1 12] [--tiny] [-- OPTIONS OF aer predict]

A recording of so many hours (coloured noise with bursts, 16-bit FLAC at the model's rate, or at --sample-rate) is made
in a temporary folder, and `aer predict` run on it as a whole command, whose peak memory the system gives (ru_maxrss).
Then ten minutes of it are gone through in this process: decoding and resampling alone, the front end (STFT, mel, image)
alone, and all of the model, on the same windows. --tiny: the whole commands with the model of tests/tiny_predict.py
that costs next to nothing: what is left is reading, events and writing, and memory that grows would show at once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from aer.audio.io import open_stream, resampled  # noqa: E402
from aer.audio.windows import windows  # noqa: E402
from aer.models.bundle import load  # noqa: E402

PART_S = 600.0
BATCH = 16


def make_recording(path: Path, hours: float, sample_rate: int) -> None:
    """Noise with bursts of tones, a minute at a time."""
    random = np.random.default_rng(1)
    with soundfile.SoundFile(path, "w", sample_rate, 1, "PCM_16", format="FLAC") as file:
        seconds = np.arange(60 * sample_rate) / sample_rate
        tone = np.sin(2 * np.pi * 3000 * seconds) * (np.sin(2 * np.pi * seconds / 7) > 0.9)
        for _ in range(round(60 * hours)):
            noise = np.cumsum(random.normal(0, 1, len(seconds)))
            noise -= np.linspace(noise[0], noise[-1], len(noise))
            file.write(0.05 * random.normal(0, 1, len(seconds)) + 0.2 * tone + 0.1 * noise / np.abs(noise).max())


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MB of a whole command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"exit status {status}: {' '.join(command)}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def shares(bundle_path: Path, recording: Path) -> dict[str, float]:
    """Seconds for ten minutes of the recording: decoding, the front end, and the model with its front end."""
    bundle = load(bundle_path)
    model, settings = bundle.build_model(), bundle.settings
    front_end = model.logmel if hasattr(model, "logmel") else model.frontend
    began = time.perf_counter()
    with open_stream(recording) as (info, blocks):
        n_windows = int(min(PART_S, info.duration_s) // settings.clip_duration_s)
        stream = windows(
            resampled(blocks, info.sample_rate, settings.sample_rate), settings.clip_samples, settings.clip_samples
        )
        held = np.stack([waveform for _, (_, waveform) in zip(range(n_windows), stream, strict=False)])
    seconds = {"decoding": time.perf_counter() - began, "front end": 0.0, "model": 0.0}
    with torch.inference_mode():
        for what, part in (("front end", front_end), ("model", model)):
            for batch in torch.from_numpy(held).split(BATCH)[:2]:
                part(batch)
            began = time.perf_counter()
            for batch in torch.from_numpy(held).split(BATCH):
                part(batch)
            seconds[what] = time.perf_counter() - began
    return seconds


def main() -> None:
    """Prints a line for each length, and the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 12])
    parser.add_argument("--sample-rate", type=int)
    parser.add_argument("--tiny", action="store_true")
    own, _, options = " ".join(sys.argv[1:]).partition(" -- ")
    chosen = parser.parse_args(own.split())
    rate = chosen.sample_rate or load(chosen.bundle).settings.sample_rate
    with tempfile.TemporaryDirectory() as folder:
        for hours in chosen.hours:
            recording = Path(folder) / f"{hours:g}h.flac"
            make_recording(recording, hours, rate)
            out = f"{folder}/out-{hours:g}"
            command = [sys.executable, "-m", "aer", "predict", str(chosen.bundle.resolve()), str(recording)]
            command += ["--out", out, *options.split()]
            if chosen.tiny:
                command = [sys.executable, str(ROOT / "tests/tiny_predict.py"), out, str(BATCH), "0", str(recording)]
            taken_s, peak_mb = run(command)
            speed = hours * 3600 / taken_s
            print(
                f"{hours:g} h: {taken_s:.0f} s, {speed:.0f} times real time, peak memory {peak_mb:.0f} MB", flush=True
            )
        seconds = shares(chosen.bundle, Path(folder) / f"{chosen.hours[0]:g}h.flac")
    beside = (seconds["decoding"] + seconds["front end"]) / (seconds["model"] - seconds["front end"])
    print(json.dumps({name: round(value, 2) for name, value in seconds.items()}))
    print(f"decoding and front end take {beside:.1%} of the time of the rest of the model, one after the other")


if __name__ == "__main__":
    main()
