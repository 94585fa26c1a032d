"""Damaged recordings: what is whole is heard at its time, the rest is named with its place."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.encoded import Sound, encode, sound

from aer.audio import ogg
from aer.audio.io import open_stream, probe, read_crop
from aer.errors import AudioError, EmptyAudioError

RATE = 16000
SECONDS = 6


def heard(path: Path) -> tuple[Sound, str]:
    """All blocks, and the reason why they are not the whole recording."""
    blocks: list[Sound] = []
    try:
        with open_stream(path) as (_, stream):
            blocks.extend(stream)
    except AudioError as error:
        return np.concatenate([np.zeros(0, np.float32), *blocks]), error.reason
    return np.concatenate(blocks), ""


def noise(seed: int = 3) -> Sound:
    """Loud from start to end, so that every lost sample shows."""
    random = np.random.default_rng(seed)
    return (0.2 * random.standard_normal((SECONDS * RATE, 1)).clip(-3, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    made = {}
    for name, kind, subtype in (
        ("flac", "FLAC", "PCM_16"),
        ("vorbis", "OGG", "VORBIS"),
        ("opus", "OGG", "OPUS"),
        ("wav", "WAV", "PCM_16"),
    ):
        made[name] = folder / name
        soundfile.write(made[name], noise(), RATE, subtype, format=kind)
    track = [(noise(), RATE)]
    made["mp3"] = encode(folder / "xing.mp3", track, "libmp3lame", bit_rate=32000)
    plain = {"write_xing": "0"}
    made["mp3 without Xing"] = encode(folder / "plain.mp3", track, "libmp3lame", bit_rate=32000, muxer_options=plain)
    made["m4a"] = encode(folder / "a.m4a", track, "aac", muxer_options={"movflags": "+faststart"})
    made["mka"] = encode(folder / "a.mka", track, "flac")
    made["wavpack"] = encode(folder / "a.wv", track, "wavpack")
    return made


# what a decoder may need to settle in behind a gap, in samples
SETTLES = {"mp3": 600, "mp3 without Xing": 600, "vorbis": 0, "flac": 0, "m4a": 2048}
FRAME = {"flac": 4096, "mp3": 576, "mp3 without Xing": 576, "vorbis": 1 << 15, "m4a": 1024, "mka": 4608}


@pytest.mark.parametrize("kind", ["flac", "mp3", "mp3 without Xing", "vorbis", "m4a", "mka", "wav"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_up_to_the_last_whole_frame_before_the_end_everything_is_heard(
    tmp_path: Path, whole: dict[str, Path], kind: str, share: float
) -> None:
    expected, _ = heard(whole[kind])
    content = whole[kind].read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(content[: int(share * len(content))])
    found, reason = heard(path)
    assert re.search("cut short", reason)
    if not len(found):  # Ogg: a first page that is not whole
        assert kind in ("vorbis", "m4a") and share == 0.05
        return
    assert len(found) >= share * len(expected) - 2 * FRAME.get(kind, 2000) - 0.1 * len(expected)
    n_sure = len(found) - SETTLES.get(kind, 0)
    np.testing.assert_allclose(found[:n_sure], expected[:n_sure], atol=1e-6)
    assert probe(path, allow_cut_short=True).n_samples == len(found)
    with pytest.raises(AudioError, match="cut short"):
        read_crop(path, 0, None, RATE)


@pytest.mark.parametrize("kind", ["flac", "mp3", "m4a", "mka", "wav"])
def test_what_a_header_promises_and_is_missing_is_refused_by_probe(
    tmp_path: Path, whole: dict[str, Path], kind: str
) -> None:
    path = tmp_path / "cut"
    path.write_bytes(whole[kind].read_bytes()[:-12000])
    with pytest.raises(AudioError, match="cut short: its header promises"):
        probe(path)
    info = probe(path, allow_cut_short=True)
    assert 0 < info.n_samples < SECONDS * RATE
    assert [damage.stop for damage in info.damages] == [None]
    # what is before the end can be read as ever
    np.testing.assert_allclose(read_crop(path, 1, 1, RATE), read_crop(whole[kind], 1, 1, RATE), atol=1e-6)


def damaged(content: bytes, how: str) -> bytes:
    middle = len(content) // 2
    if how == "garbage":
        return content[:middle] + np.random.default_rng(1).bytes(3000) + content[middle + 3000 :]
    if how == "zeros":
        return content[:middle] + bytes(3000) + content[middle + 3000 :]
    return content[:middle] + content[middle + 3000 :]


@pytest.mark.parametrize("kind", ["flac", "mp3", "vorbis"])
@pytest.mark.parametrize("how", ["garbage", "zeros", "missing"])
def test_behind_a_damaged_stretch_it_goes_on_at_its_time(
    tmp_path: Path, whole: dict[str, Path], kind: str, how: str
) -> None:
    expected, _ = heard(whole[kind])
    path = tmp_path / "damaged"
    path.write_bytes(damaged(whole[kind].read_bytes(), how))
    found, reason = heard(path)
    assert len(found) == len(expected)
    place = re.match(r"damaged from (\d\.\d{3}) to (\d\.\d{3}) s: ", reason)
    assert place, reason
    first, stop = (round(float(place[i]) * RATE) for i in (1, 2))
    wrong = np.flatnonzero(np.abs(found - expected) > 1e-6)
    assert first - 16 <= wrong[0] and wrong[-1] < stop + 16 + SETTLES[kind]
    assert not found[first + 16 : first + 1000].any() or kind != "flac"
    assert stop - first < 3 * RATE, "no more than the frames there"
    assert probe(path).n_samples == len(expected)
    # crops are slices of that; those that reach into the damage are refused, or have zeros there
    for start_s in (0.5, 5.0):
        begin = round(start_s * RATE)
        np.testing.assert_allclose(read_crop(path, start_s, 0.5, RATE), found[begin : begin + RATE // 2], atol=1e-6)
    middle_s = (first + stop) / 2 / RATE
    with pytest.raises(AudioError, match="damaged from"):
        read_crop(path, middle_s - 0.5, 1, RATE)
    crop = read_crop(path, middle_s - 0.5, 1, RATE, allow_cut_short=True)
    begin = round((middle_s - 0.5) * RATE)
    np.testing.assert_allclose(crop, found[begin : begin + RATE], atol=1e-6)


def test_a_bit_in_a_flac_is_found_by_its_checksum(tmp_path: Path, whole: dict[str, Path]) -> None:
    expected, _ = heard(whole["flac"])
    content = bytearray(whole["flac"].read_bytes())
    content[len(content) // 3] ^= 4
    path = tmp_path / "bit.flac"
    path.write_bytes(content)
    found, reason = heard(path)
    assert reason.startswith("damaged from") and len(found) == len(expected)
    wrong = np.flatnonzero(found != expected)
    assert wrong[-1] - wrong[0] < 4096 and not found[wrong].any()


@pytest.mark.parametrize("kind", ["mka", "wavpack"])
def test_a_bit_in_other_lossless_formats(tmp_path: Path, whole: dict[str, Path], kind: str) -> None:
    expected, _ = heard(whole[kind])
    content = bytearray(whole[kind].read_bytes())
    content[len(content) // 3] ^= 4
    path = tmp_path / "bit"
    path.write_bytes(content)
    found, reason = heard(path)
    assert reason.startswith("damaged from") and len(found) == len(expected)
    assert not found[found != expected].any()


def test_garbage_at_the_end_of_a_flac(tmp_path: Path, whole: dict[str, Path]) -> None:
    expected, _ = heard(whole["flac"])
    content = whole["flac"].read_bytes()
    path = tmp_path / "a.flac"
    path.write_bytes(content[:-4096] + np.random.default_rng(2).bytes(4096))
    found, reason = heard(path)
    assert len(found) >= len(expected) - 2 * 4096
    np.testing.assert_array_equal(found, expected[: len(found)])
    assert reason == f"cut short: its header promises 6.000 s, it ends at {len(found) / RATE:.3f} s"


def test_two_stretches_are_both_named(tmp_path: Path, whole: dict[str, Path]) -> None:
    content = bytearray(whole["flac"].read_bytes())
    for place in (len(content) // 4, len(content) // 2):
        content[place : place + 200] = bytes(200)
    path = tmp_path / "a.flac"
    path.write_bytes(content)
    found, reason = heard(path)
    assert len(found) == SECONDS * RATE and reason.count("damaged from") == 2


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_a_truncated_ogg_is_noted(tmp_path: Path, whole: dict[str, Path], kind: str) -> None:
    content = whole[kind].read_bytes()
    pages = ogg.walk(content, len(content)).pages
    # within a page, and exactly behind one
    for end in (pages[-1].offset + 20, pages[-1].offset):
        path = tmp_path / "cut.ogg"
        path.write_bytes(content[:end])
        found, reason = heard(path)
        assert re.fullmatch(r"cut short: its last whole page ends at \d\.\d{3} s", reason)
        assert 0 < len(found) < SECONDS * 48000
        assert probe(path).n_samples == len(found), "nothing was promised"


def test_a_damaged_flac_in_ogg_is_noted(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.ogg", [(sound(4, RATE), RATE)], "flac")
    content = path.read_bytes()
    assert heard(path)[1] == ""
    pages = ogg.walk(content, len(content), any_codec=True).pages
    path.write_bytes(content[: pages[-1].offset])
    found, reason = heard(path)
    assert re.fullmatch(r"cut short or damaged: its last whole page ends at \d\.\d{3} s", reason) and len(found)
    middle = pages[len(pages) // 2]
    path.write_bytes(content[: middle.offset] + content[middle.offset + middle.n_bytes :])
    assert re.search(r"pages are missing or damaged behind \d\.\d{3} s", heard(path)[1])


def test_opus_goes_on_behind_a_missing_page(tmp_path: Path, whole: dict[str, Path]) -> None:
    """Another decoder than libsndfile's: equal but for its rounding."""
    expected, _ = heard(whole["opus"])
    content = whole["opus"].read_bytes()
    pages = ogg.walk(content, len(content)).pages
    lost = pages[len(pages) // 2]
    path = tmp_path / "a.opus"
    path.write_bytes(content[: lost.offset] + content[lost.offset + lost.n_bytes :])
    found, reason = heard(path)
    assert reason.startswith("damaged from")
    rate = probe(path).sample_rate
    assert len(found) / rate == pytest.approx(len(expected) / RATE, abs=1e-3)


def test_ogg_checksums_are_those_of_the_format(whole: dict[str, Path]) -> None:
    """Bit by bit, as RFC 3533 says: polynomial 0x04c11db7, from 0, no final inversion."""
    content = bytearray(whole["vorbis"].read_bytes()[:58])
    stored = int.from_bytes(content[22:26], "little")
    content[22:26] = bytes(4)
    value = 0
    for byte in content:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    assert value == stored == ogg.crc32(bytes(content))


def test_mp3_gap_is_as_long_as_the_header_promises(tmp_path: Path, whole: dict[str, Path]) -> None:
    """Bytes that are gone without a trace: without the frames of the Xing header nobody could tell how many."""
    content = whole["mp3"].read_bytes()
    path = tmp_path / "a.mp3"
    path.write_bytes(content[:9000] + content[14000:])
    expected, _ = heard(whole["mp3"])
    found, reason = heard(path)
    assert len(found) == len(expected) and reason.startswith("damaged from")
    np.testing.assert_allclose(found[-RATE:], expected[-RATE:], atol=1e-6)


def test_a_quarter_of_nothing(tmp_path: Path) -> None:
    """Too little for one frame: refused, and not called empty."""
    for kind, codec in (("mp3", "libmp3lame"), ("flac", "flac")):
        path = encode(tmp_path / f"a.{kind}", [(sound(1, RATE), RATE)], codec)
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(b"\xff", 0, 9000) if kind == "flac" else 300])
        assert heard(path)[1]


@pytest.mark.parametrize(
    ("kind", "codec", "rate"), [("ac3", "ac3", 48000), ("aac", "aac", RATE), ("avi", "pcm_s16le", RATE)]
)
def test_what_ends_within_a_frame_is_noted(tmp_path: Path, kind: str, codec: str, rate: int) -> None:
    path = encode(tmp_path / f"a.{kind}", [(sound(4, rate), rate)], codec)
    content = path.read_bytes()
    found, reason = heard(path)
    assert reason == ""
    path.write_bytes(content[: len(content) * 2 // 3 + 1])
    half, reason = heard(path)
    assert re.search(r"cut short: the file ends within its sound, at \d\.\d{3} s", reason)
    assert len(found) / 4 < len(half) < len(found)
    if kind == "aac":
        path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256) + content)
        assert heard(path)[1] == "", "behind a tag"


def test_a_wavpack_cut_within_its_only_block_is_not_empty(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.wv", [(sound(0.5, RATE), RATE)], "wavpack")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AudioError, match="cut short or damaged: nothing of it can be decoded") as caught:
        probe(path)
    assert not isinstance(caught.value, EmptyAudioError)
