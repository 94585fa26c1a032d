"""What training leaves beside its checkpoints: scores of the validation windows, thresholds from them, the bundle."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from helpers.tiny import tiny_model
from helpers.tiny_runs import RATE, bundle_metadata, make_loud_and_quiet, tiny_settings
from sklearn.metrics import average_precision_score, f1_score

from aer.errors import InputError
from aer.models import bundle, thresholds
from aer.training import checkpoint_file, validation_scores
from aer.training.train import train


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_loud_and_quiet(tmp_path / "corpus")
    monkeypatch.setenv("TINY_FRAMES", "1")
    return tmp_path


def test_scores_and_bundle_are_those_of_the_best_epoch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tiny_settings(folder)
    train(settings, tiny_model)
    assert f"recogniser: {folder / 'run/best.aer'}" in capsys.readouterr().out
    scores, best = (
        validation_scores.load(folder / "run" / validation_scores.NAME),
        checkpoint_file.load(folder / "run/checkpoints/best.pth"),
    )
    history = pd.read_csv(folder / "run/metrics.csv", index_col="epoch").loc[best["epoch"]]
    assert history["valid_unreadable"] > 0

    folds = pd.read_csv(folder / "run/folds.csv", keep_default_na=False).set_index("path")
    held_out = folds[folds["side"] == "valid"]
    readable = [path for path in held_out.index if not path.endswith(("wren_1.flac", "wren_5.flac"))]
    assert scores.recordings.tolist() == readable
    assert len(held_out) - len(readable) == history["valid_unreadable"]
    assert scores.classes == ("robin", "wren")
    assert scores.folds.tolist() == [0] * len(readable)
    expected = [[label in held_out.loc[path, "labels"] for label in scores.classes] for path in readable]
    assert scores.targets.tolist() == expected
    assert [False, False] in expected  # a recording of nothing

    # by hand: the best epoch's layer on each window; a short recording is centred, the last window ends at the end
    weight, bias = best["model"]["head.weight"].numpy(), best["model"]["head.bias"].numpy()
    windows, owners, maxima = [], [], []
    for i, path in enumerate(readable):
        sound, _ = soundfile.read(path, dtype="float32")
        before = max(RATE - len(sound), 0) // 2
        sound = np.pad(sound, (before, max(RATE - len(sound), 0) - before))
        for start in sorted({*range(0, len(sound) - RATE + 1, RATE), len(sound) - RATE}):
            loudness = np.abs(sound[start : start + RATE]).reshape(16, -1).mean(axis=1)
            windows.append(1 / (1 + np.exp(-(weight @ loudness + bias))))
            maxima.append(windows[-1] * windows[-1] * loudness.max())  # frame-wise times clip-wise
            owners.append(i)
    assert scores.window_recordings.tolist() == owners
    np.testing.assert_allclose(scores.window_scores, windows, atol=1e-5)
    assert scores.frame_maxima is not None
    np.testing.assert_allclose(scores.frame_maxima, maxima, atol=1e-5)

    # the training loop's own figures
    mean = pd.DataFrame(scores.window_scores).groupby(scores.window_recordings).mean().to_numpy()
    np.testing.assert_allclose(mean, scores.by_recording("mean"), atol=1e-6)
    assert average_precision_score(scores.targets, mean) == pytest.approx(history["valid_map"])
    f1 = f1_score(scores.targets, mean >= 0.5, average=None, zero_division=np.nan)
    assert np.nanmean(f1) == pytest.approx(history["valid_f1"])

    metadata = bundle_metadata(folder / "run/best.aer")
    assert metadata["epoch"] == best["epoch"]
    assert metadata["metrics"]["valid_map"] == history["valid_map"]
    assert (metadata["background"], metadata["classes"]) == ("nocall", ["robin", "wren"])
    targets = scores.targets[scores.window_recordings]
    for what, given in (("window", scores.window_scores), ("frame", scores.frame_maxima)):
        fitted = thresholds.fit(targets, given, scores.window_recordings)
        assert [thresholds.from_dict(entry) for entry in metadata["thresholds"][what]] == fitted


def left_by(run_dir: Path) -> list[bytes]:
    return [(run_dir / name).read_bytes() for name in (bundle.NAME, validation_scores.NAME)]


def test_a_run_that_is_done_makes_what_is_missing_or_of_another_epoch(folder: Path) -> None:
    settings, run_dir = tiny_settings(folder), folder / "run"
    train(settings, tiny_model)
    before = left_by(run_dir)
    written_ns = (run_dir / bundle.NAME).stat().st_mtime_ns
    train(settings, tiny_model)
    assert (run_dir / bundle.NAME).stat().st_mtime_ns == written_ns  # nothing to do
    for name in (bundle.NAME, validation_scores.NAME):
        (run_dir / name).unlink()
        train(settings, tiny_model)
        assert left_by(run_dir) == before
        content = bytearray((run_dir / name).read_bytes())
        content[len(content) // 2] ^= 1
        (run_dir / name).write_bytes(content)
        train(settings, tiny_model)
        assert left_by(run_dir) == before
    longer = tiny_settings(folder, epochs=5)
    train(longer, tiny_model)
    assert left_by(run_dir)[1] != before[1]  # there is a better epoch
    train(tiny_settings(folder, epochs=5, run_dir=folder / "at_once"), tiny_model)
    assert left_by(run_dir) == left_by(folder / "at_once")


def test_without_frames_there_are_no_thresholds_of_frames(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINY_FRAMES")
    train(tiny_settings(folder, epochs=1), tiny_model)
    assert validation_scores.load(folder / "run" / validation_scores.NAME).frame_maxima is None
    metadata = bundle_metadata(folder / "run/best.aer")
    assert metadata["thresholds"]["frame"] is None
    assert len(metadata["thresholds"]["window"]) == 2


def test_a_background_class_that_no_recording_has(folder: Path) -> None:
    with pytest.raises(InputError, match=r"background_class: no recording has the label 'nocal' \(did you mean nocall"):
        train(tiny_settings(folder, background_class="nocal"), tiny_model)
    assert not (folder / "run").exists()


def test_one_class_per_recording_and_a_background_do_not_go_together(folder: Path) -> None:
    with pytest.raises(InputError, match="CrossEntropy takes one class per recording, and 9 have none or several"):
        train(tiny_settings(folder, loss_func="CrossEntropy"), tiny_model)


def test_scores_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        validation_scores.load(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("no scores")
    with pytest.raises(InputError, match="can't be read as scores"):
        validation_scores.load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    with pytest.raises(InputError, match="can't be read as scores"):
        validation_scores.load(tmp_path / "other.npz")
    torch.save({}, tmp_path / "weights.npz")
    with pytest.raises(InputError, match="can't be read as scores"):
        validation_scores.load(tmp_path / "weights.npz")
