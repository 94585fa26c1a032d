"""Compares what aer hears with a full decode by ffmpeg: python benchmarks/compare_with_ffmpeg.py FOLDER [--make N]

For each file below the folder: the length by `probe` and by `open_stream`, all samples, and 20 random crops, beside
`ffmpeg -f f32le` of the default audio track. Prints a table by kind and fault, and each offender: `ok` (no AudioError)
with a length that is off by more than 2 ms or one frame of its coding, or with samples that differ by more than 1e-4;
what `aer predict` would pass over; in a folder that --make has made also what is refused though all of it is there.
Exits with status 1 if there are any.

Lossy codings are held against the same decoder: Opus is decoded by libopus in both (libsndfile has it, ffmpeg is told
so). Where the ffmpeg program's samples differ, FFmpeg's libraries (PyAV) decode the whole file, and these count: old
programs differ from newer ones (5.1 decodes some frames of MP3 at 16 to 24 kHz wrongly, as mpg123 shows). The last
column says how often. IMA ADPCM, which libsndfile and FFmpeg round otherwise, may differ by 1e-2.
"""

import argparse
import contextlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import hard_recordings

from aer.audio.frames import as_float
from aer.audio.io import open_stream, probe, read_crop
from aer.errors import AudioError
from aer.inference.recordings import find_recordings

SLACK_S, N_CROPS = 0.002, 20
TOLERANCE, TOLERANCES = 1e-4, {"adpcm_ima_wav": 1e-2}
FRAME_SAMPLES = {
    "aac": 2048,
    "ac3": 1536,
    "amr_nb": 160,
    "mp1": 384,
    "mp2": 1152,
    "mp3": 1152,
    "opus": 960,
    "speex": 320,
    "vorbis": 2048,
    "wmav2": 2048,
    "adpcm_ima_wav": 1017,
}
STATUSES = ("ok", "partial", "refused")


@dataclass(frozen=True)
class Verdict:
    """What became of a file; `wrong` is "" where nothing is."""

    kind: str
    fault: str
    status: str
    wrong: str
    said: str
    difference: float = 0.0
    by_libraries: bool = False


