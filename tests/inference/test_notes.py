"""What `aer predict` notes of recordings that it has heard whole: status `ok`, and a reason."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.encoded import encode, sound
from helpers.recordings import bursts, recognised, recordings_of
from helpers.tiny_predict import RATE, tiny_bundle, tiny_plan

from aer.inference import predict
from aer.inference.plan import Plan


def quiet_plan(**options: str) -> Plan:
    """Scores of samples far beyond full scale stay below 1."""
    return tiny_plan(tiny_bundle(gain=1e-5), **options)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A sound recording, and one of each kind that is odd."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    mono = bursts(2.0, 1)
    soundfile.write(folder / "sound.wav", np.concatenate([mono, bursts(2.0, 2)], axis=1), RATE)
    soundfile.write(folder / "phase.wav", np.concatenate([mono, -mono], axis=1), RATE)
    soundfile.write(folder / "dead.flac", np.concatenate([mono, 0 * mono], axis=1), RATE)
    soundfile.write(folder / "integers.wav", np.rint(mono * 20_000), RATE, "FLOAT")
    soundfile.write(folder / "narrow.wav", bursts(2.0, 3, rate=RATE // 2), RATE // 2)
    encode(folder / "tracks.mka", [(sound(2, RATE), RATE), (sound(2, RATE, 2), RATE)], "flac")
    # a recorder that lost power: no size in the header
    soundfile.write(folder / "power.wav", mono, RATE)
    content = bytearray((folder / "power.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 0)
    (folder / "power.wav").write_bytes(content)
    return folder


NOTES = {
    "sound.wav": "",
    "phase.wav": "channels 1 and 2 are in opposite phase: their mean cancels",
    "dead.flac": "channel 2 is dead",
    "integers.wav": " times full scale: integers stored as floats?",
    "narrow.wav": "recorded at 8000 Hz: nothing above 4000 Hz, and the band reaches to ",
    "tracks.mka": "2 audio tracks",
    "power.wav": "its header promises 0 bytes of audio, 64000 are there",
}


def test_each_oddity_is_noted_and_the_status_is_ok(odd: Path) -> None:
    results = recognised(recordings_of(odd), quiet_plan())
    assert {result.name for result in results} == set(NOTES)
    for result in results:
        assert result.status == "ok" and result.duration_s == pytest.approx(2, abs=0.001), result.name
        assert NOTES[result.name] in result.reason, (result.name, result.reason)
        assert bool(NOTES[result.name]) == bool(result.reason)
    # one channel is heard: its phase does not matter, but that it is dead does
    results = recognised(recordings_of(odd), quiet_plan(channels="first"))
    reasons = {result.name: result.reason for result in results}
    assert reasons["phase.wav"] == "" and reasons["dead.flac"] == "channel 2 is dead"


def test_a_part_has_its_notes_too_and_few_samples_have_none(tmp_path: Path) -> None:
    samples = np.concatenate([bursts(2.0, 1), 0 * bursts(2.0, 1)], axis=1)
    soundfile.write(tmp_path / "cut.wav", samples, RATE)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:70_000])
    soundfile.write(tmp_path / "two.wav", np.array([[0.1, 0.2], [0.2, 0.1]]), RATE)
    cut, two = recognised(recordings_of(tmp_path), tiny_plan())
    assert cut.status == "partial" and cut.reason.endswith("; scored up to 1.09 s; channel 2 is dead")
    assert (two.status, two.reason) == ("ok", "")


def test_the_summary_counts_recordings_with_notes(odd: Path, tmp_path: Path) -> None:
    results, done = predict.predict(recordings_of(odd), quiet_plan(), tmp_path / "out", 4, 2)
    assert "\n6 recordings with notes: the column reason of files.csv has them" in predict.summary(results, done, [])
    sound_ones = [recording for recording in recordings_of(odd) if recording.name == "sound.wav"]
    results, done = predict.predict(sound_ones, quiet_plan(), tmp_path / "other", 4, 2)
    assert "notes" not in predict.summary(results, done, [])
