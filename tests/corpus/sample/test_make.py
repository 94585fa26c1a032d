"""The sample corpus: its layout, that it is the same every time, and that mean spectra don't tell the species."""

import hashlib
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.paths import ROOT
from sklearn.neighbors import KNeighborsClassifier

import aer.corpus.sample.make
from aer.corpus.sample.make import SNR_DB, SOUNDSCAPES, SampleSummary, make_clip, make_sample_corpus, make_soundscape
from aer.corpus.sample.sounds import (
    CENTRE_HZ,
    HIGHEST_HZ,
    SAMPLE_RATE,
    SPECIES,
    Species,
    mixed,
    noise,
    power,
    reverberated,
    song,
    sounding,
    tone,
)
from aer.errors import InputError

pytestmark = pytest.mark.xdist_group("sample")  # what its fixtures make is made once

SEED = 7
CLIPS = 20  # per species: enough for five folds
FULL_SCALE = 32767


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return make_sample_corpus(tmp_path_factory.mktemp("corpora") / "new" / "sample", SEED, CLIPS)


@pytest.fixture(scope="module")
def table(made: SampleSummary) -> pd.DataFrame:
    return pd.read_csv(made.root / "train_mod.csv")


def hashes(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes(made: SampleSummary, tmp_path: Path) -> None:
    make_sample_corpus(tmp_path / "again", SEED, n_per_species=2)
    first, again = hashes(made.root), hashes(tmp_path / "again")
    again.pop("train_mod.csv")  # has fewer rows
    assert len(again) == 8 * 2 + 4
    assert again.items() <= first.items()  # a smaller corpus is a part of a larger one

    make_sample_corpus(tmp_path / "other", SEED + 1, n_per_species=2)
    other = hashes(tmp_path / "other")
    assert not {other[name] for name in other if name.endswith(".wav")} & set(again.values())


def test_clips_do_not_depend_on_their_order() -> None:
    alone = make_clip(SEED, 3, 5).waveform
    make_clip(SEED, 3, 4)
    np.testing.assert_array_equal(make_clip(SEED, 3, 5).waveform, alone)


def test_layout(made: SampleSummary, table: pd.DataFrame) -> None:
    assert sorted(path.name for path in made.root.iterdir()) == ["resampled_train_audio", "test_data", "train_mod.csv"]
    assert made.clips == len(table) == 8 * CLIPS
    assert list(table.columns) == [
        *("ebird_code", "filename", "xc_id", "species", "author", "rating", "duration"),
        *("resampled_filename", "resampled_sampling_rate", "resampled_channels"),
    ]
    named = {f"{row.ebird_code}/{row.resampled_filename}" for row in table.itertuples()}
    audio = made.root / "resampled_train_audio"
    assert named == {path.relative_to(audio).as_posix() for path in audio.rglob("*.wav")}
    assert table["xc_id"].is_unique
    assert table["xc_id"].between(900_000, 999_999).all()
    assert table["rating"].between(1, 5).all()
    assert set(table["ebird_code"].value_counts()) == {CLIPS}
    assert made.species == tuple(sorted(table["ebird_code"].unique()))
    assert all(len(code) == 6 for code in made.species)
    assert table.groupby("ebird_code")["author"].nunique().min() >= 5  # group_by author has folds to make


def test_clips_are_short_mono_and_not_clipped(made: SampleSummary, table: pd.DataFrame) -> None:
    peaks = []
    for row in table.itertuples():
        path = made.root / "resampled_train_audio" / row.ebird_code / row.resampled_filename
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert 2.0 <= info.duration <= 4.0
        assert info.duration == pytest.approx(row.duration, abs=1e-3)
        peaks.append(np.abs(soundfile.read(path, dtype="int16")[0].astype(int)).max())
    assert max(peaks) <= FULL_SCALE * 10 ** (-1 / 20) + 1
    assert min(peaks) >= FULL_SCALE * 10 ** (-20 / 20) - 1
    assert np.std(20 * np.log10(peaks)) > 4  # dB: uniform over 19 dB has 5.5


def test_test_csv(made: SampleSummary) -> None:
    test = pd.read_csv(made.root / "test_data" / "test.csv")
    assert list(test.columns) == ["site", "row_id", "seconds", "audio_id"]
    assert set(test["site"]) == {"site_1", "site_2"}
    for audio_id, rows in test.groupby("audio_id"):
        duration_s = soundfile.info(made.root / "test_data" / "test_audio" / f"{audio_id}.wav").duration
        assert 120 <= duration_s <= 180
        assert list(rows["seconds"]) == list(range(5, int(duration_s) + 1, 5))
        assert list(rows["row_id"]) == [f"{row.site}_{row.audio_id}_{row.seconds}" for row in rows.itertuples()]


def test_events_csv(made: SampleSummary) -> None:
    events = pd.read_csv(made.root / "test_data" / "events.csv")
    assert list(events.columns) == ["audio_id", "start_s", "end_s", "ebird_code"]
    assert len(events) == made.events
    for audio_id, rows in events.groupby("audio_id"):
        duration_s = SOUNDSCAPES[str(audio_id)][1]
        assert set(rows["ebird_code"]) == set(made.species)
        assert (rows["start_s"] >= 0).all() and (rows["end_s"] <= duration_s).all()
        assert (rows["end_s"] - rows["start_s"]).between(0.3, 4.0).all()
        gaps = rows["start_s"].to_numpy()[1:] - rows["end_s"].to_numpy()[:-1]
        assert np.mean(gaps < 0) < 0.5  # most stand alone
        assert np.sum(gaps) > 0.25 * duration_s  # and there is silence to reject
        for code in made.species:  # never over itself: its times would not be defined
            own = rows[rows["ebird_code"] == code]
            assert (own["start_s"].to_numpy()[1:] > own["end_s"].to_numpy()[:-1]).all()


def test_events_stand_out() -> None:
    for index, (_, duration_s) in enumerate(SOUNDSCAPES.values()):
        wave, events = make_soundscape(SEED, index, duration_s)
        quiet = np.ones(len(wave), dtype=bool)
        for event in events:
            quiet[round(event.start_s * SAMPLE_RATE) : round((event.end_s + 0.8) * SAMPLE_RATE)] = False
        seconds = wave[quiet][: np.sum(quiet) // SAMPLE_RATE * SAMPLE_RATE].reshape(-1, SAMPLE_RATE)
        ordinary = np.median(np.mean(seconds**2, axis=1))
        for event in events:
            span = slice(round(event.start_s * SAMPLE_RATE), round(event.end_s * SAMPLE_RATE))
            assert power(wave[span]) > 1.2 * ordinary, event


def test_mixed_has_the_stated_ratio() -> None:
    # The call sounds in its first half alone, with power 0.5; the background has power 0.04. 10 dB above that is 0.4.
    time_s = np.arange(1600) / SAMPLE_RATE
    call = np.where(time_s < 0.05, np.sin(2 * np.pi * 1000 * time_s), 0.0)
    background = np.full(1600, 0.2)
    active = time_s < 0.05
    added = mixed(call, background, active, snr_db=10.0) - background
    assert power(added[active]) == pytest.approx(0.4)
    assert not added[~active].any()


def test_snr_of_clips_spans_its_range() -> None:
    ratios = [make_clip(SEED, index % 8, index).snr_db for index in range(40)]
    assert SNR_DB[0] <= min(ratios) < 6
    assert 16 < max(ratios) <= SNR_DB[1]


@pytest.mark.parametrize("species", SPECIES, ids=lambda species: species.ebird_code)
def test_songs(species: Species) -> None:
    for seed in range(10):
        dry = song(species, np.random.default_rng(seed), 4.0)
        assert len(dry) == 4 * SAMPLE_RATE
        n_sounding = np.concatenate([[0], np.cumsum(sounding(dry))])
        in_crops = n_sounding[2 * SAMPLE_RATE :] - n_sounding[: -2 * SAMPLE_RATE]  # every crop of 2 s
        assert in_crops.min() > 0.6 * SAMPLE_RATE  # chirps have the longest gaps
        spectrum = np.abs(np.fft.rfft(dry)) ** 2
        above = np.fft.rfftfreq(len(dry), 1 / SAMPLE_RATE) > HIGHEST_HZ + 100
        assert spectrum[above].sum() < 1e-3 * spectrum.sum()


def test_pitch_range_is_wide() -> None:
    assert CENTRE_HZ[1] / CENTRE_HZ[0] > 2  # more than an octave before any sweep


def test_tone_follows_its_pitch() -> None:
    wave = tone(np.linspace(-0.5, 0.5, SAMPLE_RATE), 2000.0, (1.0,))
    crossings = np.diff(np.signbit(wave)).reshape(-1)
    first, last = np.sum(crossings[:1600]) / 0.2, np.sum(crossings[-1600:]) / 0.2  # two crossings per period, 0.1 s
    assert first == pytest.approx(2000 * 2**-0.45, rel=0.02)  # the mean of the first tenth of the octave
    assert last == pytest.approx(2000 * 2**0.45, rel=0.02)
    above = tone(np.zeros(1600), 4000.0, (0.0, 1.0))  # its only partial would stand at 8000 Hz
    assert not above.any()


def test_noise_has_unit_power_in_its_band() -> None:
    wave = noise(np.random.default_rng(0), 31999, slope=0.5, band_hz=(1000, 2000))  # a length that is prime-ish
    assert len(wave) == 31999
    assert power(wave) == pytest.approx(1.0)
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    frequency_hz = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    assert spectrum[(frequency_hz > 950) & (frequency_hz < 2050)].sum() > 0.99 * spectrum.sum()


def test_echo_decays_and_has_its_power() -> None:
    click = np.zeros(SAMPLE_RATE)
    click[0] = 1.0
    wet = reverberated(click, np.random.default_rng(0), decay_s=0.5, wet=0.3)
    assert np.sum(wet[1:] ** 2) == pytest.approx(0.3, rel=0.05)
    assert power(wet[:800]) > 1e4 * power(wet[7000:7800])  # 52 dB are expected after 0.44 s
    assert np.abs(wet[8000:]).max() < 1e-9


def test_mean_spectrum_does_not_solve_it(made: SampleSummary) -> None:
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "sample_difficulty.py"))
    means, means_and_spreads, labels = benchmark["features"](made.root)
    for inputs in (means, means - means.mean(axis=1, keepdims=True), means_and_spreads):
        assert benchmark["validation_map"](KNeighborsClassifier(1), inputs, labels) < 0.5