def decode(path: Path) -> tuple[np.ndarray, int, str]:
    """Return the mean of the channels (samples,) of the default audio track by ffmpeg, its rate and coding."""
    asked = ["ffprobe", "-v", "quiet", "-show_streams", "-select_streams", "a", "-of", "json", str(path)]
    found: Any = json.loads(subprocess.run(asked, capture_output=True, check=False).stdout or "{}")
    tracks = found.get("streams", [])
    if not tracks or not tracks[0].get("channels"):
        return np.zeros(0, np.float32), 0, ""
    track = next((track for track in tracks if track["disposition"]["default"]), tracks[0])
    decoder = ["-c:a", "libopus"] if track["codec_name"] == "opus" else []
    command = ["ffmpeg", "-v", "quiet", *decoder, "-i", str(path), "-map", f"0:{track['index']}", "-f", "f32le", "-"]
    given = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).stdout
    channels = int(track["channels"])
    samples = np.frombuffer(given[: len(given) // (4 * channels) * 4 * channels], "<f4").reshape(-1, channels)
    return samples.mean(axis=1), int(track["sample_rate"]), track["codec_name"]


def decode_by_libraries(path: Path) -> np.ndarray:
    """Return the mean of the channels (samples,) of the default audio track by PyAV, from start to end."""
    parts: list[np.ndarray] = []
    with av.open(str(path)) as container:
        tracks: Any = container.streams.audio
        track = next((track for track in tracks if "default" in str(track.disposition.name).lower()), tracks[0])
        for packet in container.demux(track):
            with contextlib.suppress(av.error.FFmpegError):
                parts += [as_float(frame).mean(axis=1) for frame in packet.decode()]
    return np.concatenate(parts)


def listen(path: Path) -> tuple[str, str, np.ndarray, int, float]:
    """Return aer's status and message, samples, rate, and the length by `probe`."""
    try:
        info = probe(path, allow_cut_short=True)
    except AudioError as error:
        return "refused", error.reason, np.zeros(0, np.float32), 0, 0.0
    parts: list[np.ndarray] = []
    status, said = "ok", ""
    try:
        with open_stream(path) as (_, blocks):
            parts += blocks
    except AudioError as error:
        status, said = "partial", error.reason
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return status, said, samples, info.sample_rate, info.duration_s


def difference(heard: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest difference where both have samples."""
    shared = min(len(heard), len(truth))
    return float(np.abs(heard[:shared] - truth[:shared]).max(initial=0))


def crops_differ(path: Path, truth: np.ndarray, rate: int, random: np.random.Generator) -> float:
    """Return the largest difference of 20 crops of 0.1 to 1 s from the same stretch of the truth."""
    worst = 0.0
    for _ in range(N_CROPS):
        n_samples = int(rate * random.uniform(0.1, 1))
        first = int(random.integers(max(1, len(truth) - n_samples)))
        crop = read_crop(path, first / rate, n_samples / rate, rate)
        if len(crop) < min(n_samples, len(truth) - first) - rate * SLACK_S - 2048:
            return float("inf")
        worst = max(worst, difference(crop, truth[first : first + n_samples]))
    return worst


def judge(path: Path, truth_path: Path, kind: str, fault: str, is_whole: bool, random: np.random.Generator) -> Verdict:
    """Compare a file with ffmpeg's decode of `truth_path`."""
    truth, rate, codec = decode(truth_path)
    status, said, heard, own_rate, probed_s = listen(path)
    wrong, apart, by_libraries = "", 0.0, False
    if status == "ok":
        # and half a sample for rounding
        slack_s = max(SLACK_S, (FRAME_SAMPLES.get(codec, 0) + 0.5) / (rate or 1))
        lengths = {"probe": probed_s, "open_stream": len(heard) / own_rate}
        true_s = len(truth) / (rate or 1)
        off = [f"{name} {length:.4f} s" for name, length in lengths.items() if abs(length - true_s) > slack_s]
        if len(truth) and own_rate != rate:
            wrong = f"rate {own_rate} Hz, ffmpeg {rate}"
        elif off:
            wrong = f"{', '.join(off)}, ffmpeg {true_s:.4f} s"
        else:
            tolerance = TOLERANCES.get(codec, TOLERANCE)
            by_libraries = difference(heard, truth) > tolerance
            truth = decode_by_libraries(truth_path) if by_libraries else truth
            apart = max(difference(heard, truth), crops_differ(path, truth, rate, random))
            if not apart <= tolerance:
                wrong = f"samples differ by {apart:.1e}"
    elif is_whole:
        wrong = f"{status}, though all of it is there"
    return Verdict(kind, fault, status, wrong, said, apart, by_libraries)


def compare(folder: Path, seed: int) -> list[tuple[Path, Verdict]]:
    """Return the verdict on each file below a folder, hidden ones left out."""
    random = np.random.default_rng(seed)
    manifest_path = folder / hard_recordings.MANIFEST
    manifest = json.loads(manifest_path.read_text()) if manifest_path.exists() else {}
    found = {recording.path for recording in find_recordings([folder])}
    verdicts = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        below = path.relative_to(folder)
        if any(part.startswith(".") for part in below.parts):
            continue
        made = manifest.get(below.as_posix(), {})
        kind, fault = made.get("kind", path.suffix.lower() or "no suffix"), made.get("fault", "")
        before = next((folder / hard_recordings.TRUTH).glob(f"{path.stem}.*"), path)
        verdict = judge(path, before, kind, fault, made.get("is_whole", False), random)
        if path not in found and (made or verdict.status != "refused"):
            verdict = Verdict(kind, fault, verdict.status, "passed over by aer predict", verdict.said)
        verdicts.append((path, verdict))
    return verdicts


def table(verdicts: list[Verdict]) -> str:
    """Kind by fault: how many are ok, partial, refused and wrong, and by how much the samples of ok ones differ."""
    counts = Counter((verdict.kind, verdict.fault, verdict.status) for verdict in verdicts)
    lines = [
        f"{'kind':14}{'fault':26}" + "".join(f"{name:>9}" for name in (*STATUSES, "wrong")) + "   differ  libraries"
    ]
    for kind, fault in sorted({(verdict.kind, verdict.fault) for verdict in verdicts}):
        here = [verdict for verdict in verdicts if (verdict.kind, verdict.fault) == (kind, fault)]
        numbers = "".join(f"{counts[kind, fault, status]:9}" for status in STATUSES)
        n_wrong, apart = sum(bool(verdict.wrong) for verdict in here), max(verdict.difference for verdict in here)
        n_libraries = sum(verdict.by_libraries for verdict in here)
        lines.append(f"{kind:14}{fault:26}{numbers}{n_wrong:9}   {apart:6.0e}  {n_libraries or ''}".rstrip())
    return "\n".join(lines)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--make", type=int, metavar="N", help="first make N files in the folder, which must be new")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    if chosen.make:
        hard_recordings.make(chosen.folder, chosen.make, chosen.seed)
    verdicts = compare(chosen.folder, chosen.seed)
    print(table([verdict for _, verdict in verdicts]))
    wrong = [(path, verdict) for path, verdict in verdicts if verdict.wrong]
    by_status = Counter(verdict.status for _, verdict in verdicts)
    counted = ", ".join(f"{by_status[status]} {status}" for status in STATUSES)
    print(f"\n{len(verdicts)} files: {counted}; {len(wrong)} wrong")
    for path, verdict in wrong:
        print(f"{path.name}: {verdict.kind}, {verdict.fault or 'as it is'}: {verdict.wrong}; {verdict.said}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
