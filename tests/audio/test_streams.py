"""Containers: the right track, its true rate and layout, and bounded memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.encoded import decode, encode, sound
from helpers.paths import ROOT

from aer.audio import container_file
from aer.audio.io import open_stream, probe, read_crop
from aer.errors import AudioError

RATE = 16000


@pytest.mark.parametrize(("kind", "codec"), [("m4a", "aac"), ("mp4", "aac"), ("mka", "flac"), ("webm", "libopus")])
def test_four_channels(tmp_path: Path, kind: str, codec: str) -> None:
    rate = 48000 if codec == "libopus" else RATE
    path = encode(tmp_path / f"a.{kind}", [(sound(2, rate, 4), rate)], codec)
    expected = decode(path).mean(axis=1)
    info = probe(path)
    assert (info.sample_rate, info.channels, info.n_samples) == (rate, 4, len(expected))
    assert info.duration_s == pytest.approx(2, abs=0.07)
    np.testing.assert_allclose(read_crop(path, 0, None, rate), expected, atol=1e-6)
    np.testing.assert_allclose(read_crop(path, 0.7, 0.5, rate), expected[round(0.7 * rate) :][: rate // 2], atol=1e-6)


@pytest.mark.parametrize("default", [0, 1])
def test_of_two_tracks_the_default_one_is_read(tmp_path: Path, default: int) -> None:
    """Mono at one rate, stereo at another."""
    tracks = [(sound(3, RATE, 1, 1), RATE), (sound(2, 8000, 2, 2), 8000)]
    path = encode(tmp_path / "a.mka", tracks, "flac", default=default, muxer_options={"default_mode": "passthrough"})
    info = probe(path)
    assert info.notes == (f"has 2 audio tracks: number {default + 1} is heard",)
    assert (info.sample_rate, info.channels) == ((RATE, 1), (8000, 2))[default]
    np.testing.assert_array_equal(read_crop(path, 0, None, info.sample_rate), decode(path, default).mean(axis=1))


@pytest.mark.parametrize(
    "comment", ["Audio: Sony PCM-M10, 96000 Hz, mono, 24 bit", "audio: broken", "No such file or directory"]
)
@pytest.mark.parametrize("kind", ["m4a", "mka"])
def test_text_in_the_metadata_says_nothing(tmp_path: Path, comment: str, kind: str) -> None:
    metadata = {"comment": comment, "description": comment, "title": comment}
    path = encode(tmp_path / f"a.{kind}", [(sound(2, RATE, 2), RATE)], "aac", metadata=metadata)
    info = probe(path)
    assert (info.sample_rate, info.channels) == (RATE, 2)
    np.testing.assert_allclose(read_crop(path, 0, None, RATE), decode(path).mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [
        ("m4a", "alac", 44100),
        ("wv", "wavpack", 44100),
        ("tta", "tta", 44100),
        ("mka", "flac", 22050),
        ("ogg", "flac", 22050),
        ("aac", "aac", 32000),
        ("ac3", "ac3", 48000),
        ("mp2", "mp2", 44100),
        ("amr", "libopencore_amrnb", 8000),
        ("mov", "pcm_s16be", 44100),
        ("avi", "pcm_s16le", 44100),
        ("caf", "pcm_s24be", 44100),
        ("wma", "wmav2", 44100),
    ],
)
def test_crops_are_slices_of_a_full_decode(tmp_path: Path, kind: str, codec: str, rate: int) -> None:
    """Whole, by a seek where that is exact, and with the samples of a full decode."""
    channels = 1 if kind in ("amr", "ogg") else 2
    bit_rate = 128_000 if codec == "wmav2" else None
    muxer = "asf" if kind == "wma" else None
    path = encode(tmp_path / f"a.{kind}", [(sound(1.5, rate, channels), rate)], codec, bit_rate=bit_rate, muxer=muxer)
    expected = decode(path).mean(axis=1)
    info = probe(path)
    assert (info.sample_rate, info.channels, info.n_samples) == (rate, channels, len(expected))
    # an MP2's decoder for integers, another one for floats
    tolerance = 1e-4 if codec == "mp2" else 1e-6
    np.testing.assert_allclose(read_crop(path, 0, None, rate), expected, atol=tolerance)
    for start in np.linspace(1, len(expected) - 10, 7).astype(int).tolist():
        crop = read_crop(path, start / rate, 0.3, rate)
        np.testing.assert_allclose(crop, expected[start : start + round(0.3 * rate)], atol=tolerance)


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", [(sound(1, RATE), RATE)], "aac")
    expected = probe(path)
    for name in ("a.wav", "a.mp3", "a", "a.txt"):
        assert probe(path.rename(tmp_path / name)) == expected
        (tmp_path / name).rename(path)


def test_a_film_without_sound(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="has no audio track"):
        probe(path)


def test_a_rate_that_changes_midway_is_told(tmp_path: Path) -> None:
    """Two AAC streams in one file, at 16 and 32 kHz: the second is not heard at the wrong pitch."""
    one = encode(tmp_path / "one.aac", [(sound(2, RATE), RATE)], "aac")
    n_first = probe(one).n_samples
    two = encode(tmp_path / "two.aac", [(sound(2, 2 * RATE), 2 * RATE)], "aac")
    path = tmp_path / "both.aac"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    blocks = []
    with pytest.raises(AudioError, match="its sample rate changes to 32000 Hz"), open_stream(path) as (info, stream):
        blocks.extend(stream)
    assert info.sample_rate == RATE
    assert len(np.concatenate(blocks)) == pytest.approx(n_first, abs=2048)


def test_ffmpeg_gets_no_path_and_no_protocol() -> None:
    assert container_file.OPTIONS["protocol_whitelist"] == "none"
    followers = {
        "hls",
        "concat",
        "dash",
        "sdp",
        "rtsp",
        "image2",
        "tedcaptions",
        "applehttp",
        "lavfi",
        "imf",
        "webm_dash",
    }
    assert not followers & set(container_file.OPTIONS["format_whitelist"].split(","))


HEAR = """
import sys
from pathlib import Path
from aer.audio.io import open_stream
with open_stream(Path(sys.argv[1])) as (info, blocks):
    assert sum(map(len, blocks)) == info.n_samples
# not ru_maxrss, which begins with the parent's
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says how much memory was used at most")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """10 minutes of stereo take at most 10% more than 1 minute: decoded they would be 35 MB more."""
    used = []
    for minutes in (1, 10):
        silence = np.zeros((minutes * 60 * 8000, 2), np.float32)
        path = encode(tmp_path / f"{minutes}.m4a", [(silence, 8000)], "alac")
        heard = subprocess.run(
            [sys.executable, "-c", HEAR, str(path)], cwd=ROOT, check=True, capture_output=True, text=True
        )
        used.append(int(heard.stdout))
    assert used[1] < 1.1 * used[0]
