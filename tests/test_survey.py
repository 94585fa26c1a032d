"""`aer corpus` on corpora made by hand, with numpy on the same files as the oracle."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

PROJECT = Path(__file__).parents[1]


def survey(*arguments: object, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "aer", "corpus", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def noise(n_samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, n_samples).astype(np.int16)


def add(root: Path, name: str, samples: np.ndarray, rate: int = 16000) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two classes of six clips; one clip of each kind that should be told of."""
    root = tmp_path / "corpus"
    for index in range(6):
        add(root, f"robin/{index}.wav", noise(16000 + index, index))
        add(root, f"wren/{index}.wav", noise(32000, 10 + index))
    return root


def test_sizes_and_levels(corpus: Path, tmp_path: Path) -> None:
    loud = noise(16000, 50)
    loud[100:130] = 32767
    add(corpus, "robin/loud.wav", loud)
    add(corpus, "robin/faint.wav", np.random.default_rng(3).integers(-9, 9, 16000).astype(np.int16))
    printed = survey(corpus, "--details", tmp_path / "d.csv")
    assert "14 clips, 0.01 hours, 2 classes" in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith(("robin", "wren"))]
    assert rows == [["robin", "8", "0.1", "1.0", "1.0", "1.0"], ["wren", "6", "0.2", "2.0", "2.0", "2.0"]]
    assert "sample rates: 16000 Hz (14)" in printed and "no audio is there twice" in printed
    assert "loud.wav: 30 samples" in printed
    assert "faint.wav: -76 dBFS" in printed
    with (tmp_path / "d.csv").open(newline="") as file:
        details = {Path(row["path"]).name: row for row in csv.DictReader(file) if "robin" in row["path"]}
    for name, row in details.items():
        samples = soundfile.read(corpus / "robin" / name)[0]
        assert float(row["rms_dbfs"]) == pytest.approx(20 * np.log10(np.sqrt(np.mean(samples**2))), abs=0.01)
        assert float(row["peak_dbfs"]) == pytest.approx(20 * np.log10(np.abs(samples).max()), abs=0.01)
        assert int(row["full_scale_samples"]) == np.count_nonzero(np.abs(samples) >= 32767 / 32768)


def test_the_same_audio_twice_is_found_whatever_its_format(corpus: Path, tmp_path: Path) -> None:
    add(corpus, "wren/copy.flac", noise(16003, 3))
    for index in range(6):
        add(corpus, f"robin/again{index}.wav", noise(16000 + index, index))
    printed = survey(corpus, "--details", tmp_path / "d.csv")
    assert "the same audio more than once: 6" in printed
    assert "of these with different labels (one of them must be wrong): 1" in printed
    assert "3.wav (robin)" in printed and "copy.flac (wren)" in printed
    with (tmp_path / "d.csv").open(newline="") as file:
        details = list(csv.DictReader(file))
    folds: dict[str, set[str]] = {}
    for row in details:
        folds.setdefault(row["digest"], set()).add(row["fold"])
    across = sum(len(found) > 1 for found in folds.values())
    assert across and f"of these in different folds (validation would hear what was learnt): {across}" in printed
    assert sum(row["duplicate_of"] != "" for row in details) == 7


def test_what_is_broken_is_named(corpus: Path) -> None:
    (corpus / "robin" / "empty.wav").write_bytes(b"")
    soundfile.write(corpus / "robin" / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    (corpus / "robin" / "notes.txt").write_text("at dawn")
    printed = survey(corpus)
    assert "left out: 2" in printed and "empty.wav: is empty" in printed and "notes.txt" in printed
    assert "can't be decoded: 1" in printed and "nan.wav: has samples that are NaN" in printed


def test_quick_reads_headers_only_and_says_why_there_are_no_folds(corpus: Path) -> None:
    printed = survey(corpus, "--quick")
    assert "12 clips" in printed and "twice" not in printed
    assert "n_folds 50 is more than the 12 recordings" in survey(corpus, "--n-folds", 50)


def test_names_do_not_reach_the_terminal_or_a_formula(corpus: Path, tmp_path: Path) -> None:
    add(corpus, "=\x1b[31mred$x/a.wav", noise(16000, 99))
    printed = survey(corpus, "--details", tmp_path / "d.csv", "--plot", tmp_path / "c.png")
    assert "\x1b" not in printed and "=\\x1b[31mred$x" in printed
    assert (tmp_path / "c.png").stat().st_size > 5000
    with (tmp_path / "d.csv").open(newline="") as file:
        assert not any(row["labels"].startswith("=") for row in csv.DictReader(file))


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "--n-folds", "1"], [".", "--workers", "0"]])
def test_bad_input_is_one_line(arguments: list[str]) -> None:
    printed = survey(*arguments, status=2)
    assert printed.startswith("error: ") and len(printed.splitlines()) == 1


def test_a_picture_that_cannot_be_written(corpus: Path) -> None:
    assert "can't be written" in survey(corpus, "--plot", "/nowhere/c.png", status=2)
