"""Headers that lie about the length: what is there is read, from the first to the last sample."""

import hashlib
import io
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from helpers.encoded import Sound, decode, encode, sound

from aer.audio import mpeg, mpeg_reader
from aer.audio.io import open_stream, probe, read_crop
from aer.errors import AudioError, EmptyAudioError

RATE = 16000
NO_XING = {"write_xing": "0", "id3v2_version": "0"}


def id3(n_bytes: int) -> bytes:
    """An ID3v2.4 tag of so many bytes, filled with what a picture may hold: also a sync code."""
    n = n_bytes - 10
    size = bytes([n >> 21 & 127, n >> 14 & 127, n >> 7 & 127, n & 127])
    return b"ID3\x04\x00\x00" + size + (b"\xff\xfb\x90\x64" + bytes(96)) * (n // 100) + bytes(n % 100)


def whole(path: Path) -> Sound:
    with open_stream(path) as (_, blocks):
        return np.concatenate(list(blocks))


def assert_is(path: Path, expected: Sound, tolerance: float = 0) -> None:
    """The recording is whole, without a note of damage, and crops of it are slices of it."""
    info = probe(path)
    assert info.damages == ()
    assert info.n_samples == len(expected)
    np.testing.assert_allclose(whole(path), expected, atol=tolerance)
    for start in np.linspace(0, len(expected) - 1, 9).astype(int).tolist():
        crop = read_crop(path, start / info.sample_rate, 0.25, info.sample_rate)
        np.testing.assert_allclose(crop, expected[start : start + info.sample_rate // 4], atol=tolerance)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoded")


@pytest.fixture(scope="module")
def plain_mp3(folder: Path) -> bytes:
    """4 s at a fixed rate, without a Xing header and tags."""
    path = folder / "plain.mp3"
    return encode(path, [(sound(4, RATE), RATE)], "libmp3lame", bit_rate=32000, muxer_options=NO_XING).read_bytes()


@pytest.fixture(scope="module")
def xing_mp3(folder: Path) -> bytes:
    options = {"id3v2_version": "0"}
    path = folder / "xing.mp3"
    return encode(path, [(sound(4, RATE), RATE)], "libmp3lame", bit_rate=32000, muxer_options=options).read_bytes()


def test_mp3_at_a_varying_rate_without_a_xing_header(tmp_path: Path, plain_mp3: bytes) -> None:
    """Twice the frames at 160 as at 8 kb/s take 20 times the bytes: any guess by the bit rate is far off."""
    loud = encode(tmp_path / "b.mp3", [(sound(2, RATE), RATE)], "libmp3lame", bit_rate=160000, muxer_options=NO_XING)
    soft = encode(tmp_path / "c.mp3", [(sound(4, RATE), RATE)], "libmp3lame", bit_rate=8000, muxer_options=NO_XING)
    mixed = tmp_path / "a.mp3"
    mixed.write_bytes(loud.read_bytes() + soft.read_bytes())
    assert probe(mixed).n_samples == probe(loud).n_samples + probe(soft).n_samples
    assert_is(mixed, decode(mixed)[:, 0])


@pytest.mark.parametrize("tag_bytes", [4096, 60_000])
def test_mp3_at_a_fixed_rate_behind_a_tag_or_a_picture(tmp_path: Path, plain_mp3: bytes, tag_bytes: int) -> None:
    (tmp_path / "plain.mp3").write_bytes(plain_mp3)
    path = tmp_path / "tagged.mp3"
    path.write_bytes(id3(tag_bytes) + plain_mp3 + b"TAG" + bytes(125))
    assert_is(path, decode(tmp_path / "plain.mp3")[:, 0])


def test_two_mp3s_in_one_file(tmp_path: Path, plain_mp3: bytes, xing_mp3: bytes) -> None:
    path = tmp_path / "two.mp3"
    for content in (plain_mp3 + plain_mp3, plain_mp3 + id3(500) + plain_mp3, xing_mp3 + plain_mp3):
        path.write_bytes(content)
        info = probe(path)
        assert info.duration_s == pytest.approx(8, abs=0.25) and info.damages == ()
        assert len(whole(path)) == info.n_samples
    path.write_bytes(plain_mp3 + plain_mp3)
    assert_is(path, decode(path)[:, 0])


def test_mp3_whose_start_is_cut_off(tmp_path: Path, xing_mp3: bytes) -> None:
    path = tmp_path / "end.mp3"
    path.write_bytes(xing_mp3[5000:])
    n_whole = len(mpeg_frames(xing_mp3[5000:]))
    assert probe(path).n_samples == n_whole * 576
    assert_is(path, decode(path)[:, 0])


def mpeg_frames(content: bytes) -> list[int]:
    found = mpeg.walk(content, 0, len(content))
    assert found is not None
    return list(found.offset)


@pytest.mark.parametrize(
    ("rate", "channels", "bit_rate"),
    [(44100, 2, 320_000), (44100, 1, 32_000), (22050, 1, 8_000), (8000, 1, 8_000), (48000, 2, 64_000)],
)
@pytest.mark.parametrize("xing", ["0", "1"])
def test_mp3_has_the_samples_of_a_full_decode(
    tmp_path: Path, rate: int, channels: int, bit_rate: int, xing: str
) -> None:
    """An encoder's delay and padding are cut off as FFmpeg does; what a seek gives is the same to the bit."""
    options = {"write_xing": xing}
    path = tmp_path / "a.mp3"
    encode(path, [(sound(1.5, rate, channels), rate)], "libmp3lame", bit_rate=bit_rate, muxer_options=options)
    expected = decode(path)
    assert xing == "0" or len(expected) == round(1.5 * rate)
    assert_is(path, expected.mean(axis=1))


def test_mp3_frames_are_walked_at_thousands_of_times_real_time(plain_mp3: bytes) -> None:
    minutes = plain_mp3 * 150
    began = time.process_time()
    found = mpeg.walk(minutes, 0, len(minutes))
    took_s = time.process_time() - began
    assert found is not None and len(found.offset) == 150 * len(mpeg_frames(plain_mp3))
    assert len(found.offset) * 576 / RATE > 2000 * took_s


def test_a_promise_that_the_frames_keep_is_no_note(tmp_path: Path, xing_mp3: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(xing_mp3)
    assert probe(path).n_samples == 4 * RATE and probe(path).notes == ()


def wav(samples: Sound, subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, subtype, format=kind)
    return file.getvalue()


PCM = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "PCM_U8", "DOUBLE", "ULAW")


@pytest.mark.parametrize("riff", [None, 0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("subtype", PCM)
def test_wav_with_data_size_0_and_samples_behind_it(tmp_path: Path, riff: int | None, subtype: str) -> None:
    samples = sound(1, RATE, 2)
    (tmp_path / "right.wav").write_bytes(wav(samples, subtype))
    expected = whole(tmp_path / "right.wav")
    content = bytearray(wav(samples, subtype))
    at = content.index(b"data") + 4
    content[at : at + 4] = bytes(4)
    if riff is not None:
        content[4:8] = riff.to_bytes(4, "little")
    path = tmp_path / "zero.wav"
    path.write_bytes(content)
    assert_is(path, expected)
    assert len(probe(path).notes) == 1


def test_wav_without_a_sample_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "none.wav"
    for content in (wav(np.zeros((0, 1), np.float32)), wav(np.zeros((0, 1), np.float32)) + b"LIST\x04\0\0\0INFO"):
        path.write_bytes(content)
        with pytest.raises(EmptyAudioError, match="has no samples"):
            probe(path)


@pytest.mark.parametrize("declared", [2, 1000, 31998])
def test_wav_whose_data_size_is_too_small(tmp_path: Path, declared: int) -> None:
    content = bytearray(wav(sound(1, RATE)))
    (tmp_path / "right.wav").write_bytes(content)
    content[40:44] = declared.to_bytes(4, "little")
    path = tmp_path / "small.wav"
    path.write_bytes(content)
    assert_is(path, whole(tmp_path / "right.wav"))
    assert probe(path).notes == (f"its header promises {declared} bytes of audio, 32000 are there",)


@pytest.mark.parametrize(
    "tail", [b"LIST\x04\0\0\0INFO", b"guan\x05\0\0\0hello\0", b"id3 \x02\0\0\0xx" + b"bext\x02\0\0\0yy", bytes(512)]
)
def test_what_is_behind_the_samples_of_a_wav_is_not_heard(tmp_path: Path, tail: bytes) -> None:
    """Chunks, or zeros up to a card's block."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(sound(1, RATE)) + tail)
    assert probe(path).n_samples == RATE and probe(path).notes == ()


def test_wav_larger_than_4_gib_whose_size_wrapped_round(tmp_path: Path) -> None:
    """Sparse: 12 h of zeros with sound at the start and the end."""
    samples = (sound(2, 48000)[:, 0] * 32768).astype("<i2")
    n_bytes = (1 << 32) + 30 * 48000 * 2
    header = bytearray(wav(sound(0.01, RATE))[:44])
    struct.pack_into("<II", header, 24, 48000, 96000)
    struct.pack_into("<I", header, 4, (n_bytes + 36) % (1 << 32))
    struct.pack_into("<I", header, 40, n_bytes % (1 << 32))
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(header + samples.tobytes())
        file.seek(44 + n_bytes - samples.nbytes)
        file.write(samples.tobytes())
    info = probe(path)
    assert info.n_samples == n_bytes // 2 and info.damages == ()
    crop = read_crop(path, info.duration_s - 2, 2, 48000)
    np.testing.assert_array_equal(crop, samples / np.float32(32768))
    chunk = b"LIST\x04\0\0\0INFO"
    with path.open("ab") as file:
        file.write(chunk)
    assert probe(path).n_samples == n_bytes // 2, "a chunk behind it is no sound"


@pytest.mark.parametrize(
    ("kind", "place", "form"),
    [("RF64", 28, "<Q"), ("W64", None, "<Q"), ("AIFF", None, ">I"), ("CAF", None, ">q"), ("AU", 8, ">I")],
)
def test_sizes_of_what_is_no_wav(tmp_path: Path, kind: str, place: int | None, form: str) -> None:
    """A size that is too small, or 0 as a recorder leaves it that lost power."""
    content = wav(sound(1, RATE, 2), "PCM_24", kind)
    (tmp_path / "right").write_bytes(content)
    expected = whole(tmp_path / "right")
    n_audio = RATE * 2 * 3
    headers = {"RF64": 0, "W64": 24, "AIFF": 8, "CAF": 4, "AU": 0}[kind]
    # where the size of the samples stands
    sizes = [i for i in range(5000) if content[i : i + struct.calcsize(form)] == struct.pack(form, n_audio + headers)]
    assert sizes
    for declared in (headers, headers + 6000):
        damaged = bytearray(content)
        struct.pack_into(form, damaged, sizes[-1] if place is None else place, declared)
        if kind == "AIFF":
            struct.pack_into(">I", damaged, damaged.index(b"COMM") + 10, (declared - headers) // 6)
        path = tmp_path / "wrong"
        path.write_bytes(damaged)
        assert_is(path, expected)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"cut short: its header promises \d+ bytes of audio, \d+ are there"):
        probe(path)
    n_there = probe(path, allow_cut_short=True).n_samples
    assert n_there >= RATE // 2 - 400
    np.testing.assert_array_equal(read_crop(path, 0.2, 0.2, RATE), expected[RATE // 5 : RATE // 5 * 2])


@pytest.mark.parametrize("kind", ["CAF", "AU"])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_codings_of_caf_and_au(tmp_path: Path, kind: str, subtype: str) -> None:
    """A size of half makes the samples be read as they lie."""
    content = wav(sound(1, RATE, 2), subtype, kind)
    path = tmp_path / "a"
    path.write_bytes(content)
    expected = whole(path)
    n_audio = len(expected) * 2 * {"PCM_16": 2, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}.get(subtype, 1)
    form, more = (">q", 4) if kind == "CAF" else (">I", 0)
    right, wrong = struct.pack(form, n_audio + more), struct.pack(form, n_audio // 2 + more)
    assert right in content[:5000]
    path.write_bytes(content.replace(right, wrong, 1))
    assert probe(path).notes
    assert_is(path, expected)


def flac(path: Path, samples: Sound, subtype: str = "PCM_16") -> bytes:
    soundfile.write(path, samples, RATE, subtype)
    return path.read_bytes()


def with_total(content: bytes, total: int) -> bytes:
    changed = bytearray(content)
    changed[21] = changed[21] & 0xF0 | total >> 32
    changed[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(changed)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_S8"])
def test_flac_behind_an_id3_tag(tmp_path: Path, subtype: str) -> None:
    content = flac(tmp_path / "plain.flac", sound(3, RATE, 2), subtype)
    path = tmp_path / "tagged.flac"
    path.write_bytes(id3(200_000) + content)
    assert_is(path, whole(tmp_path / "plain.flac"))


@pytest.mark.parametrize("total", [0, 1000, 3 * RATE - 1, 6 * RATE])
def test_flac_with_a_total_that_is_not_so(tmp_path: Path, total: int) -> None:
    """Unknown, too small, or twice what there is: the MD5 of the samples tells that none is missing."""
    content = flac(tmp_path / "plain.flac", sound(3, RATE))
    expected = whole(tmp_path / "plain.flac")
    path = tmp_path / "wrong.flac"
    path.write_bytes(with_total(content, total))
    assert_is(path, expected)
    assert len(probe(path).notes) == (1 if total else 0)


def test_flac_md5_is_that_of_the_format(tmp_path: Path) -> None:
    """24 bits, stereo: three bytes a sample, little-endian, interleaved."""
    content = flac(tmp_path / "plain.flac", sound(1, RATE, 2), "PCM_24")
    samples, _ = soundfile.read(tmp_path / "plain.flac", dtype="int32")
    packed = (samples >> 8).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    assert hashlib.md5(packed).digest() == content[26:42]
    path = tmp_path / "wrong.flac"
    path.write_bytes(with_total(content, 9 * RATE))
    assert probe(path).n_samples == RATE and len(probe(path).notes) == 1


def test_ogg_length_is_that_of_its_last_page(tmp_path: Path) -> None:
    for subtype in ("VORBIS", "OPUS"):
        path = tmp_path / f"{subtype}.ogg"
        soundfile.write(path, sound(2.5, RATE), RATE, subtype, format="OGG")
        assert probe(path).n_samples == round(2.5 * RATE)
        assert probe(path).damages == ()


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("channels", [1, 2])
def test_seeks_into_the_last_page_of_an_ogg(tmp_path: Path, subtype: str, channels: int) -> None:
    path = tmp_path / "a.ogg"
    for seed, duration_s in enumerate((0.7, 3.1)):
        with soundfile.SoundFile(path, "w", RATE, channels, subtype, format="OGG") as file:
            file.write(sound(duration_s, RATE, channels, seed))
        expected = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
        for before in (1, 300, 728, 1500, 3000, 6000, 9000):
            start = len(expected) - before
            crop = read_crop(path, start / RATE, 1, RATE)
            np.testing.assert_allclose(crop, expected[start:], atol=1e-6)


@pytest.fixture(autouse=True)
def no_index_is_kept() -> Iterator[None]:
    yield
    mpeg_reader._mpeg_index.cache_clear()


def test_a_changed_file_is_walked_again(tmp_path: Path, plain_mp3: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(plain_mp3)
    first = probe(path).n_samples
    path.write_bytes(plain_mp3 * 2)
    assert probe(path).n_samples == 2 * first


def test_a_wav_that_holds_an_mp3(tmp_path: Path, plain_mp3: bytes) -> None:
    """No plain samples: a wrong size there can't be mended by counting bytes."""
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 144, 1, 0)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(plain_mp3)) + plain_mp3
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert probe(path).duration_s == pytest.approx(4, abs=0.15)


def test_decoders_of_ffmpeg_are_not_led_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, sound(1, RATE), RATE)
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXTINF:1,\n{secret}\n",
        "b.mp3": f"ffconcat version 1.0\nfile '{secret}'\n",
        "c.m4a": f"<?xml version='1.0'?><MPD><BaseURL>{secret}</BaseURL></MPD>",
        "d.wav": f"[playlist]\nFile1={secret}\n",
        "e.flac": "v=0\nc=IN IP4 127.0.0.1\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="text or a playlist"):
            probe(tmp_path / name)


def test_pyav_has_what_the_readers_need() -> None:
    for name in ("mp3float", "mp2float", "mp1float", "flac", "vorbis", "libopus", "aac", "alac", "wavpack", "ape"):
        assert av.Codec(name, "r").name
