"""What clips are made of a recording, against soxr on the same input."""

import itertools
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from helpers.paths import ROOT
from helpers.prepare_runs import COMMAND, add, bursts, clip, expected, noise, prepare, report
from hypothesis import given, settings
from hypothesis import strategies as st

from aer.audio.activity import energetic_spans
from aer.audio.pcm import quantise
from aer.corpus.preparation.convert import Job, Target, convert
from aer.errors import AerError, AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def test_every_sample_is_soxrs(corpus: Path) -> None:
    printed = prepare(corpus / "raw_train_audio")
    assert "4 recordings are prepared" in printed and "next: python train_panns.py --corpus" in printed
    for raw, made in [("robin/a.wav",) * 2, ("robin/b.flac", "robin/b.wav"), ("wren/c.ogg", "wren/c.wav")]:
        assert np.array_equal(clip(corpus, made), expected(corpus / "raw_train_audio" / raw, 32000))
    # nothing is changed in what has the right form already
    original, _ = soundfile.read(corpus / "raw_train_audio" / "wren" / "d.wav", dtype="int16")
    assert np.array_equal(clip(corpus, "wren/d.wav"), original)
    info = soundfile.info(corpus / "resampled_train_audio" / "robin" / "a.wav")
    assert (info.samplerate, info.channels, info.subtype, info.format) == (32000, 1, "PCM_16", "WAV")
    table = pd.read_csv(corpus / "train_mod.csv")
    assert table["ebird_code"].tolist() == ["robin", "robin", "wren", "wren"]
    assert table["resampled_filename"].tolist() == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert table["original_sampling_rate"].tolist() == [44100, 22050, 48000, 32000]
    assert set(table["resampled_sampling_rate"]) == {32000} and set(table["resampled_channels"]) == {1}
    assert table["duration"].tolist()[3] == pytest.approx(32017 / 32000, abs=1e-6)


def test_flac_and_another_rate_and_folder(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    prepare(corpus, "--out", out, "--format", "flac", "--sample-rate", 16000, "--workers", 1)
    made = clip(out, "robin/a.flac")
    assert np.array_equal(made, expected(corpus / "raw_train_audio" / "robin" / "a.wav", 16000))
    assert not (corpus / "train_mod.csv").exists()


@needs_ffmpeg
def test_m4a_goes_through_ffmpeg(tmp_path: Path) -> None:
    wav = add(tmp_path, "robin/a.wav", noise(44100, 2), 44100)
    add(tmp_path, "wren/b.wav", noise(44100, 2, 1), 44100)
    m4a = wav.with_name("m.m4a")
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, m4a], check=True, stdin=subprocess.DEVNULL)
    decoded = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", m4a, "-f", "s16le", "-"],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    ).stdout
    prepare(tmp_path)
    pcm = np.frombuffer(decoded, "<i2").reshape(-1, 2).mean(axis=1, dtype=np.float32) / 32768
    oracle = np.rint(soxr.resample(pcm, 44100, 32000, quality="VHQ").astype(np.float64) * 32768).astype(np.int16)
    assert np.array_equal(clip(tmp_path, "robin/m.wav"), oracle)


@needs_ffmpeg
@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"]
)
def test_a_playlist_does_not_make_other_files_be_read(corpus: Path, text: str) -> None:
    secret = corpus / "secret.mp3"
    raw = add(corpus, "wren/a.wav", noise(44100), 44100)
    subprocess.run(["ffmpeg", "-v", "error", "-i", raw, secret], check=True, stdin=subprocess.DEVNULL)
    (raw.parent / "list.m4a").write_text(text.format(secret))
    (raw.parent / "bytes.mp3").write_bytes(text.format(secret).encode() + b"#\0\1\xe9\n")
    prepare(corpus)
    for name in ("wren/list.m4a", "wren/bytes.mp3"):
        assert report(corpus)[name][0] == "left out" and "playlist" in report(corpus)[name][1]