def test_empty_folder_and_link_are_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    summary = make_sample_corpus(tmp_path / "link", SEED, n_per_species=1)
    assert summary.clips == 8
    assert (tmp_path / "empty" / "train_mod.csv").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link"]


def test_output_is_clean_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sample_corpus(tmp_path / "sample", SEED, n_per_species=1)
    assert capsys.readouterr() == ("", "")


def test_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(aer.corpus.sample.make, "make_soundscape", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_sample_corpus(tmp_path / "sample", SEED, n_per_species=1)
    assert not list(tmp_path.iterdir())


def test_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        make_sample_corpus(tmp_path / "sample", SEED, n_per_species=1)
    assert not list(tmp_path.iterdir())


def test_unusable_targets_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    for target in (tmp_path / "file", tmp_path / "full", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="sample corpus") as raised:
            make_sample_corpus(target, SEED, n_per_species=1)
        assert str(target) in str(raised.value)
        assert "\n" not in str(raised.value)
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "mine").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


@pytest.mark.parametrize(("seed", "n_per_species"), [(-1, 1), (0, 0), (0, 10_000)])
def test_wrong_numbers_are_refused(tmp_path: Path, seed: int, n_per_species: int) -> None:
    with pytest.raises(InputError):
        make_sample_corpus(tmp_path / "sample", seed, n_per_species)
