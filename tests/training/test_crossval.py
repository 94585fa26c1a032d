"""All folds one after another: the figures, and that a stop in between changes nothing."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import launcher
from helpers.corpora import SMALL, make_corpus
from helpers.paths import HELPERS, ROOT
from helpers.same import run_differences
from helpers.tiny import tiny_model
from helpers.tiny_runs import bundle_metadata, make_loud_and_quiet, tiny_settings
from sklearn.metrics import average_precision_score, f1_score

from aer.errors import AerError, InputError
from aer.models import bundle, thresholds
from aer.models.summary import summary
from aer.training import checkpoint_file, validation_scores
from aer.training.crossval import FIGURES, POOLED, crossval, pool
from aer.training.train import train

pytestmark = pytest.mark.xdist_group("crossval")  # what its fixtures make is made once

TESTS = HELPERS
N_FOLDS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and all folds of it, in `run`."""
    folder = tmp_path_factory.mktemp("crossval")
    make_loud_and_quiet(folder / "corpus")
    done = start(folder, "run").communicate(timeout=200)
    (folder / "output.txt").write_text(done[0])
    return folder


def start(folder: Path, run_dir: str, **environment: object) -> "subprocess.Popen[str]":
    options = (
        f"--corpus corpus --run-dir {run_dir} --clip-duration-s 1 --batch-size 4 --n-folds {N_FOLDS} --epochs 3 "
        "--learning-rate 0.3 --warmup-steps 0 --scheduler None --device cpu --loss-func BCEWithLogits "
        "--main-metric loss --background-class nocall --max-unreadable-share 0.5"
    )
    return launcher.Popen(
        [sys.executable, str(TESTS / "tiny_crossval.py"), *options.split()],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TINY_FRAMES": "1", **{k: str(v) for k, v in environment.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_the_figures_are_those_of_all_recordings_each_held_out_once(folder: Path) -> None:
    pooled = validation_scores.load(folder / "run" / POOLED)
    unreadable = {str(Path("corpus/wren") / f"wren_{i}.flac") for i in (1, 5)}
    everything = {str(path.relative_to(folder)) for path in (folder / "corpus").rglob("*.flac")}
    assert len(pooled.recordings) == len(set(pooled.recordings.tolist()))
    assert set(pooled.recordings.tolist()) == everything - unreadable
    folds = pd.read_csv(folder / "run/fold-0/folds.csv", index_col="path")["fold"]
    assert folds[pooled.recordings].tolist() == pooled.folds.tolist()

    table = pd.DataFrame(pooled.window_scores).groupby(pooled.window_recordings).mean().to_numpy()
    figures = pd.read_csv(folder / "run" / FIGURES, dtype={"fold": str}).set_index("fold")
    assert figures.index.tolist() == ["0", "1", "2", "all"]
    for name, chosen in [("all", pooled.folds >= 0), *((str(k), pooled.folds == k) for k in range(N_FOLDS))]:
        targets, scores = pooled.targets[chosen], table[chosen]
        assert figures.loc[name, "recordings"] == chosen.sum()
        assert figures.loc[name, "map"] == pytest.approx(average_precision_score(targets, scores))
        f1 = f1_score(targets, scores >= 0.5, average=None, zero_division=np.nan)
        assert figures.loc[name, "macro_f1"] == pytest.approx(np.nanmean(f1))
    output = (folder / "output.txt").read_text()
    assert f"mAP {figures.loc['all', 'map']:.4f}" in output
    assert "over all 25 recordings, each by the model that has not been trained on it" in output

    targets = pooled.targets[pooled.window_recordings]
    fitted = thresholds.fit(targets, pooled.window_scores, pooled.window_recordings)
    for fold in range(N_FOLDS):
        metadata = bundle_metadata(folder / f"run/fold-{fold}.aer")
        own = bundle_metadata(folder / f"run/fold-{fold}/best.aer")
        assert [thresholds.from_dict(entry) for entry in metadata["thresholds"]["window"]] == fitted
        assert metadata["weights_sha256"] == own["weights_sha256"]
        assert (metadata["settings"]["fold"], metadata["epoch"]) == (fold, own["epoch"])
        assert metadata["metrics"]["crossval_map"] == pytest.approx(figures.loc["all", "map"])
        assert metadata["metrics"]["valid_map"] == pytest.approx(figures.loc[str(fold), "map"])


def all_differences(one: Path, other: Path) -> list[str]:
    """What differs between two folders of all folds."""
    names = sorted(path.name for path in one.iterdir())
    found = [] if names == sorted(path.name for path in other.iterdir()) else [f"{names}"]
    for fold in range(N_FOLDS):
        found += run_differences(one / f"fold-{fold}", other / f"fold-{fold}")
    files = [name for name in names if (one / name).is_file()]
    return [*found, *(name for name in files if (one / name).read_bytes() != (other / name).read_bytes())]


def test_killed_in_the_second_fold_it_goes_on_and_ends_the_same(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").symlink_to(folder / "corpus")
    run = start(tmp_path, "run", TINY_SLEEP_S=0.02)
    end_s = time.monotonic() + 100
    while not (tmp_path / "run/fold-1/metrics.csv").exists():
        assert run.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=20)
    assert not (tmp_path / "run/fold-1/best.aer").exists()
    run = start(tmp_path, "run")
    output, _ = run.communicate(timeout=100)
    assert run.returncode == 0, output
    assert re.search(r"going on with run/fold-0: 3 of 3 epochs are done.*\n(.*\n)*going on with run/fold-1: ", output)
    assert all_differences(folder / "run", tmp_path / "run") == []


def test_a_fold_is_the_same_as_a_run_of_that_fold_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TINY_FRAMES", "1")
    alone = {"corpus": "corpus", "run_dir": tmp_path / "alone", "epochs": 3, "fold": 2}
    train(tiny_settings(folder, **alone), tiny_model)
    one, two = (
        checkpoint_file.load(path / "checkpoints/best.pth") for path in (folder / "run/fold-2", tmp_path / "alone")
    )
    assert bundle.weights_digest(one["model"]) == bundle.weights_digest(two["model"])
    for name in ("metrics.csv", "best.aer", "validation_scores.npz"):
        assert (folder / "run/fold-2" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fresh": True}, "leave --fresh out"),
        ({"group_by": "author", "validation_groups": ("theo",)}, "validation_groups is set"),
        ({"run_dir": "single"}, "holds a run of a single fold"),
        ({"run_dir": "corpus/wren/wren_2.flac"}, "is a file"),
        ({"corpus": "nowhere", "run_dir": "new"}, "nowhere"),
    ],
)
def test_what_can_not_be_crossvalidated(folder: Path, changes: dict[str, Any], message: str) -> None:
    (folder / "single").mkdir(exist_ok=True)
    (folder / "single/settings.json").write_text("{}")
    paths = {name: folder / changes[name] for name in ("run_dir", "corpus") if name in changes}
    with pytest.raises(InputError, match=message):
        crossval(tiny_settings(folder, **{"run_dir": folder / "new", **changes, **paths}), tiny_model)
    assert not (folder / "new").exists()


