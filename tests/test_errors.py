"""The errors that name a recording."""

import pickle
from pathlib import Path

from aer.audio.info import audio_error
from aer.errors import AudioError, EmptyAudioError


def test_an_audio_error_keeps_path_and_reason_between_processes() -> None:
    path = Path("birds/a\x1b.wav")
    for kind in (AudioError, EmptyAudioError):
        error = pickle.loads(pickle.dumps(audio_error(path, "has no samples", kind)))
        assert type(error) is kind
        assert (error.path, error.reason) == (path, "has no samples")
        assert str(error) == "birds/a\\x1b.wav: has no samples"


def test_an_audio_error_without_a_recording() -> None:
    error = AudioError("the process died")
    assert (str(error), error.path, error.reason) == ("the process died", None, "the process died")
