"""Both scripts as a user runs them: in a subprocess, on small real recordings in four formats."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import launcher
from helpers.corpora import SMALL, make_corpus
from helpers.paths import ROOT
from sklearn.metrics import average_precision_score

from aer.corpus.discovery import find_corpus
from aer.models import bundle
from aer.training import checkpoint_file, validation_scores
from aer.training.datasets import ValidationWindows

ONLY_OF = {"train_panns.py": "", "train_resnest.py": "--image-height 32"}


def run(script: str, options: str, folder: Path, *before: str, forked: bool = True) -> subprocess.CompletedProcess[str]:
    """The script, started in `folder` as a user starts it."""
    command = [*(before or (sys.executable,)), str(ROOT / script), *SMALL.split(), *ONLY_OF[script].split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return launcher.run([*command, *options.split()], cwd=folder, env=environment, timeout=500, forked=forked)


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("train_panns.py", "--warmup-steps 2 --spec-augment.time-masks 1 --spec-augment.time-mask-frames 4"),
        ("train_resnest.py", "--workers 2 --mixup.on waveform --loss-func Focal"),
    ],
)
def test_a_run_from_class_folders_to_the_best_model(tmp_path: Path, script: str, more: str) -> None:
    make_corpus(tmp_path / "corpus")
    (tmp_path / "corpus/robin/broken.wav").write_bytes(b"RIFF and nothing else")
    options = f"--corpus corpus --run-dir out {more}"
    done = run(script, options, tmp_path, forked=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress bars without a terminal, no warnings that a user can't act on
    assert "broken.wav" in done.stdout
    assert "macro F1" in done.stdout
    assert "mAP" in done.stdout
    assert f"best model: {Path('out/checkpoints/best.pth')}" in done.stdout

    out = tmp_path / "out"
    history = pd.read_csv(out / "metrics.csv")
    assert history["epoch"].tolist() == [1, 2]
    assert history[["train_loss", "valid_loss", "valid_f1", "valid_map"]].notna().all(axis=None)
    assert (out / "classes.txt").read_text() == "robin\nwren\n"
    settings = json.loads((out / "settings.json").read_text())
    assert (settings["batch_size"], settings["mel"]["n_mels"], settings["n_folds"]) == (4, 32, 3)
    folds = pd.read_csv(out / "folds.csv")
    assert len(folds) == 18
    assert folds.groupby("fold").size().tolist() == [6, 6, 6]
    assert json.loads((out / "versions.json").read_text())["catalyst"] == "22.4"
    assert any((out / "tensorboard").rglob("events*"))
    best = checkpoint_file.load(out / "checkpoints/best.pth")
    assert best["classes"] == ["robin", "wren"]
    assert best["metrics"]["valid_f1"] == history["valid_f1"].max()

    assert f"recogniser: {Path('out/best.aer')}" in done.stdout
    check_bundle(out, best, history.set_index("epoch"))

    again = run(script, options, tmp_path)
    assert again.returncode == 0, again.stderr
    assert "2 of 2 epochs are done" in again.stdout
    assert "best model:" in again.stdout
    if script == "train_resnest.py":
        # the same code for both, and this model is a third of the size
        longer = run(script, f"{options} --epochs 3", tmp_path)
        assert longer.returncode == 0, longer.stderr
        assert "changed: epochs 2 -> 3" in longer.stdout
        assert pd.read_csv(out / "metrics.csv")["epoch"].tolist() == [1, 2, 3]
    other = run(script, f"{options} --learning-rate 0.01", tmp_path)
    assert other.returncode == 2
    assert "learning_rate 0.001 -> 0.01" in other.stderr
    assert "--fresh" in other.stderr


def check_bundle(out: Path, best: dict[str, Any], history: pd.DataFrame) -> None:
    """best.aer holds the best epoch's model, and its scores are those of the training loop's validation."""
    recogniser, scores = bundle.load(out / "best.aer"), validation_scores.load(out / "validation_scores.npz")
    assert (recogniser.classes, recogniser.epoch) == (("robin", "wren"), best["epoch"])
    model = recogniser.build_model()
    assert all(torch.equal(value, best["model"][name]) for name, value in model.state_dict().items())
    by_recording = pd.DataFrame(scores.window_scores).groupby(scores.window_recordings).mean()
    valid_map = history.loc[best["epoch"], "valid_map"]
    assert average_precision_score(scores.targets, by_recording) == pytest.approx(valid_map)
    # each window alone
    found = find_corpus(out.parent / "corpus").recordings
    held_out = [recording for recording in found if str(recording.path.relative_to(out.parent)) in scores.recordings]
    windows = ValidationWindows(held_out, recogniser.classes, recogniser.settings)
    with torch.inference_mode():
        alone = [model(item["waveform"][None]) for item in windows]
    np.testing.assert_allclose(torch.cat([one["clipwise_output"] for one in alone]), scores.window_scores, atol=1e-5)
    if scores.frame_maxima is not None:
        maxima = torch.cat([(one["framewise_output"] * one["clipwise_output"]).amax(dim=1) for one in alone])
        np.testing.assert_allclose(maxima, scores.frame_maxima, atol=1e-5)
    assert (scores.frame_maxima is not None) == (recogniser.kind == "panns")


def test_a_run_that_stopped_ends_with_the_very_weights_of_one_that_did_not(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus")
    options = (
        "--corpus corpus --mixup.on spectrogram --waveform-augment.gain-db 6 --optimizer AdamW --learning-rate 1e-4"
    )
    for workers, out, stops in ((0, "whole", [2]), (2, "parts", [1, 2])):
        for epochs in stops:
            done = run("train_resnest.py", f"{options} --epochs {epochs} --workers {workers} --run-dir {out}", tmp_path)
            assert done.returncode == 0, done.stderr
    assert (tmp_path / "whole/metrics.csv").read_bytes() == (tmp_path / "parts/metrics.csv").read_bytes()
    whole, parts = (
        checkpoint_file.load(tmp_path / out / "checkpoints/last.pth")["model"] for out in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_mixed_precision(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus", clips_per_class=3)
    done = run("train_resnest.py", "--corpus corpus --run-dir out --epochs 1 --mixed-precision bf16", tmp_path)
    assert done.returncode == 0, done.stderr
    weights = checkpoint_file.load(tmp_path / "out/checkpoints/last.pth")["model"]
    assert all(value.dtype != torch.bfloat16 for value in weights.values())


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus")
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = run("train_resnest.py", "--corpus corpus --run-dir out", tmp_path, *torchrun)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best model:") == 1
    assert bundle.load(tmp_path / "out/best.aer").kind == "resnest"
    assert len(validation_scores.load(tmp_path / "out/validation_scores.npz").recordings) == 6
    assert pd.read_csv(tmp_path / "out/metrics.csv")["epoch"].tolist() == [1, 2]


def empty_class(folder: Path) -> str:
    (folder / "corpus/owl").mkdir()
    return "--corpus corpus"


def csv_of_missing_files(folder: Path) -> str:
    (folder / "list.csv").write_text("path,labels\ncorpus/robin/robin_0.wav,robin\ncorpus/gone.wav,wren\n")
    return "--corpus corpus --csv list.csv"


def several_labels(folder: Path) -> str:
    rows = [f"corpus/{name}/{name}_{i}.wav,{name}" for name in ("robin", "wren") for i in (0, 4, 8)]
    (folder / "list.csv").write_text("\n".join(["path,labels", "corpus/robin/robin_1.flac,robin;wren", *rows]))
    return "--csv list.csv --loss-func CrossEntropy"


def one_class(folder: Path) -> str:
    shutil.copytree(folder / "corpus/robin", folder / "one/robin")
    return "--corpus one"


def no_weights_file(folder: Path) -> str:
    (folder / "weights.pth").write_text("these are no weights")
    return "--corpus corpus --pretrained-panns weights.pth"


def no_checkpoint(folder: Path) -> str:
    (folder / "weights.pth").write_text("these are no weights")
    return "--corpus corpus --initial-weights weights.pth"


def other_files_in_run_dir(folder: Path) -> str:
    (folder / "out").mkdir()
    (folder / "out/thesis.txt").write_text("mine")
    return "--corpus corpus"


def option(text: str) -> Callable[[Path], str]:
    return lambda folder: text


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (option("--corpus nowhere"), "nowhere"),
        (empty_class, "owl"),
        (csv_of_missing_files, "gone.wav"),
        (several_labels, "CrossEntropy takes one class per recording, and 1 have none or several"),
        (option("--corpus corpus --batch-size 13"), "batch_size 13"),
        (one_class, "the corpus has 1 class(es) (robin); two are needed"),
        (option("--corpus corpus --optimizer Adamm"), "did you mean Adam"),
        (option("--corpus corpus --scheduler StepLRR"), "did you mean StepLR"),
        (option("--corpus corpus --n-folds 30"), "30"),
        (option("--corpus corpus --mixed-precision fp16"), "fp16 needs a GPU"),
        (option("--corpus corpus --run-dir /sys/kernel/aer"), "can't be written"),
        (option("--corpus corpus --run-dir corpus/robin/robin_0.wav"), "is a file"),
        (no_weights_file, "weights.pth"),
        (no_checkpoint, "weights.pth: damaged: cut short, or no checkpoint of aer"),
        (other_files_in_run_dir, "holds files that are no run of aer"),
    ],
)
def test_bad_input_ends_with_one_line_status_2_and_nothing_written(
    tmp_path: Path, prepare: Callable[[Path], str], message: str
) -> None:
    make_corpus(tmp_path / "corpus")
    options = prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    # the smaller model, where it is built before that is found
    script = "train_panns.py" if "--pretrained-panns" in options else "train_resnest.py"
    done = run(script, f"--run-dir out {options}", tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_read_only_place_for_the_run(tmp_path: Path) -> None:
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("root may write everywhere; /sys above stands for this case")
    make_corpus(tmp_path / "corpus")
    (tmp_path / "locked").mkdir(mode=0o500)
    done = run("train_panns.py", "--corpus corpus --run-dir locked/out", tmp_path)
    assert done.returncode == 2
    assert "can't be written" in done.stderr
