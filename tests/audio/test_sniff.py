"""What a file is by its content, and what is said of one that is no recording."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.encoded import encode, sound

from aer.audio.io import probe
from aer.audio.sniff import advice, kind_of, looks_like_audio
from aer.errors import AudioError

RATE = 16000
ID3 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
BY_LIBSNDFILE = {
    "wav": "WAV",
    "aiff": "AIFF",
    "flac": "FLAC",
    "ogg": "OGG",
    "w64": "W64",
    "caf": "CAF",
    "au": "AU",
    "voc": "VOC",
    "nist": "NIST",
}


@pytest.mark.parametrize("kind", BY_LIBSNDFILE)
def test_what_libsndfile_writes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    soundfile.write(path, sound(0.5, RATE), RATE, format=BY_LIBSNDFILE[kind])
    assert kind_of(path) == kind
    assert probe(path).n_samples == RATE // 2
    soundfile.write(path, sound(0.5, RATE), RATE, format="RF64")
    assert kind_of(path) == "wav"


@pytest.mark.parametrize(
    ("kind", "suffix", "codec", "rate"),
    [
        ("mpeg", "mp3", "libmp3lame", RATE),
        ("mpeg", "mp2", "mp2", 44100),
        ("mp4", "m4a", "aac", RATE),
        ("mp4", "mov", "pcm_s16le", RATE),
        ("mp4", "3gp", "aac", RATE),
        ("matroska", "mka", "flac", RATE),
        ("matroska", "webm", "libopus", 48000),
        ("wavpack", "wv", "wavpack", RATE),
        ("tta", "tta", "tta", RATE),
        ("adts", "aac", "aac", RATE),
        ("ac3", "ac3", "ac3", 48000),
        ("amr", "amr", "libopencore_amrnb", 8000),
        ("avi", "avi", "pcm_s16le", RATE),
        ("ogg", "opus", "libopus", 48000),
    ],
)
def test_what_ffmpeg_writes_is_known_and_read(tmp_path: Path, kind: str, suffix: str, codec: str, rate: int) -> None:
    path = encode(tmp_path / f"a.{suffix}", [(sound(1, rate), rate)], codec)
    assert kind_of(path) == kind and looks_like_audio(path)
    assert probe(path).duration_s == pytest.approx(1, abs=0.15)
    if kind in ("mpeg", "adts", "tta"):
        path.write_bytes(ID3 + path.read_bytes())
        assert kind_of(path) == kind
    if kind == "mpeg":
        path.write_bytes(path.read_bytes()[len(ID3) + 777 :])
        assert kind_of(path) == kind, "from the middle of a frame on"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"R",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"hello " * 1000,
        b"\x89PNG\r\n\x1a\n" + bytes(5000),
        b"\xff\xd8\xff\xe0" + np.random.default_rng(0).bytes(60_000),
        np.random.default_rng(1).bytes(60_000),
        b"\xff" * 60_000,
        bytes(60_000),
        b"\xff\xfb\x90\x64" + bytes(413) + b"no second frame" * 100,
        b"PK\x03\x04" + bytes(1000),
    ],
)
def test_what_is_no_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert not looks_like_audio(path)
    with pytest.raises(AudioError):
        probe(path)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (LFS, "git lfs pull"),
        (b"<!DOCTYPE html><html><body>Please log in</body></html>", "a web page: download"),
        (b"\n<html>", "a web page"),
        (gzip.compress(b"a" * 100, mtime=0), "gunzip"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "unpack it"),
        (b"WAac" + bytes(200), "Kaleidoscope"),
        (b"some notes\n" * 20, "text or a playlist"),
        (bytes(70_000), "nothing but zeros"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(4) + b"\0\0\0\x10mdat" + bytes(8), "moov"),
        (b"\0\0\0\x20ftypM4P \0\0\0\0M4P mp42isom" + bytes(4) + b"\0\0\0\x10moov....drms", "encrypted"),
    ],
)
def test_advice_on_a_refused_recording(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert what in advice(path)
    with pytest.raises(AudioError, match=r"not audio|no audio track") as caught:
        probe(path)
    assert what in caught.value.reason and "\n" not in caught.value.reason


def test_a_zip_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.wav", "sound")
    with pytest.raises(AudioError, match="a zip archive: unpack it"):
        probe(path)


def test_there_is_nothing_to_say_of_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(0.5, RATE), RATE)
    assert advice(path) == ""
