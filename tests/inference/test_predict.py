"""Recognition as a whole: real models, real files, real commands, against brute force on recordings in memory."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import soundfile
import soxr
import torch
from helpers import launcher
from helpers.bundles import METRICS, small, some_thresholds
from helpers.event_oracle import all_at_once
from helpers.paths import HELPERS, ROOT
from helpers.tiny_predict import CLASSES, HOP, RATE, WINDOW_S, tiny_bundle, tiny_work
from tqdm import tqdm

from aer.cli import recognition
from aer.corpus.discovery import Recording as CorpusRecording
from aer.errors import AerError, InputError
from aer.inference import plan, predict, result_store
from aer.inference.events import EventRules
from aer.inference.pipeline import recognise
from aer.inference.plan import Options, Work, assemble
from aer.inference.recogniser import Recogniser
from aer.inference.recordings import find_recordings
from aer.inference.results import FileResult
from aer.models import bundle
from aer.models.panns import build_panns
from aer.models.resnest import build_resnest
from aer.settings import AnySettings, PannsSettings
from aer.training import validation_scores
from aer.training.datasets import ValidationWindows

pytestmark = pytest.mark.xdist_group("predict")  # what its fixtures make is made once

SCRIPT = HELPERS / "tiny_predict.py"
BIRDS = ("robin", "wren", "owl")
Floats = npt.NDArray[np.float32]


def bursts(duration_s: float, seed: int, rate: int = RATE, channels: int = 1) -> Floats:
    """Noise (samples, channels) whose loudness jumps at random."""
    random = np.random.default_rng(seed)
    n_samples = round(duration_s * rate)
    loudness = np.repeat(random.choice([0.05, 0.3, 0.6, 0.9], 1 + n_samples * 20 // rate), -(-rate // 20))[:n_samples]
    return (loudness[:, None] * random.uniform(-1, 1, (n_samples, channels))).astype(np.float32)


def write(path: Path, duration_s: float, seed: int, rate: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, bursts(duration_s, seed, rate, channels), rate, subtype="PCM_16")
    return path


def recordings_of(folder: Path) -> list[result_store.Recording]:
    return find_recordings([folder])


def go(recordings: list[result_store.Recording], work: Work, batch_size: int = 4, threads: int = 2) -> list[FileResult]:
    with tqdm(total=sum(recording.size_bytes for recording in recordings), disable=True) as bar:
        done = list(recognise(recordings, work, batch_size, threads, bar))
    assert [recording for recording, _ in done] == recordings
    return [result for _, result in done]


def same(one: FileResult, other: FileResult) -> bool:
    """Equal in everything, bit for bit."""
    values = [[getattr(result, field.name) for field in dataclasses.fields(result)] for result in (one, other)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(*values, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of all kinds, longer and shorter than a window, at the model's rate and at others."""
    for number, duration_s in enumerate((3.7, 1.0, 0.33, 2.5, 12.01, 6.0)):
        write(tmp_path / f"site/{number}.wav", duration_s, number)
    write(tmp_path / "site/stereo.flac", 2.2, 7, rate=44100, channels=2)
    write(tmp_path / "many/channels.wav", 1.7, 8, channels=8)
    write(tmp_path / "many/ultrasonic.wav", 1.3, 9, rate=192_000)
    soundfile.write(tmp_path / "many/silent.wav", np.zeros(3 * RATE), RATE)
    soundfile.write(tmp_path / "many/one_sample.wav", np.full(1, 0.75), RATE)
    return tmp_path


