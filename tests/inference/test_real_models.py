"""Recognition as a whole: real models, real files, real commands."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from helpers import launcher
from helpers.bundles import METRICS, small, some_thresholds
from helpers.paths import ROOT
from helpers.recordings import bursts, in_memory, recognised, recordings_of
from helpers.tiny_predict import RATE

from aer.cli import recognition
from aer.cli.options import Machine
from aer.corpus.discovery import Recording as CorpusRecording
from aer.errors import InputError
from aer.inference.plan import Options, load_plan
from aer.inference.recordings import find_recordings
from aer.models import bundle
from aer.models.kinds import Kind
from aer.models.registry import MODELS
from aer.settings import AnySettings
from aer.training import validation_scores
from aer.training.datasets import ValidationWindows

BIRDS = ("robin", "wren", "owl")

pytestmark = pytest.mark.xdist_group("real_models")  # what its fixtures make is made once


def build(kind: Kind, folder: Path) -> tuple[Path, AnySettings, torch.nn.Module]:
    """A bundle of an untrained model whose scores spread: its batch normalisation has seen noise, its head is steep."""
    settings = small(kind)
    torch.manual_seed(3)
    model = MODELS[kind].build(settings, len(BIRDS))
    noise = np.stack([bursts(0.64, seed)[:, 0] for seed in range(16)])
    with torch.no_grad():
        for _ in range(4):
            output = model(torch.from_numpy(noise))
    model.eval()
    for name, shape in MODELS[kind].shapes(settings, len(BIRDS)).items():
        if shape[0] == len(BIRDS):
            model.get_parameter(name).data *= 50
    thresholds = {
        "window": some_thresholds(len(BIRDS)),
        "frame": some_thresholds(len(BIRDS)) if "framewise_output" in output else None,
    }
    path = folder / f"{kind}.aer"
    bundle.write(
        path,
        bundle.build_metadata(settings, BIRDS, 3, METRICS, model.state_dict()),
        thresholds,
        model.state_dict(),
        "make room",
    )
    return path, settings, model


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, tuple[Path, AnySettings, torch.nn.Module]]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: build(kind, folder) for kind in MODELS}


@pytest.mark.parametrize("kind", MODELS)
def test_scores_are_those_of_validation_and_of_the_same_audio_alone(
    folder: Path, real: dict[Kind, tuple[Path, AnySettings, torch.nn.Module]], kind: Kind
) -> None:
    path, settings, model = real[kind]
    recordings = [recording for recording in recordings_of(folder) if "4.wav" not in recording.name]
    plan, _ = load_plan([path], Options(overlap_s=0.0, embeddings=True), "cpu")
    with torch.no_grad():
        n_features = model(torch.zeros(1, settings.clip_samples))["embedding"].shape[1]
    results = recognised(recordings, plan, batch_size=5)
    listed = [
        CorpusRecording(
            recording.path, (), soundfile.info(recording.path).duration, soundfile.info(recording.path).samplerate
        )
        for recording in recordings
    ]
    windows = ValidationWindows(listed, BIRDS, settings)
    expected = validation_scores.score_windows(model, windows, BIRDS, 0, "", batch_size=7, workers=0)
    assert len(expected.window_scores) == sum(len(result.scores) for result in results)
    for row, result in enumerate(results):
        np.testing.assert_allclose(result.scores, expected.window_scores[expected.window_recordings == row], atol=1e-5)
        assert result.embeddings is not None
        assert result.embeddings.shape == (len(result.scores), n_features)
        sound, size = in_memory(Path(result.path)), settings.clip_samples
        for start_s, scores in list(zip(result.starts_s, result.scores, strict=True))[:3]:
            start = round(start_s * RATE)
            alone = np.zeros(size, np.float32)
            piece = sound[max(start, 0) : start + size]
            alone[max(-start, 0) :][: len(piece)] = piece
            with torch.inference_mode():
                output = model(torch.from_numpy(alone)[None])["clipwise_output"][0].numpy()
            np.testing.assert_allclose(scores, output, atol=1e-5)
    assert np.concatenate([result.scores for result in results]).std(axis=0).max() > 1e-3  # they tell windows apart


def aer(*arguments: str | Path, cwd: Path, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *(before or ("-m", "aer")), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return launcher.run(command, cwd=cwd, env=environment, timeout=240)


def test_the_command(folder: Path, real: dict[Kind, tuple[Path, AnySettings, torch.nn.Module]]) -> None:
    path = real["resnest"][0]
    (folder / "bad.wav").write_text("no audio")
    for name in ("notes.txt", "more.txt", "photo.jpg"):
        (folder / "site" / name).write_text("no audio")
    call = (
        *("predict", path, "bad.wav", "site", "--threshold", "0.2", "--format", "csv", "json", "parquet"),
        *("--overlap", "0.32", "--embeddings", "--segments", "site/clips", "--top-n", "1"),
    )
    done = aer(*call, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "windows of 0.64 s with 0.32 s overlap at 16000 Hz, events by windows, on cpu\n8 recordings\n" in done.stdout
    assert "\n8 recordings\nno audio: 2 .txt, 1 .jpg\n" in done.stdout
    assert "bad.wav: failed: not audio" in done.stdout
    files = pd.read_csv(folder / "predictions/files.csv", index_col="file")
    assert files["status"].to_dict() == {f"{n}.wav": "ok" for n in range(6)} | {
        "stereo.flac": "ok",
        "bad.wav": "failed",
    }
    events = pd.read_csv(folder / "predictions/events.csv")
    assert len(events) == sum(files["events"]) > 0
    results = recognised(
        find_recordings([folder / "site"]),
        load_plan([path], Options(overlap_s=0.32, threshold=0.2), "cpu")[0],
    )
    expected = [[result.name, event.start_s, event.end_s, event.score] for result in results for event in result.events]
    found = events[["file", "start_s", "end_s", "score"]].to_numpy().tolist()
    assert [row[0] for row in found] == [row[0] for row in expected]
    np.testing.assert_allclose([row[1:] for row in found], [row[1:] for row in expected], atol=1e-3)
    json.loads((folder / "predictions/events.json").read_text())
    vectors = pd.read_parquet(folder / "predictions/embeddings.parquet")
    scores = pd.read_parquet(folder / "predictions/scores.parquet")
    assert np.stack(vectors["embedding"]).shape == (sum(files["windows"]), 2048)
    assert vectors[["file", "start_s"]].equals(scores[["file", "start_s"]])

    clips = pd.read_csv(folder / "site/clips/segments.csv", index_col="segment")
    best = events.groupby("label")["score"].max()
    assert dict(zip(clips["label"], clips["score"], strict=True)) == best.to_dict()
    assert {path.relative_to(folder / "site/clips").as_posix() for path in folder.glob("site/clips/*/*")} == set(
        clips.index
    )

    before = (folder / "predictions/events.csv").read_bytes()
    by_two = aer(
        *call, "--out", "by_two", cwd=folder,
        before=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "aer"),
    )  # fmt: skip
    assert by_two.returncode == 0, by_two.stderr
    assert by_two.stdout.count("8 recordings\n") == 1  # one process speaks
    assert " times real time" in by_two.stdout
    assert (folder / "by_two/events.csv").read_bytes() == before
    assert (folder / "by_two/files.csv").read_bytes() == (folder / "predictions/files.csv").read_bytes()


def test_the_command_tells_what_is_wrong(
    folder: Path, real: dict[Kind, tuple[Path, AnySettings, torch.nn.Module]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = real["resnest"][0]
    monkeypatch.chdir(folder)
    for call, options, message in (
        (("site",), {}, "aer predict needs a bundle"),
        ((path,), {}, "aer predict needs recordings"),
        ((path, "nowhere"), {}, "nowhere is not there"),
        ((path, "site"), {"threshold": 0.5, "precision": 0.9}, "--threshold and --precision exclude each other"),
        ((path, "site"), {"hysteresis": 1.5}, "--hysteresis must be 0 to 1, it is 1.5"),
        ((path, "site"), {"machine": Machine(batch_size=0)}, "--batch-size must be 1 to 65536, it is 0"),
        ((path, "site"), {"machine": Machine(workers=0)}, "--workers must be 1 or more, it is 0"),
        ((path, "site"), {"top_n": 0}, "--top-n must be 1 or more, it is 0"),
        ((path, "site"), {"window": 1e300}, "--window must be 1e-06 to 86400, it is 1e"),
        ((path, "site"), {"segments": Path("site/0.wav")}, "--segments site/0.wav is no folder"),
        ((path, "site"), {"segments": Path("many")}, "--segments many has something in it"),
        ((path, "site"), {"overlap": float("nan")}, "--overlap must be 0 or more, it is nan"),
        ((path, "site"), {"format": ("kaggle",)}, "--test-csv"),
    ):
        with pytest.raises(InputError, match=message):
            recognition.predict(recognition.PredictOptions(tuple(map(Path, call)), **options))
    done = aer(
        "predict", path, "site", "--window", "86400", "--batch-size", "65536", cwd=folder
    )  # no machine has 362 TB
    assert done.returncode == 1
    assert done.stderr.startswith("error: out of memory: set --batch-size (now 65536) lower, or --window (now 86400 s)")
    shutil.rmtree(folder / "predictions")
    done = aer("predict", path, "nowhere", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: nowhere is not there\n")
    done = aer("predict", path, "site", "--format", "raven", "--format", "csv", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --format is given more than once: give it once, with all its values\n"
    assert not (folder / "predictions").exists()