def test_folds_that_do_not_fit_together(folder: Path) -> None:
    parts = [validation_scores.load(folder / f"run/fold-{fold}" / validation_scores.NAME) for fold in range(2)]
    with pytest.raises(AerError, match="held out in two folds"):
        pool([parts[0], parts[0]])
    with pytest.raises(AerError, match="other classes"):
        pool([parts[0], validation_scores.ValidationScores(**{**vars(parts[1]), "classes": ("a", "b")})])


def aer(options: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "aer", *options.split()]
    return launcher.run(command, cwd=folder, env=environment, timeout=400)


def test_the_command_with_a_real_model(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus", clips_per_class=5)
    options = f"--config {ROOT / 'config.py'} --corpus corpus --image-height 32 {SMALL} --n-folds 2 --epochs 1"
    done = aer(f"crossval resnest {options} --run-dir all", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    figures = pd.read_csv(tmp_path / "all" / FIGURES)
    assert figures["recordings"].tolist() == [5, 5, 10]
    bundles = [bundle.load(tmp_path / f"all/fold-{fold}.aer") for fold in range(2)]
    assert bundles[0].thresholds == bundles[1].thresholds
    assert bundles[0].metrics["crossval_f1"] == pytest.approx(figures["macro_f1"].iloc[-1])
    assert bundles[0].digest != bundles[1].digest
    refused = aer(f"crossval resnest {options} --fold 1", tmp_path)
    assert (refused.returncode, refused.stderr) == (2, "error: crossval trains all folds: leave --fold out\n")
    missing = aer("crossval panns", tmp_path)
    assert missing.returncode == 2
    assert missing.stderr == "error: config module config.py is not there; --config names another\n"
    text = summary(tmp_path / "all/fold-0.aer")
    assert "32 high" in text
    assert "each recording by the model that has not heard it" in text