def in_memory(path: Path) -> Floats:
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)
    if rate == RATE:
        return mono
    return soxr.resample(mono, rate, RATE, quality="VHQ")[: len(mono) * RATE // rate]


def by_brute_force(path: Path, overlap_s: float, rules: EventRules) -> tuple[list[int], Floats, list[tuple[Any, ...]]]:
    """Starts, scores (W, 2) and events of what the tiny model hears, all in memory."""
    sound = in_memory(path)
    size, n_samples = round(WINDOW_S * RATE), len(sound)
    hop, last = size - round(overlap_s * RATE), len(sound) - size
    before = max(-last, 0) // 2
    starts = sorted({*range(0, last, hop), last}) if last >= 0 else [-before]
    padded = np.pad(sound, (before, max(-last, 0) - before))
    scores, frames = [], np.zeros((-(-n_samples // HOP), 2, len(starts)))
    frames[:] = np.nan
    for w, start in enumerate(starts):
        window = np.abs(padded[start + before if last < 0 else start :][:size])
        clip = window.max() * np.array([1, np.float32(0.1)], dtype=np.float32)
        scores.append(clip)
        for k in range(size // HOP + 1):
            place = round(start / HOP) + k
            if 0 <= place < len(frames):
                peak = window[k * HOP : (k + 1) * HOP].max(initial=0)
                frames[place, :, w] = peak * np.array([1, np.float32(0.1)]) * clip
    line = np.nanmean(frames, axis=2).astype(np.float32)
    found = all_at_once(line, np.array([0.5, 0.5]), rules)
    events = [(b * HOP / RATE, min(e * HOP / RATE, n_samples / RATE), CLASSES[c], peak) for b, c, e, peak in found]
    return starts, np.array(scores), events


@pytest.mark.parametrize("overlap_s", [0.0, 0.5, 0.73])
def test_scores_and_events_are_those_of_brute_force(folder: Path, overlap_s: float) -> None:
    rules = EventRules(hysteresis=0.6, merge_gap_s=0.07, min_duration_s=0.05)
    recordings = recordings_of(folder)
    results = go(recordings, tiny_work(overlap_s=overlap_s, rules=rules))
    assert len(results) == len(recordings) == 11
    assert sum(len(result.events) for result in results) > 30
    for result in results:
        starts, scores, events = by_brute_force(Path(result.path), overlap_s, rules)
        reason = "" if in_memory(Path(result.path)).any() else "silent: all its samples are zero"
        assert (result.status, result.reason, result.classes) == ("ok", reason, CLASSES)
        np.testing.assert_allclose(result.starts_s, np.array(starts) / RATE, atol=1e-12)
        np.testing.assert_allclose(result.scores, scores, atol=1e-6)
        assert result.duration_s == len(in_memory(Path(result.path))) / RATE
        found = [(event.start_s, event.end_s, event.label) for event in result.events]
        assert found == [(pytest.approx(b), pytest.approx(e), label) for b, e, label, _ in events]
        assert [event.score for event in result.events] == pytest.approx([peak for *_, peak in events], abs=1e-6)


def test_events_by_windows(folder: Path) -> None:
    n_events = 0
    for result in go(recordings_of(folder), tiny_work(events="windows", overlap_s=0.25)):
        expected = [
            (max(start, 0), min(start + WINDOW_S, result.duration_s), name, pytest.approx(score))
            for start, row in zip(result.starts_s, result.scores, strict=True)
            for name, score in zip(CLASSES, row, strict=True)
            if score >= 0.5
        ]
        assert [(e.start_s, e.end_s, e.label, e.score) for e in result.events] == expected
        n_events += len(expected)
    assert n_events > 20


def test_nothing_depends_on_batches_and_threads(folder: Path) -> None:
    recordings, work = recordings_of(folder), tiny_work(embeddings=True)
    first = go(recordings, work, batch_size=1, threads=1)
    for batch_size, threads in ((3, 1), (5, 4), (64, 20)):
        others = go(recordings, work, batch_size, threads)
        assert all(same(one, other) for one, other in zip(first, others, strict=True))
    alone = [result for recording in recordings for result in go([recording], work)]
    assert all(same(one, other) for one, other in zip(first, alone, strict=True))


def test_bad_recordings_are_named_and_the_rest_goes_on(folder: Path) -> None:
    good = folder / "site/4.wav"
    (folder / "a_text.wav").write_text("no audio at all")
    (folder / "b_empty.wav").touch()
    soundfile.write(folder / "c_no_samples.wav", np.zeros(0), RATE)
    (folder / "d_cut_short.wav").write_bytes(good.read_bytes()[:30_044])  # as a recorder leaves it without battery
    late = np.full(800_000, 0.75, dtype=np.float32)
    late[-5:] = np.nan
    soundfile.write(folder / "e_late_nan.wav", late, RATE, subtype="FLOAT")
    soundfile.write(folder / "f_nan.wav", late[-RATE:], RATE, subtype="FLOAT")
    soundfile.write(folder / "f_nan_first.wav", late[-5:], RATE, subtype="FLOAT")
    write(folder / "g_vanished.wav", 2.0, 1)
    (folder / "h_folder.wav").mkdir()
    (folder / "i_link.wav").symlink_to(folder / "nowhere.wav")
    recordings = recordings_of(folder)
    (folder / "g_vanished.wav").unlink()
    results = {result.name: result for result in go(recordings, tiny_work())}
    assert len(results) == len(recordings) == 11 + 9
    expected = {
        "a_text.wav": ("failed", "not audio"),
        "b_empty.wav": ("empty", "0 bytes"),
        "c_no_samples.wav": ("empty", "no samples"),
        "d_cut_short.wav": ("partial", "bytes of audio, 30000 are there; scored up to 0.94 s"),
        "e_late_nan.wav": ("partial", "NaN or infinite; scored up to 50.00 s"),
        "f_nan.wav": ("partial", "NaN or infinite; scored up to 1.00 s"),
        "f_nan_first.wav": ("failed", "NaN or infinite"),
        "g_vanished.wav": ("failed", "no such file"),
        "i_link.wav": ("failed", "no such file"),
    }
    for name, (status, reason) in expected.items():
        assert results[name].status == status, name
        assert reason in results[name].reason
        assert str(folder) not in results[name].reason
    kept = results["e_late_nan.wav"]
    assert kept.duration_s == 799_995 / RATE
    assert kept.starts_s[-1] == kept.duration_s - WINDOW_S
    assert [(e.start_s, e.end_s) for e in kept.events] == [(0, pytest.approx(kept.duration_s, abs=HOP / RATE))]
    others = [result for name, result in results.items() if name not in expected]
    assert [result.status for result in others] == ["ok"] * 11


def told(recogniser: Recogniser, **options: Any) -> tuple[Work, str]:
    work, lines = assemble(recogniser, Options(**options))
    return work, "\n".join(lines)


def known(best_f1: float, *curve: tuple[float, float, float]) -> dict[str, Any]:
    platt = {"kind": "platt", "slope": 1.0, "intercept": 0.0}
    return {"n_positive": 9, "best_f1": best_f1, "f1": 1.0, "curve": list(curve), "calibration": platt, "note": ""}


def test_thresholds() -> None:
    unknown = {"n_positive": 2, "best_f1": None, "f1": None, "curve": [], "calibration": None, "note": "only 2 of 5"}
    lists = {"window": [known(0.3, (0.2, 0.5, 1.0), (0.6, 0.9, 0.5)), unknown], "frame": [known(0.1), unknown]}
    one = dataclasses.replace(tiny_bundle(), thresholds=lists)
    recogniser = Recogniser([one], None, "cpu")
    assert told(recogniser)[0].thresholds.tolist() == [0.1, 0.5]
    assert "threshold of quiet: 0.5 (only 2 of 5)" in told(recogniser)[1]
    work, lines = told(recogniser, events="windows", precision=0.8)
    assert work.thresholds.tolist() == [0.6, np.inf]
    assert "threshold of quiet: none, never reported (only 2 of 5)" in lines
    assert "loud" in told(recogniser, events="windows", precision=0.95)[1]
    work, lines = told(recogniser, threshold=0.7)
    assert work.thresholds.tolist() == [0.7, 0.7]
    assert "threshold of" not in lines
    assert recogniser.probabilities("window", 0, np.array([0.25, 0.5])) == pytest.approx([0.25, 0.5])
    assert recogniser.probabilities("window", 1, np.array([0.25, 0.5])) == [None, None]
    lists = {**lists, "window": [known(0.5), known(0.4)]}
    both = Recogniser([one, dataclasses.replace(one, thresholds=lists)], None, "cpu")
    assert told(both, events="windows")[0].thresholds.tolist() == [0.4, 0.4]


def test_several_models_are_averaged(folder: Path) -> None:
    recordings = recordings_of(folder)
    quiet, loud = (tiny_work(tiny_bundle(gain=gain), embeddings=True) for gain in (0.5, 1.0))
    both = tiny_work(*(tiny_bundle(gain=gain) for gain in (0.5, 1.0)), embeddings=True)
    for one, other, mean in zip(*(go(recordings, work) for work in (quiet, loud, both)), strict=True):
        np.testing.assert_allclose(mean.scores, (one.scores + other.scores) / 2, atol=1e-6)
        assert mean.embeddings is not None
        assert mean.embeddings.shape == (len(mean.scores), 8)
    with pytest.raises(InputError, match=r"other classes \(owl, quiet\): they can't be averaged"):
        tiny_work(tiny_bundle(), tiny_bundle(classes=("loud", "owl")))
    slower = tiny_bundle()
    slower = dataclasses.replace(slower, settings=slower.settings.model_copy(update={"sample_rate": 32000}))
    with pytest.raises(InputError, match="other sample rates"):
        tiny_work(tiny_bundle(), slower)


def test_options_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="--overlap 1 must be less than the window of 1 s"):
        tiny_work(overlap_s=1.0)
    with pytest.raises(InputError, match=r"--window 0.1: tiny.aer can't take it: .* 32 mel bins and frames"):
        tiny_work(window_s=0.1)
    with_windows = tiny_bundle()
    with_windows = dataclasses.replace(with_windows, thresholds={**with_windows.thresholds, "frame": None})
    with pytest.raises(InputError, match="--events frames: these models have no frames"):
        tiny_work(with_windows, events="frames")
    assert not tiny_work(with_windows).by_frames
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="--device cuda"):
            Recogniser([tiny_bundle()], None, "cuda")


def test_what_recordings_are_called(folder: Path) -> None:
    (folder / "notes.txt").write_text("none")
    write(folder / ".hidden/x.wav", 0.1, 1)
    write(folder / "out/y.wav", 0.1, 1)
    names = [recording.name for recording in recordings_of(folder)]
    assert names[:2] == ["many/channels.wav", "many/one_sample.wav"]
    assert len(names) == 12
    files = find_recordings([folder / "site/0.wav", folder / "site"])
    assert [file.name for file in files] == ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav", "5.wav", "stereo.flac"]
    write(folder / "elsewhere/0.wav", 0.1, 1)
    with pytest.raises(InputError, match=r"would both be called 0\.wav: give the folder around both"):
        find_recordings([folder / "site", folder / "elsewhere"])
    with pytest.raises(InputError, match="nowhere is not there"):
        find_recordings([folder / "nowhere"])
    (folder / "bare").mkdir()
    with pytest.raises(InputError, match="no recordings there"):
        find_recordings([folder / "bare"])


def test_links_and_closed_folders(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    site, elsewhere = folder / "site", tmp_path_factory.mktemp("elsewhere")
    write(elsewhere / "deep/z.wav", 0.1, 1)
    (site / "loop").symlink_to(folder)
    (site / "a_disk").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(site)
    names = [recording.name for recording in find_recordings([site, site / "0.wav"])]
    assert names[:8] == [*(f"{n}.wav" for n in range(6)), "stereo.flac", "a_disk/deep/z.wav"]
    assert names[8:] == [f"loop/many/{name}.wav" for name in ("channels", "one_sample", "silent", "ultrasonic")]

    shared = Path(tempfile.mkdtemp(dir="/tmp"))  # others may look into it, unlike pytest's
    try:
        write(shared / "open/a.wav", 0.1, 1)
        write(shared / "closed/b.wav", 0.1, 1)
        shared.chmod(0o755)
        (shared / "closed").chmod(0)
        code = (
            "import os, pathlib, sys; from aer.inference.recordings import find_recordings;"
            "os.geteuid() or os.seteuid(65534);"
            "print([(r.name, r.trouble) for r in find_recordings([pathlib.Path(sys.argv[1])])])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, shared], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.stdout == (
            "[('open/a.wav', ''), ('closed', \"a folder that can't be looked into: permission denied\")]\n"
        ), done.stderr
    finally:
        (shared / "closed").chmod(0o755)
        shutil.rmtree(shared)
    (result,) = go(
        [result_store.Recording(shared / "closed", "closed", 0, 0, "a folder that can't be looked into")], tiny_work()
    )
    assert (result.status, result.reason) == ("failed", "a folder that can't be looked into")


def test_a_site_is_not_taken_for_another(tmp_path: Path) -> None:
    """Recorders on one schedule give files of the same name, size and time; and a folder may be moved."""
    for site, seed in (("a", 1), ("b", 2)):
        os.utime(write(tmp_path / site / "20240501_050000.wav", 2.0, seed), (1e9, 1e9))
    work, out = tiny_work(), tmp_path / "out"
    predict.predict(find_recordings([tmp_path / "a"]), work, out, 4, 2)
    results, done = predict.predict(find_recordings([tmp_path / "b"]), work, out, 4, 2)
    (expected,) = go(find_recordings([tmp_path / "b"]), work)
    assert same(*results, expected)
    assert done.n_recordings == 1
    (tmp_path / "b").rename(tmp_path / "c")
    (moved,), _ = predict.predict(find_recordings([tmp_path / "c"]), work, out, 4, 2)
    assert moved.path == str(tmp_path / "c/20240501_050000.wav")


def test_a_second_call_does_what_is_not_done(folder: Path) -> None:
    out, recordings = folder / "out", recordings_of(folder)
    (folder / "broken.wav").write_text("no audio")
    recordings = recordings_of(folder)
    work = tiny_work(embeddings=True)

    def times() -> dict[str, int]:
        return {recording.name: result_store.path_of(out, recording).stat().st_mtime_ns for recording in recordings}

    def again(work: Work) -> set[str]:
        before = times()
        predict.predict(recordings_of(folder), work, out, 4, 2)
        return {name for name, time_ns in times().items() if time_ns != before[name]}

    results, done = predict.predict(recordings, work, out, 4, 2)
    expected = go(recordings, work)
    assert all(same(one, other) for one, other in zip(results, expected, strict=True))
    assert done.audio_s == pytest.approx(sum(result.duration_s for result in expected))
    assert again(work) == {"broken.wav"}
    write(folder / "site/0.wav", 1.5, 3)
    result_store.path_of(out, recordings[2]).write_bytes(b"cut short by a power cut")
    assert again(work) == {"broken.wav", "site/0.wav", recordings[2].name}
    assert again(tiny_work(embeddings=True, threshold=0.6)) == {recording.name for recording in recordings}
    assert again(tiny_work(tiny_bundle(digest="1" * 64), embeddings=True)) == set(times())


def test_nothing_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("no audio")
    results, done = predict.predict(recordings_of(tmp_path), tiny_work(), tmp_path / "out", 4, 2)
    with pytest.raises(AerError, match=r"none of the 2 recordings could be read; the first: .*a\.wav: not audio"):
        predict.summary(results, done, [])
    write(tmp_path / "c.wav", 1.0, 1)
    results, done = predict.predict(recordings_of(tmp_path), tiny_work(), tmp_path / "out", 4, 2)
    assert "2 recordings could not be read" in predict.summary(results, done, [])


@pytest.fixture
def long_work(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has recognised some of 30 recordings, and takes its time with the others."""
    for number in range(30):
        write(tmp_path / f"in/{number:02}.wav", 2.0, number)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "out"), "4", "0.2", str(tmp_path / "in")]
    process = launcher.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "out").glob("parts/*.npz"))) < 3:
        time.sleep(0.05)
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_ends_at_once_and_the_same_command_goes_on(tmp_path: Path, long_work: "subprocess.Popen[str]") -> None:
    began = time.monotonic()
    long_work.send_signal(signal.SIGINT)
    _, error = long_work.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert long_work.returncode == 130
    said = [line for line in error.splitlines() if not line.startswith("\rrecognising") and line.strip()]
    assert len(said) == 1, error
    assert "of 30 recordings are done; the same command goes on" in said[0]
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/parts").glob("*.npz")}
    assert 3 <= len(done) < 30
    assert not list((tmp_path / "out/parts").glob(".*"))
    results, *_ = predict.predict(recordings_of(tmp_path / "in"), tiny_work(), tmp_path / "out", 16, 2)
    assert [result.status for result in results] == ["ok"] * 30
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in done.items())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read where Linux tells it")
def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    minute = bursts(60, 1)

    def peak_mb(minutes: int) -> float:
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        command = [sys.executable, str(SCRIPT), str(tmp_path / f"out{minutes}"), "16", "0", str(path)]
        said = launcher.run(command, cwd=ROOT, check=True).stdout
        return float(said.partition("VmHWM:")[2].split()[0]) / 1024

    # 20 minutes as float32 are 77 MB
    assert peak_mb(20) < 1.1 * peak_mb(2)


# ---- the real models


def build(kind: str, folder: Path) -> tuple[Path, AnySettings, torch.nn.Module]:
    """A bundle of an untrained model whose scores spread: its batch normalisation has seen noise, its head is steep."""
    settings = small(kind)
    torch.manual_seed(3)
    if isinstance(settings, PannsSettings):
        model: torch.nn.Module = build_panns(settings, len(BIRDS))
    else:
        model = build_resnest(settings, len(BIRDS))
    noise = np.stack([bursts(0.64, seed)[:, 0] for seed in range(16)])
    with torch.no_grad():
        for _ in range(4):
            model(torch.from_numpy(noise))
    model.eval()
    for name, weight in model.named_parameters():
        if name in ("att_block.cla.weight", "head.6.weight"):
            weight.data *= 50
    thresholds = {
        "window": some_thresholds(len(BIRDS)),
        "frame": some_thresholds(len(BIRDS)) if kind == "panns" else None,
    }
    path = folder / f"{kind}.aer"
    bundle.write(
        path, bundle.about(settings, BIRDS, 3, METRICS, model.state_dict()), thresholds, model.state_dict(), "make room"
    )
    return path, settings, model


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, AnySettings, torch.nn.Module]]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: build(kind, folder) for kind in ("panns", "resnest")}


@pytest.mark.parametrize("kind", ["panns", "resnest"])
def test_scores_are_those_of_validation_and_of_the_same_audio_alone(
    folder: Path, real: dict[str, tuple[Path, AnySettings, torch.nn.Module]], kind: str
) -> None:
    path, settings, model = real[kind]
    recordings = [recording for recording in recordings_of(folder) if "4.wav" not in recording.name]
    work, _ = plan.prepare([path], Options(overlap_s=0.0, embeddings=True), "cpu")
    results = go(recordings, work, batch_size=5)
    listed = [
        CorpusRecording(
            recording.path, (), soundfile.info(recording.path).duration, soundfile.info(recording.path).samplerate
        )
        for recording in recordings
    ]
    windows = ValidationWindows(listed, BIRDS, settings)
    expected = validation_scores.score(model, windows, BIRDS, 0, "", batch_size=7, workers=0)
    assert len(expected.window_scores) == sum(len(result.scores) for result in results)
    for place, result in enumerate(results):
        np.testing.assert_allclose(
            result.scores, expected.window_scores[expected.window_recordings == place], atol=1e-5
        )
        assert result.embeddings is not None
        assert result.embeddings.shape == (len(result.scores), 2048)
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


def test_the_command(folder: Path, real: dict[str, tuple[Path, AnySettings, torch.nn.Module]]) -> None:
    path = real["resnest"][0]
    (folder / "bad.wav").write_text("no audio")
    call = (
        *("predict", path, "bad.wav", "site", "--threshold", "0.2", "--format", "csv", "json", "parquet"),
        *("--overlap", "0.32", "--embeddings", "--segments", "site/clips", "--top-n", "1"),
    )
    done = aer(*call, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "windows of 0.64 s with 0.32 s overlap at 16000 Hz, events by windows, on cpu\n8 recordings\n" in done.stdout
    assert "bad.wav: failed: not audio" in done.stdout
    files = pd.read_csv(folder / "predictions/files.csv", index_col="file")
    assert files["status"].to_dict() == {f"{n}.wav": "ok" for n in range(6)} | {
        "stereo.flac": "ok",
        "bad.wav": "failed",
    }
    events = pd.read_csv(folder / "predictions/events.csv")
    assert len(events) == sum(files["events"]) > 0
    results = go(
        find_recordings([folder / "site"]),
        plan.prepare([path], Options(overlap_s=0.32, threshold=0.2), "cpu")[0],
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
    folder: Path, real: dict[str, tuple[Path, AnySettings, torch.nn.Module]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = real["resnest"][0]
    monkeypatch.chdir(folder)
    for call, options, message in (
        (("site",), {}, "aer predict needs a bundle"),
        ((path,), {}, "aer predict needs recordings"),
        ((path, "nowhere"), {}, "nowhere is not there"),
        ((path, "site"), {"threshold": 0.5, "precision": 0.9}, "--threshold and --precision exclude each other"),
        ((path, "site"), {"hysteresis": 1.5}, "--hysteresis must be 0 to 1, it is 1.5"),
        ((path, "site"), {"batch_size": 0}, "--batch-size must be 1 to 65536, it is 0"),
        ((path, "site"), {"window": 1e300}, "--window must be 1e-06 to 86400, it is 1e"),
        ((path, "site"), {"segments": Path("site/0.wav")}, "--segments site/0.wav is no folder"),
        ((path, "site"), {"segments": Path("many")}, "--segments many has something in it"),
        ((path, "site"), {"overlap": float("nan")}, "--overlap must be 0 or more, it is nan"),
        ((path, "site"), {"format": ("kaggle",)}, "--test-csv"),
    ):
        with pytest.raises(InputError, match=message):
            recognition.predict(tuple(map(Path, call)), **options)
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
