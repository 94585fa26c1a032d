"""Scores and events of real files against brute force on the same recordings in memory."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.event_oracle import all_at_once
from helpers.recordings import Floats, in_memory, recognised, recordings_of, same, write
from helpers.tiny_predict import CLASSES, HOP, RATE, WINDOW_S, tiny_bundle, tiny_plan

from aer.errors import InputError
from aer.inference.events import EventRules


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
            index = round(start / HOP) + k
            if 0 <= index < len(frames):
                peak = window[k * HOP : (k + 1) * HOP].max(initial=0)
                frames[index, :, w] = peak * np.array([1, np.float32(0.1)]) * clip
    line = np.nanmean(frames, axis=2).astype(np.float32)
    found = all_at_once(line, np.array([0.5, 0.5]), rules)
    events = [(b * HOP / RATE, min(e * HOP / RATE, n_samples / RATE), CLASSES[c], peak) for b, c, e, peak in found]
    return starts, np.array(scores), events


@pytest.mark.parametrize("overlap_s", [0.0, 0.5, 0.73])
def test_scores_and_events_are_those_of_brute_force(folder: Path, overlap_s: float) -> None:
    rules = EventRules(hysteresis=0.6, merge_gap_s=0.07, min_duration_s=0.05)
    recordings = recordings_of(folder)
    results = recognised(recordings, tiny_plan(overlap_s=overlap_s, rules=rules))
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
    for result in recognised(recordings_of(folder), tiny_plan(events="windows", overlap_s=0.25)):
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
    recordings, plan = recordings_of(folder), tiny_plan(embeddings=True)
    first = recognised(recordings, plan, batch_size=1, threads=1)
    for batch_size, threads in ((3, 1), (5, 4), (64, 20)):
        others = recognised(recordings, plan, batch_size, threads)
        assert all(same(one, other) for one, other in zip(first, others, strict=True))
    alone = [result for recording in recordings for result in recognised([recording], plan)]
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
    results = {result.name: result for result in recognised(recordings, tiny_plan())}
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


def test_several_models_are_averaged(folder: Path) -> None:
    recordings = recordings_of(folder)
    quiet, loud = (tiny_plan(tiny_bundle(gain=gain), embeddings=True) for gain in (0.5, 1.0))
    both = tiny_plan(*(tiny_bundle(gain=gain) for gain in (0.5, 1.0)), embeddings=True)
    for one, other, mean in zip(*(recognised(recordings, plan) for plan in (quiet, loud, both)), strict=True):
        np.testing.assert_allclose(mean.scores, (one.scores + other.scores) / 2, atol=1e-6)
        assert mean.embeddings is not None
        assert mean.embeddings.shape == (len(mean.scores), 8)
    with pytest.raises(InputError, match=r"other classes \(owl, quiet\): they can't be averaged"):
        tiny_plan(tiny_bundle(), tiny_bundle(classes=("loud", "owl")))
    slower = tiny_bundle()
    slower = dataclasses.replace(slower, settings=slower.settings.model_copy(update={"sample_rate": 32000}))
    with pytest.raises(InputError, match="other sample rates"):
        tiny_plan(tiny_bundle(), slower)
