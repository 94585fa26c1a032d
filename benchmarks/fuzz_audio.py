"""Reads damaged recordings and says what became of each: python benchmarks/fuzz_audio.py [--files 1000] [--seed 0]

Sound recordings in eight formats are damaged (bits flipped, cut off, random bytes behind a sound header, header fields
set to extremes) and read as training and validation read them, in a process of their own: one that crashes, or takes
longer than 5 s for a read, is pinned on its file, and the rest goes on in another. Prints a table, format by damage,
and exits with status 1 if a file crashed or hung the reader, was refused without its name, let a NaN through, or was
read without a word though the ffmpeg program hears more of it ("less": by more than 2 ms or one frame).
"""

import argparse
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))

import compare_with_ffmpeg
from damaged_recordings import DAMAGES, FORMATS, damaged_files

OUTCOMES = ("read", "refused", "less", "NaN", "unnamed", "crash", "hang")
LIMIT_S = 5.0
RATE = 16000
HAS_FFMPEG = bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


def read_as_a_run_does(path: Path, beat: Callable[[], None]) -> dict[str, str]:
    """What becomes of a file in probing, reading, a training batch and validation windows: an outcome and a reason.

    `beat` is called after each read.
    """
    import torch

    import config
    from aer.audio.io import probe, read_crop
    from aer.corpus.discovery import Recording
    from aer.errors import AudioError
    from aer.training.datasets import TrainClips, ValidationWindows

    settings = config.PANNS["sample"]
    try:
        info = probe(path)
    except AudioError as error:
        return {"outcome": "refused" if str(path) in str(error) else "unnamed", "why": str(error)}
    beat()
    outcome = {"outcome": "read", "why": "", "duration_s": f"{info.duration_s:.4f}"}
    for read in (lambda: read_crop(path, 0, None, RATE), lambda: read_crop(path, info.duration_s / 3, 0.5, RATE)):
        try:
            if not np.isfinite(read()).all():
                return {"outcome": "NaN", "why": "a crop"}
        except AudioError as error:
            outcome = {"outcome": "refused" if str(path) in str(error) else "unnamed", "why": str(error)}
        beat()
    recordings = [
        Recording(path, ("a",), info.duration_s, info.sample_rate),
        Recording(SOUND, ("b",), 1.0, RATE),
    ]
    windows = ValidationWindows(recordings, ("a", "b"), settings)
    clips = TrainClips(recordings, ("a", "b"), settings)
    for item in itertools.chain([clips[0]], map(windows.__getitem__, sample_of(len(windows)))):
        beat()
        if not torch.isfinite(item["waveform"]).all():
            return {"outcome": "NaN", "why": "a batch"}
        if item["unreadable"] >= 0 and not item["reason"]:  # the recording's index stands for its name
            return {"outcome": "unnamed", "why": "a batch"}
    return outcome


def sample_of(length: int, most: int = 20) -> Sequence[int]:
    """Places of up to `most` of that many windows, the first and the last among them: a lying header has many."""
    return range(length) if length <= most else np.linspace(0, length - 1, most).astype(int).tolist()


SOUND = Path(os.environ.get("FUZZ_SOUND", "sound.wav"))  # one that can be read, beside the damaged one


def reader() -> None:
    """The watched process: takes paths on stdin, answers with an empty line per read and a line of JSON per file."""
    for line in sys.stdin:
        path = Path(json.loads(line))
        print(json.dumps(read_as_a_run_does(path, lambda: print(flush=True))), flush=True)


READER = (sys.executable, __file__, "--reader")