@settings(max_examples=80, deadline=None)
@given(
    rate_in=st.sampled_from([8000, 11025, 22050, 32000, 44100, 44101, 48000, 96000, 192000]),
    rate_out=st.sampled_from([8000, 16000, 32000]),
    channels=st.sampled_from([1, 2, 3, 8]),
    n_samples=st.sampled_from([0, 1, 2, 7, 1009, 10007, 100003]),
    subtype=st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]),
)
def test_any_rate_width_length_and_format(
    rate_in: int, rate_out: int, channels: int, n_samples: int, subtype: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in.wav"
        soundfile.write(source, noise(n_samples, channels, n_samples), rate_in, subtype=subtype)
        job = Job(source, folder, "out")
        oracle = expected(source, rate_out) if n_samples else np.zeros(0, np.int16)
        if not oracle.any():
            with pytest.raises(AudioError, match=r"has no samples|too short|silent"):
                convert(Target(rate_out, "wav"), job)
            assert [path.name for path in folder.iterdir()] == ["in.wav"]
            return
        converted = convert(Target(rate_out, "wav"), job)
        made, rate = soundfile.read(folder / "out.wav", dtype="int16")
        assert rate == rate_out and np.array_equal(made, oracle)
        assert converted.clips[0].n_samples == len(oracle) and converted.sample_rate == rate_in


def test_quantise_counts_what_it_limits() -> None:
    samples, n_clipped = quantise(np.array([0, 0.5, -1, 1, 1.5, -2, 0.49 / 32768, 1.5 / 32768], np.float32))
    assert samples.tolist() == [0, 16384, -32768, 32767, 32767, -32768, 0, 2]
    assert n_clipped == 2


def test_what_is_scaled_wrong_is_named(tmp_path: Path) -> None:
    add(tmp_path, "robin/a.wav", noise(3200), 32000)
    integers = np.rint(noise(3200)[:, 0] * 32768)
    soundfile.write(tmp_path / "raw_train_audio/robin/b.wav", integers, 32000, subtype="FLOAT")
    n_beyond = np.count_nonzero(np.abs(integers) > 1)
    printed = prepare(tmp_path)
    assert "1 louder than full scale" in printed
    assert f"  robin/b.wav: {n_beyond:,} samples ({n_beyond / 3200:.2%}) lay beyond full scale" in printed


def test_segments_hold_every_event_and_say_where_they_are_from(tmp_path: Path) -> None:
    at_s = [3.0, 10.0, 10.7, 25.0, 29.7]
    long = add(tmp_path, "robin/long.wav", bursts(22050, 30, at_s), 22050)
    add(tmp_path, "wren/short.wav", bursts(32000, 1.5, [0.5]), 32000)
    add(tmp_path, "wren/even.wav", 0.1 * np.random.default_rng(3).standard_normal(320000), 32000)
    assert "--group-by xc_id" in prepare(tmp_path, "--segment", 2)
    table = pd.read_csv(tmp_path / "train_mod.csv")
    cut = table[table["filename"] == "long.wav"]
    assert len(cut) == 4 and set(cut["xc_id"]) == {"robin/long.wav"} and (cut["duration"] <= 2).all()
    whole = expected(long, 32000)
    for row in cut.itertuples():
        first = round(row.offset * 32000)
        made = clip(tmp_path, f"robin/{row.resampled_filename}")
        assert np.array_equal(made, whole[first : first + len(made)])
    for start in at_s:
        assert any(row.offset <= start and start + 0.2 <= row.offset + row.duration + 1e-6 for row in cut.itertuples())
    assert cut["offset"].tolist()[0] == pytest.approx(2.1, abs=0.05)  # centred on its event
    assert table[table["filename"] == "short.wav"]["duration"].tolist() == [1.5]
    assert len(table[table["filename"] == "even.wav"]) == 1  # nothing stands out: its strongest part


@settings(max_examples=200, deadline=None)
@given(
    n_samples=st.integers(1, 40000),
    n_clip=st.sampled_from([1600, 3000, 16000]),
    rate_in=st.sampled_from([8000, 11025, 22050, 44101]),
    at=st.lists(st.integers(0, 500), max_size=8),
)
def test_spans_are_of_the_very_length_and_hold_all(n_samples: int, n_clip: int, rate_in: int, at: list[int]) -> None:
    frame = round(0.01 * rate_in) * 16000 / rate_in
    energies = np.full(math.ceil(n_samples / frame), 1e-6)
    loud = [index for index in at if index < len(energies)]
    energies[loud] = 1.0
    spans = energetic_spans(energies, frame, n_samples, n_clip)
    lengths = [stop - first for first, stop in spans]
    assert spans and spans[0][0] >= 0 and spans[-1][1] <= n_samples and max(lengths) <= n_clip
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    if n_samples > n_clip:
        assert all(length == n_clip for length in lengths[:-2]) and 2 * min(lengths) >= n_clip - 1
    inside = np.zeros(n_samples, bool)
    for first, stop in spans:
        inside[first:stop] = True
    if len(set(loud)) * 10 < len(energies):  # they are not the background themselves
        assert all(inside[math.floor(i * frame) : math.ceil((i + 1) * frame)].all() for i in loud)


def test_segments_at_a_rate_without_whole_frames(tmp_path: Path) -> None:
    add(tmp_path, "robin/long.wav", bursts(22050, 30, [5, 15, 25]), 22050)
    add(tmp_path, "robin/whole.wav", bursts(22050, 5, [0, 4.8]), 22050)
    add(tmp_path, "robin/longer.wav", bursts(22050, 5.03, [0, 4.83]), 22050)
    prepare(tmp_path, "--segment", 5)
    table = pd.read_csv(tmp_path / "train_mod.csv")
    assert table[table["filename"] == "long.wav"]["duration"].tolist() == [5, 5, 5]
    assert table[table["filename"] == "whole.wav"]["duration"].tolist() == [5]
    assert table[table["filename"] == "longer.wav"]["duration"].min() >= 2.5


def test_trimming_cuts_the_quiet_ends(tmp_path: Path) -> None:
    path = add(tmp_path, "robin/a.wav", bursts(16000, 5, [1.0, 3.0]), 16000)
    add(tmp_path, "wren/b.wav", bursts(16000, 1, [0.5]), 16000)
    prepare(tmp_path, "--trim-silence", 30, "--sample-rate", 16000)
    table = pd.read_csv(tmp_path / "train_mod.csv")
    assert table["offset"].tolist()[0] == pytest.approx(1.0, abs=0.011)
    assert table["duration"].tolist()[0] == pytest.approx(2.2, abs=0.021)
    first = round(table["offset"][0] * 16000)
    made = clip(tmp_path, "robin/a.wav")
    assert np.array_equal(made, expected(path, 16000)[first : first + len(made)])


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_a_disk_that_is_full_at_the_last_byte_leaves_no_clip_behind(
    tmp_path: Path, format: Literal["wav", "flac"]
) -> None:
    import resource

    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 100_003)
    soundfile.write(tmp_path / "raw.wav", samples, 32_000, subtype="PCM_16")
    target, job = Target(32_000, format), Job(tmp_path / "raw.wav", tmp_path, "whole")
    size = convert(target, job).clips[0].size_bytes
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for missing in (1, 100, 3000, 9000):  # a FLAC's last frame has 4,096 samples at most
            resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, before[1]))
            with pytest.raises(AerError, match=r"can't write to .*make room"):
                convert(target, Job(tmp_path / "raw.wav", tmp_path, "cut"))
            assert sorted(path.name for path in tmp_path.iterdir()) == ["raw.wav", f"whole.{format}"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_hours_cost_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "raw_train_audio" / "robin" / "long.wav"
    path.parent.mkdir(parents=True)
    with soundfile.SoundFile(path, "w", 16000, 2, "PCM_16") as file:
        for seed in range(15):
            file.write(noise(16000 * 60, 2, seed))
    add(tmp_path, "wren/a.wav", noise(16000), 16000)
    # from a small process: the largest of this one's children begins as a copy of it, with torch
    measure = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure, *COMMAND, str(tmp_path), "--segment", "30"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 300 << 10  # KiB, of the largest process
