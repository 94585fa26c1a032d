"""`aer prepare` beside a bare loop of soundfile and soxr, on the same files with the same number of processes.

    python benchmarks/prepare_throughput.py FOLDER_OF_CLASS_FOLDERS [--rounds 5] [--workers 2]

Both run as whole commands, in turns, each into an empty folder; the ratio is of their times, round by round. The bare
loop reads a file whole, takes the mean of its channels, resamples it and writes it: no checks, no report, no going on.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile
import soxr

RATE = 32_000


def bare_file(paths: tuple[str, str]) -> None:
    """Reads one file and writes it resampled."""
    source, target = paths
    samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    soundfile.write(target, soxr.resample(samples.mean(axis=1), rate, RATE, quality="VHQ"), RATE, subtype="PCM_16")


def bare_loop(source: Path, out: Path, workers: int) -> None:
    """The loop that a script would have."""
    pairs = []
    for folder in sorted(source.iterdir()):
        (out / folder.name).mkdir(parents=True)
        pairs += [(str(file), str(out / folder.name / f"{file.stem}.wav")) for file in sorted(folder.iterdir())]
    with multiprocessing.Pool(workers) as pool:
        pool.map(bare_file, pairs)


def timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Prints a row per round, and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--bare-into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare_into:
        bare_loop(arguments.source, arguments.bare_into, arguments.workers)
        return
    files = [file for file in arguments.source.glob("*/*") if file.is_file()]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    print(f"{len(files)} files, {megabytes:.0f} MB, {arguments.workers} processes, {RATE} Hz")
    workers = ["--workers", str(arguments.workers)]
    ratios = []
    for round_number in range(arguments.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            bare = timed([sys.executable, __file__, str(arguments.source), *workers, "--bare-into", f"{folder}/bare"])
            command = [
                sys.executable,
                "-m",
                "aer",
                "prepare",
                str(arguments.source),
                "--out",
                f"{folder}/aer",
                *workers,
            ]
            ours = timed(command)
            again = timed(command)
        if round_number:  # the first fills the caches
            ratios.append(bare / ours)
            print(
                f"bare {bare:.2f} s, aer {ours:.2f} s, throughput ratio {bare / ours:.2f}; a second call {again:.2f} s"
            )
    print(f"median throughput ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
