"""`aer prepare` as its users call it, against soxr on the same input, and all that can be wrong with raw files."""

import ctypes
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from helpers.paths import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from aer.audio.activity import energetic_spans
from aer.audio.pcm import quantise
from aer.corpus.discovery import find_corpus
from aer.corpus.preparation.convert import Job, Target, convert
from aer.errors import AerError, AudioError
from aer.utils import lock
from aer.utils.file_names import clip_stems

FSDD = ROOT.parent / "shared" / "data" / "fsdd"
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
COMMAND = (sys.executable, "-m", "aer", "prepare")


def prepare(*arguments: object, status: int = 0, **options: object) -> str:
    """Runs the command; gives what it printed on both outputs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def noise(n_samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, channels)).astype(np.float32)


def add(root: Path, name: str, samples: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    path = root / "raw_train_audio" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def expected(path: Path, rate: int) -> np.ndarray:
    """The oracle: the whole file at once through libsndfile and soxr, rounded to 16 bits."""
    samples, rate_in = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    resampled = mono if rate_in == rate else soxr.resample(mono, rate_in, rate, quality="VHQ")
    return np.clip(np.rint(resampled.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)


def clip(root: Path, name: str) -> np.ndarray:
    samples, _ = soundfile.read(root / "resampled_train_audio" / name, dtype="int16")
    return samples


def snapshot(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "raw_train_audio" not in path.parts
    }


def report(root: Path) -> dict[str, tuple[str, str]]:
    table = pd.read_csv(root / "prepare_report.csv", encoding_errors="surrogateescape", keep_default_na=False)
    return {row.file: (row.status, row.reason) for row in table.itertuples()}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for index, (name, rate, channels) in enumerate(
        [("robin/a.wav", 44100, 2), ("robin/b.flac", 22050, 1), ("wren/c.ogg", 48000, 2), ("wren/d.wav", 32000, 1)]
    ):
        add(tmp_path, name, noise(rate + 17, channels, index), rate)
    return tmp_path


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
        ["ffmpeg", "-v", "error", "-i", m4a, "-f", "f32le", "-"],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    ).stdout
    prepare(tmp_path)
    pcm = np.frombuffer(decoded, "<f4").reshape(-1, 2).mean(axis=1)
    oracle = np.rint(soxr.resample(pcm, 44100, 32000, quality="VHQ").astype(np.float64) * 32768).astype(np.int16)
    made = clip(tmp_path, "robin/m.wav")
    # another release of FFmpeg's decoder may round otherwise
    assert made.shape == oracle.shape and np.abs(made.astype(np.int32) - oracle).max() <= 1


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


def test_columns_of_the_csv_are_kept(corpus: Path) -> None:
    (corpus / "train.csv").write_text(
        "ebird_code,filename,xc_id,author,duration\nrobin,a.wav,007,Ann,1\n"
        'wren,c.ogg,008,"Bo, B.",2\nwren,gone.wav,9,X,3\n'
    )
    prepare(corpus / "raw_train_audio")
    table = pd.read_csv(corpus / "train_mod.csv", dtype=str)
    assert table["xc_id"].tolist() == ["007", "008"] and table["author"].tolist() == ["Ann", "Bo, B."]
    assert table["source_duration"].tolist() == ["1", "2"]  # the column's name is taken by the clip's duration
    listed = report(corpus)
    assert listed["wren/gone.wav"] == ("left out", "no such file or directory")
    assert listed["robin/b.flac"] == ("left out", "is not in train.csv")


def test_a_csv_of_paths_and_labels(corpus: Path) -> None:
    base = corpus / "raw_train_audio"
    (base / "clips.csv").write_text("path,labels\nrobin/a.wav,robin;wren\nwren/c.ogg,wren\n")
    prepare(corpus, "--csv", base / "clips.csv")
    found = find_corpus(corpus)
    assert [recording.labels for recording in found.recordings] == [("robin", "wren"), ("wren",)]
    assert all(recording.sample_rate == 32000 for recording in found.recordings)


def test_a_csv_with_folders_below_the_class_and_absolute_paths(corpus: Path) -> None:
    add(corpus, "wren/2020/e.wav", noise(32000, seed=5), 32000)
    (corpus / "train.csv").write_text("ebird_code,filename,labels\nrobin,a.wav,x\nwren,2020/e.wav,y\nwren,c.ogg,z\n")
    prepare("robin/../../raw_train_audio", cwd=corpus / "raw_train_audio")
    assert report(corpus).keys() == {"robin/b.flac", "wren/d.wav"}
    found = find_corpus(corpus)
    assert [recording.labels for recording in found.recordings] == [("robin",), ("wren",), ("wren",)]
    assert found.recordings[1].path == corpus / "resampled_train_audio" / "wren" / "2020" / "e.wav"
    base = corpus / "raw_train_audio"
    (base / "clips.csv").write_text(f"path,labels\n{base / 'robin/a.wav'},robin\nwren/2020/../d.wav,wren\n")
    prepare(".", "--csv", "raw_train_audio/clips.csv", "--out", "other", cwd=corpus)
    names = [recording.path.relative_to(corpus / "other") for recording in find_corpus(corpus / "other").recordings]
    assert [str(name) for name in names] == ["resampled_train_audio/robin/a.wav", "resampled_train_audio/wren/d.wav"]


def test_a_path_out_of_the_corpus_is_refused(corpus: Path) -> None:
    (corpus / "train.csv").write_text("ebird_code,filename\nrobin,../../secret.wav\n")
    assert "which is not below" in prepare(corpus / "raw_train_audio", status=2)


def test_a_class_name_has_one_form(corpus: Path) -> None:
    (corpus / "train.csv").write_text("ebird_code,filename\nrobin/,a.wav\n")
    assert "lists 'robin/' as ebird_code: write robin" in prepare(corpus / "raw_train_audio", status=2)


def test_what_is_scaled_wrong_is_named(tmp_path: Path) -> None:
    add(tmp_path, "robin/a.wav", noise(3200), 32000)
    integers = np.rint(noise(3200)[:, 0] * 32768)
    soundfile.write(tmp_path / "raw_train_audio/robin/b.wav", integers, 32000, subtype="FLOAT")
    n_beyond = np.count_nonzero(np.abs(integers) > 1)
    printed = prepare(tmp_path)
    assert "1 louder than full scale" in printed
    assert f"  robin/b.wav: {n_beyond:,} samples ({n_beyond / 3200:.2%}) lay beyond full scale" in printed


def test_names_that_would_collide_are_kept_apart(tmp_path: Path) -> None:
    names = ["robin/a.wav", "robin/a.flac", "robin/a_flac.wav", "robin/B.wav", "robin/b.flac", "wren/a.wav"]
    for index, name in enumerate(names):
        add(tmp_path, name, noise(3200, seed=index), 32000)
    prepare(tmp_path)
    table = pd.read_csv(tmp_path / "train_mod.csv").set_index("xc_id")
    for name in names:
        row = table.loc[name]
        made = clip(tmp_path, f"{row.ebird_code}/{row.resampled_filename}")
        assert np.array_equal(made, expected(tmp_path / "raw_train_audio" / name, 32000))
    assert table.loc["wren/a.wav"].resampled_filename == "a.wav"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.from_regex(r"[ab]{1,2}(_mp3|_wav)?\.(wav|mp3|WAV)", fullmatch=True), unique=True, max_size=12))
def test_stems_differ_and_do_not_depend_on_the_order(files: list[str]) -> None:
    names = [f"class/{file}" for file in files]
    stems = dict(zip(names, clip_stems(names), strict=True))
    assert len({stem.casefold() for stem in stems.values()}) == len(names)
    assert dict(zip(names[::-1], clip_stems(names[::-1]), strict=True)) == stems


def bad_files(raw: Path) -> dict[str, str]:
    """Fills the folder with what is broken in every way; gives a word of the reason for each."""
    folder = raw / "robin"
    whole = (raw / "robin" / "a.wav").read_bytes()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp3").write_text("not audio")
    (folder / "notes.txt").write_text("seen at dawn")
    soundfile.write(folder / "none.wav", noise(0), 32000)
    soundfile.write(folder / "silent.wav", np.zeros(3200), 32000)
    soundfile.write(folder / "nan.wav", np.full(3200, np.nan), 32000, subtype="FLOAT")
    (folder / "dir.wav").mkdir()
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "nowhere.wav").symlink_to(folder / "gone.wav")
    os.mkfifo(folder / "pipe.wav")
    (raw / "stray.wav").write_bytes(whole)
    return {
        "robin/empty.wav": "is empty",
        "robin/cut.wav": "cut short",
        "robin/text.mp3": "not audio",
        "robin/notes.txt": "no audio file by its name",
        "robin/none.wav": "has no samples",
        "robin/silent.wav": "is silent",
        "robin/nan.wav": "NaN",
        "robin/dir.wav": "is a folder",
        "robin/loop.wav": "symbolic link",
        "robin/nowhere.wav": "no such file",
        "robin/pipe.wav": "no ordinary file",
        "stray.wav": "outside of the class folders",
    }


def test_what_is_broken_is_named_and_the_rest_goes_on(corpus: Path) -> None:
    raw = corpus / "raw_train_audio"
    reasons = bad_files(raw)
    shutil.copy(raw / "robin" / "a.wav", raw / "robin" / "mp3 by name, wav by content.mp3")
    printed = prepare(corpus)
    assert "5 recordings are prepared" in printed and f"{len(reasons)} left out" in printed
    listed = report(corpus)
    assert listed.keys() == reasons.keys()
    for name, word in reasons.items():
        assert listed[name][0] == "left out" and word in listed[name][1], (name, listed[name])
    made = {path.name for path in (corpus / "resampled_train_audio" / "robin").iterdir()}
    assert made == {"a.wav", "b.wav", "mp3 by name, wav by content.wav"}  # nothing half is left


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ["höhle/ÄÖ ü 🐦.wav", "höhle/" + "x" * 251 + ".wav", "höhle/" + "é" * 125 + ".wav", "wren/=1+1.wav"]
    names += ["wren/new\nline.wav", "wren/-option.wav", 'wren/"quoted", comma.wav']
    for index, name in enumerate(names):
        add(tmp_path, name, noise(3200, seed=index), 32000)
    raw = tmp_path / "raw_train_audio" / "wren"
    shutil.copy(raw / "-option.wav", os.fsencode(raw) + b"/latin\xe9.wav")
    prepare(tmp_path)
    assert len(find_corpus(tmp_path).recordings) == len(names) + 1
    assert not report(tmp_path)


def without_roots_privilege() -> None:
    """In the child of a root process: permissions hold for it too (capabilities dac_override, dac_read_search)."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            if ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="permissions as Linux has them")