class Watched:
    """A reader that is started anew when it has crashed or was stopped."""

    def __init__(self, sound: Path, noise: IO[bytes], command: Sequence[str] = READER):
        """`noise`: an open file for what the readers write to stderr."""
        self.environment = {**os.environ, "FUZZ_SOUND": str(sound), "OMP_NUM_THREADS": "1"}
        self.process: subprocess.Popen[bytes] | None = None
        self.noise = noise
        self.command = command

    def ask(self, path: Path, limit_s: float) -> tuple[dict[str, str], float]:
        """The reader's answer and how long its longest read took."""
        process = self.process or self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        process.stdin.flush()
        longest_s = 0.0
        while True:
            since_s = time.monotonic()
            ready, _, _ = select.select([process.stdout], [], [], limit_s)
            longest_s = max(longest_s, time.monotonic() - since_s)
            if not ready:
                self.stop()
                return {"outcome": "hang", "why": f"silent for {limit_s:g} s"}, longest_s
            line = process.stdout.readline()
            if not line:
                status = process.wait()
                self.process = None
                how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
                return {"outcome": "crash", "why": how}, longest_s
            if line.strip():
                answer: dict[str, str] = json.loads(line)
                return answer, longest_s

    def _start(self) -> "subprocess.Popen[bytes]":
        self.process = subprocess.Popen(
            self.command,
            bufsize=0,  # select does not see what a buffer holds
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.noise,
            env=self.environment,
        )
        self.ask(Path(self.environment["FUZZ_SOUND"]), 120)  # its imports take longer than a read may
        return self.process

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def fuzz(n_files: int, seed: int) -> tuple[list[dict[str, str]], str]:
    """A row for each file (format, damage, outcome, why, seconds, file), and what was written to stderr."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as noise:
        folder = Path(name)
        sound = folder / "sound.wav"
        soundfile.write(sound, np.random.default_rng(0).normal(scale=0.1, size=RATE), RATE)
        watched = Watched(sound, noise)
        try:
            rows = list(_rows(watched, damaged_files(folder, n_files, seed)))
        finally:
            watched.stop()
        noise.seek(0)
        return rows, noise.read().decode(errors="replace")


def held_against_ffmpeg(path: Path, duration_s: float) -> dict[str, str]:
    """Return the outcome "less" where a full decode by ffmpeg is longer than what was read."""
    samples, rate, codec = compare_with_ffmpeg.decode(path)
    slack_s = max(0.002, (compare_with_ffmpeg.FRAME_SAMPLES.get(codec, 0) + 0.5) / (rate or 1))
    by_ffmpeg_s = len(samples) / (rate or 1)
    if by_ffmpeg_s - duration_s <= slack_s:
        return {}
    return {"outcome": "less", "why": f"{duration_s:.4f} s, by ffmpeg {by_ffmpeg_s:.4f} s"}


def _rows(watched: Watched, files: Sequence[tuple[Path, str, str]]) -> Iterator[dict[str, str]]:
    for path, kind, damage in files:
        answer, took_s = watched.ask(path, LIMIT_S)
        if HAS_FFMPEG and answer["outcome"] == "read":
            answer |= held_against_ffmpeg(path, float(answer["duration_s"]))
        yield {"format": kind, "damage": damage, **answer, "seconds": f"{took_s:.3f}", "file": path.name}


def table(rows: Sequence[dict[str, str]]) -> str:
    """Format by damage: how many were read, refused by name, or worse."""
    counts = Counter((row["format"], row["damage"], row["outcome"]) for row in rows)
    seen = [outcome for outcome in OUTCOMES if outcome in ("read", "refused") or any(outcome in key for key in counts)]
    lines = [f"{'format':8}{'damage':14}" + "".join(f"{outcome:>9}" for outcome in seen)]
    for kind in FORMATS:
        for damage in DAMAGES:
            lines.append(f"{kind:8}{damage:14}" + "".join(f"{counts[kind, damage, outcome]:9}" for outcome in seen))
    return "\n".join(lines)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", type=Path, help="write the rows there, as JSON lines")
    options.add_argument("--reader", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.reader:
        reader()
        return 0
    rows, said = fuzz(chosen.files, chosen.seed)
    if chosen.keep:
        chosen.keep.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table(rows))
    bad = [row for row in rows if row["outcome"] not in ("read", "refused")]
    slowest = max(rows, key=lambda row: float(row["seconds"]))
    print(
        f"\n{len(rows)} files, seed {chosen.seed}: {len(bad)} crashed, hung, went unnamed, let a NaN through "
        "or were read in part"
    )
    print(
        f"slowest read: {slowest['seconds']} s ({slowest['format']}, {slowest['damage']}: {slowest['why'] or 'read'})"
    )
    print(f"lines on stderr, of decoders and others: {len(said.splitlines())}")
    for row in bad:
        print(row)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
