"""`aer prepare` killed with SIGKILL at random moments until it is through, against an undisturbed run.

    python benchmarks/prepare_kills.py FOLDER_OF_CLASS_FOLDERS [--kills 10] [--seed 0]

Each of the kills meets a run from an empty folder, at a random part of the time that an undisturbed one takes; the run
after it must complete, and leave every file (clips, CSV, report, journal) as the undisturbed one did, byte by byte.
"""

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def main() -> None:
    """Prints a row per kill; exit status 1 if a corpus differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("killed_corpus"), help="folder to work in; must not be there")
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"{arguments.out} is there already: name another --out")
    command = [sys.executable, "-m", "aer", "prepare", str(arguments.source), "--out", str(arguments.out)]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    duration_s = time.perf_counter() - began
    undisturbed = digests(arguments.out)
    print(f"undisturbed: {duration_s:.1f} s, {len(undisturbed)} files")
    random_numbers = random.Random(arguments.seed)
    differing = 0
    for number in range(1, arguments.kills + 1):
        shutil.rmtree(arguments.out)
        killed_after_s = random_numbers.uniform(0.1, 1) * duration_s
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(killed_after_s)
        running.send_signal(signal.SIGKILL)
        status = running.wait()
        done = len(list(arguments.out.rglob("*.wav")))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        same = digests(arguments.out) == undisturbed
        differing += not same
        ended = "killed" if status < 0 else "had ended"
        print(
            f"{number:2}: {ended} after {killed_after_s:.2f} s with {done} clips; {'identical' if same else 'DIFFERS'}"
        )
    shutil.rmtree(arguments.out)
    print(f"{arguments.kills - differing} of {arguments.kills} identical")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