def test_a_file_without_permission(corpus: Path) -> None:
    add(corpus, "tit/t.wav", noise(3200), 32000)
    (corpus / "raw_train_audio" / "wren" / "d.wav").chmod(0)
    (corpus / "raw_train_audio" / "robin").chmod(0)
    try:
        printed = prepare(corpus, preexec_fn=without_roots_privilege)
    finally:
        (corpus / "raw_train_audio" / "robin").chmod(0o755)
    assert "2 recordings are prepared" in printed
    listed = report(corpus)
    assert "ermission denied" in listed["wren/d.wav"][1]
    assert "ermission denied" in listed["robin"][1]


def test_nothing_prepared_is_failed_work(tmp_path: Path) -> None:
    folder = tmp_path / "raw_train_audio" / "robin"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(b"")
    assert "none of the recordings" in prepare(tmp_path, status=1)


@pytest.mark.parametrize("arguments", [["nowhere"], ["."], [".", "--sample-rate", "0"], [".", "--segment", "nan"]])
def test_bad_input_is_one_line_and_status_2(tmp_path: Path, arguments: list[str]) -> None:
    printed = prepare(*arguments, status=2, cwd=tmp_path)
    assert printed.startswith("error: ") and len(printed.splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_a_second_run_does_what_is_missing(corpus: Path) -> None:
    prepare(corpus)
    before = snapshot(corpus)
    times = {path: path.stat().st_mtime_ns for path in (corpus / "resampled_train_audio").rglob("*.wav")}
    printed = prepare(corpus)
    assert "4 are done already" in printed and "0 of them now" in printed
    assert snapshot(corpus) == before
    assert times == {path: path.stat().st_mtime_ns for path in times}
    # a new recording, a changed one and a clip that is gone are done; the others are not touched
    add(corpus, "wren/e.wav", noise(3200, seed=9), 32000)
    add(corpus, "wren/d.wav", noise(3200, seed=10), 32000)
    (corpus / "resampled_train_audio" / "robin" / "a.wav").unlink()
    assert "5 recordings are prepared" in (printed := prepare(corpus)) and "3 of them now" in printed
    assert np.array_equal(clip(corpus, "wren/d.wav"), expected(corpus / "raw_train_audio" / "wren" / "d.wav", 32000))
    untouched = corpus / "resampled_train_audio" / "robin" / "b.wav"
    assert untouched.stat().st_mtime_ns == times[untouched]


def test_clips_whose_recording_is_gone_are_kept_and_named(corpus: Path) -> None:
    prepare(corpus)
    (corpus / "raw_train_audio" / "wren" / "d.wav").unlink()
    prepare(corpus)
    assert (corpus / "resampled_train_audio" / "wren" / "d.wav").exists()
    assert report(corpus)["wren/d.wav"][0] == "stale"
    assert "d.wav" not in (corpus / "train_mod.csv").read_text()


def test_other_options_replace_the_clips(corpus: Path) -> None:
    prepare(corpus, "--segment", 0.3)
    prepare(corpus)
    made = sorted(path.name for path in (corpus / "resampled_train_audio").rglob("*.wav"))
    assert made == ["a.wav", "b.wav", "c.wav", "d.wav"]


def bursts(rate: int, duration_s: float, at_s: list[float]) -> np.ndarray:
    """Faint noise with 0.2 s of loud noise at the given times."""
    random_numbers = np.random.default_rng(1)
    samples = 0.001 * random_numbers.standard_normal(round(duration_s * rate))
    for start in at_s:
        burst = slice(round(start * rate), round((start + 0.2) * rate))
        samples[burst] += 0.2 * random_numbers.standard_normal(burst.stop - burst.start)
    return samples


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


def many(root: Path, n_each: int) -> Path:
    for name in ("robin", "wren", "tit"):
        for index in range(n_each):
            add(root, f"{name}/{index:02d}.wav", noise(44100 * 3, 2, index), 44100)
    return root


def wait_for_entry(corpus: Path) -> None:
    path, until = corpus / ".aer_prepare.jsonl", time.monotonic() + 60
    while not (path.exists() and b'"converted"' in path.read_bytes()):
        assert time.monotonic() < until
        time.sleep(0.005)


def test_killed_and_run_again_it_ends_as_undisturbed(tmp_path: Path) -> None:
    corpus = many(tmp_path / "corpus", 24)
    prepare(corpus)
    undisturbed = snapshot(corpus)
    random_numbers = random.Random(7)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        for name in ("resampled_train_audio", "train_mod.csv", "prepare_report.csv", ".aer_prepare.jsonl"):
            path = corpus / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        started = subprocess.Popen([*COMMAND, str(corpus)], env=environment, stdout=subprocess.DEVNULL)
        wait_for_entry(corpus)
        time.sleep(random_numbers.uniform(0, 0.3))
        started.send_signal(signal.SIGKILL)
        started.wait()
        for path in (corpus / "resampled_train_audio").glob("*/[!.]*"):  # what has its name is whole
            assert path.read_bytes() == undisturbed[path.relative_to(corpus).as_posix()]
        assert not (corpus / "train_mod.csv").exists()  # it was killed in the middle of its work
        prepare(corpus)
        assert snapshot(corpus) == undisturbed


def test_ctrl_c_ends_cleanly(tmp_path: Path) -> None:
    corpus = many(tmp_path / "corpus", 30)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [*COMMAND, str(corpus), "--workers", "1"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_entry(corpus)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does: every process of the group
    _, printed = started.communicate(timeout=20)
    assert started.returncode == 130
    assert "recordings are done; the same command goes on" in printed and "Traceback" not in printed
    assert not list(corpus.rglob("*.part"))
    assert "are done already" in prepare(corpus)


def test_a_class_without_recordings_is_told(corpus: Path) -> None:
    (corpus / "raw_train_audio/owl").mkdir()
    assert "  owl: has no recordings\n" in prepare(corpus)
    assert pd.read_csv(corpus / "prepare_report.csv").to_numpy().tolist() == [["owl", "left out", "has no recordings"]]


def test_a_prepared_corpus_is_not_prepared(tmp_path: Path) -> None:
    add(tmp_path, "robin/a.wav", noise(9000), 32000)
    (tmp_path / "raw_train_audio").rename(tmp_path / "birds")
    prepare(tmp_path / "birds")
    assert "is a corpus that is prepared" in prepare(tmp_path / "birds_prepared", status=2)
    assert "--segment must be 0.01 or more" in prepare(tmp_path / "birds", "--segment", 0.001, status=2)


def test_two_at_once_are_refused(corpus: Path) -> None:
    with lock.held(corpus):
        assert "is under way in" in prepare(corpus, status=2)
    prepare(corpus)


def test_a_full_disk_is_one_line(corpus: Path) -> None:
    import resource

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    printed = prepare(corpus, status=1, preexec_fn=little_room)
    assert "can't write" in printed and "make room" in printed
    prepare(corpus)
    raw = corpus / "raw_train_audio" / "robin" / "a.wav"
    assert np.array_equal(clip(corpus, "robin/a.wav"), expected(raw, 32000))


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


def test_a_journal_that_was_cut_off_costs_a_recording(corpus: Path) -> None:
    prepare(corpus)
    before = snapshot(corpus)
    path = corpus / ".aer_prepare.jsonl"
    begun = {"name": "wren/d.wav", "stem": "d", "format": "wav", "segmented": False}
    head, *entries = path.read_text().splitlines()
    path.write_text("\n".join([head, json.dumps({"begun": begun}), *entries])[:-20])
    assert "3 are done already" in prepare(corpus)
    assert snapshot(corpus) == before
    assert all(json.loads(line) for line in path.read_text().splitlines())


def foreign(root: Path, name: str) -> Path:
    path = root / "resampled_train_audio" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    return path


@pytest.mark.parametrize("options", [[], ["--segment", 0.3]])
def test_clips_that_it_has_not_made_are_not_replaced(corpus: Path, options: list[object]) -> None:
    mine = foreign(corpus, "robin/a_000000100.wav" if options else "robin/a.wav")
    other = foreign(corpus, "robin/other.wav")
    printed = prepare(corpus, *options, status=2)
    assert "has not made" in printed and str(mine) in printed and "--out" in printed
    assert mine.read_bytes() == b"mine" and len(list((corpus / "resampled_train_audio").rglob("*"))) == 3
    mine.unlink()
    prepare(corpus, *options)
    assert other.read_bytes() == b"mine" and report(corpus)["robin/other.wav"][0] == "stale"


def test_clips_renamed_before_they_were_journalled_are_made_again(corpus: Path) -> None:
    prepare(corpus)
    before = snapshot(corpus)
    path = corpus / ".aer_prepare.jsonl"
    begun = {"name": "robin/a.wav", "stem": "a", "format": "wav", "segmented": False}
    head, *entries = path.read_text().splitlines()
    kept = [line for line in entries if "robin/a.wav" not in line]
    path.write_text("\n".join([head, json.dumps({"begun": begun}), *kept]) + "\n")
    (corpus / "resampled_train_audio" / "robin" / "a.wav").write_bytes(b"half")
    assert "3 are done already" in prepare(corpus)
    assert snapshot(corpus) == before


def test_recordings_among_the_clips_are_not_touched(corpus: Path) -> None:
    clips = corpus / "resampled_train_audio"
    raw = add(corpus, "robin/a.wav", noise(3200), 44100).rename(foreign(corpus, "robin/a.wav"))
    before = raw.read_bytes()
    (clips / "clips.csv").write_text("path,labels\nrobin/a.wav,robin\n")
    assert "where the clips go" in prepare(corpus, "--csv", clips / "clips.csv", status=2)
    assert raw.read_bytes() == before
    shutil.rmtree(clips)
    clips.mkdir()
    (clips / "robin").symlink_to("../raw_train_audio/robin")
    names = sorted((corpus / "raw_train_audio" / "robin").iterdir())
    assert "where recordings are" in prepare(corpus, status=2)
    assert sorted((corpus / "raw_train_audio" / "robin").iterdir()) == names


def test_tables_that_are_not_its_own_stay(corpus: Path) -> None:
    table = corpus / "train_mod.csv"
    table.write_text("ebird_code,filename,note\nrobin,a.wav,mine\n")
    assert "has not made" in prepare(corpus, status=2)
    assert "name a copy" in prepare(corpus, "--csv", table, status=2)
    assert "mine" in table.read_text()
    table.unlink()
    prepare(corpus)
    made = table.read_bytes()
    for path in (corpus / "raw_train_audio").rglob("*.*"):
        path.write_bytes(b"")
    assert "none of the recordings" in prepare(corpus, status=1)
    assert table.read_bytes() == made
    assert (corpus / "prepare_report.csv").read_text().count("left out") == 4


def test_other_options_after_a_stop_leave_no_clips_behind(corpus: Path) -> None:
    prepare(corpus, "--out", corpus / "undisturbed")
    prepare(corpus, "--segment", 0.3)
    segmented = (corpus / ".aer_prepare.jsonl").read_text().splitlines()
    lines = (corpus / "undisturbed" / ".aer_prepare.jsonl").read_text().splitlines()
    clips = corpus / "resampled_train_audio"
    for name in ("robin/a.wav", "robin/b.wav"):  # the state of a run without --segment that was killed half-way
        shutil.copy(corpus / "undisturbed" / "resampled_train_audio" / name, clips / name)
    (corpus / ".aer_prepare.jsonl").write_text("\n".join([*segmented, *lines[1:3]]) + "\n")
    assert "2 are done already" in prepare(corpus)
    assert sorted(path.name for path in clips.rglob("*.wav")) == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert not report(corpus)


def test_other_recordings_of_the_same_names_are_refused(corpus: Path) -> None:
    out = corpus / "out"
    prepare(corpus, "--out", out)
    shutil.copytree(corpus / "raw_train_audio", corpus / "other_birds")
    printed = prepare(corpus / "other_birds", "--out", out, status=2)
    assert "was made from ../raw_train_audio" in printed and "--out" in printed
    assert "4 are done already" in prepare(corpus, "--out", out)
    moved = corpus.with_name("moved")
    corpus.rename(moved)
    assert "4 are done already" in prepare(moved, "--out", moved / "out")


def test_clips_of_a_class_that_is_gone_are_named(corpus: Path) -> None:
    prepare(corpus)
    shutil.rmtree(corpus / "raw_train_audio" / "wren")
    prepare(corpus)
    assert report(corpus).keys() == {"wren/c.wav", "wren/d.wav"}


def test_both_durations_of_the_csv_are_kept_and_classes_stay_below(corpus: Path) -> None:
    (corpus / "train.csv").write_text("ebird_code,filename,duration,source_duration\nrobin,a.wav,OWN,SRC\n")
    prepare(corpus)
    row = pd.read_csv(corpus / "train_mod.csv").iloc[0]
    assert (row["source_source_duration"], row["source_duration"], row["duration"] > 1) == ("OWN", "SRC", True)
    (corpus / "train.csv").write_text("ebird_code,filename\n../raw_train_audio,robin/a.wav\n")
    assert "leads out of" in prepare(corpus, status=2)


def test_stems_differ_even_from_names_that_look_like_theirs() -> None:
    names = ["x/a.wav", "x/a.flac", "x/a_flac.wav"]
    names += [f"x/{clip_stems(names)[1]}.wav"]
    names += [f"x/{clip_stems(names)[1]}.wav"]
    assert len(set(clip_stems(names))) == len(names)


def test_a_journal_that_makes_no_sense(corpus: Path) -> None:
    path = corpus / ".aer_prepare.jsonl"
    path.mkdir()
    assert "can't be read" in prepare(corpus, status=2)
    path.rmdir()
    prepare(corpus)
    before = snapshot(corpus)
    (corpus / "resampled_train_audio" / "robin" / "loop").symlink_to("loop")
    path.write_text(path.read_text().replace('"n_clipped": 0', '"n_clipped": "x"') + "[]\n7\n")
    assert "has not made" in prepare(corpus, status=2)
    path.write_bytes(before[path.name] + b"[]\n7\n")
    prepare(corpus)
    assert snapshot(corpus) == before


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


@pytest.mark.skipif(not FSDD.is_dir(), reason="the spoken digits are not here")
def test_the_digits(tmp_path: Path) -> None:
    prepare(FSDD / "raw_train_audio", "--out", tmp_path, "--csv", FSDD / "train.csv", "--sample-rate", 16000)
    table = pd.read_csv(tmp_path / "train_mod.csv", dtype=str)
    source = pd.read_csv(FSDD / "train.csv", dtype=str)
    assert len(table) == 2500 and table[source.columns].equals(source)
    for row in table.iloc[::25].itertuples():
        raw = FSDD / "raw_train_audio" / row.ebird_code / row.filename
        assert np.array_equal(clip(tmp_path, f"{row.ebird_code}/{row.resampled_filename}"), expected(raw, 16000))
