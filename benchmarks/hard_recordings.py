"""Makes recordings of many kinds, sound and with headers that lie: what compare_with_ffmpeg.py --make writes.

The ffmpeg program encodes them, from noise and tones; faults are put into the bytes.
"""

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MANIFEST = ".made.json"
# where the files lie as they were before their headers were made to lie
TRUTH = ".truth"
ANY_RATE = (8000, 16000, 22050, 32000, 44100, 48000, 96000)
UP_TO_48 = (16000, 22050, 32000, 44100, 48000)
MPEG_RATES = (16000, 22050, 24000, 32000, 44100, 48000)
TEXT = "Audio: Sony PCM-M10, 96000 Hz, mono, 24 bit"
NO_TAG = "-id3v2_version 0"
COMMENT = f"-metadata comment='{TEXT}'"


@dataclass(frozen=True)
class Kind:
    """A format as ffmpeg is asked for it."""

    suffix: str
    arguments: str
    rates: tuple[int, ...] = ANY_RATE
    channels: tuple[int, ...] = (1, 2)


KINDS = {
    "WAV 16": Kind("wav", "-c:a pcm_s16le", channels=(1, 2, 4)),
    "WAV 24": Kind("wav", "-c:a pcm_s24le"),
    "WAV 8": Kind("wav", "-c:a pcm_u8"),
    "WAV float": Kind("wav", "-c:a pcm_f32le"),
    "WAV mu-law": Kind("wav", "-c:a pcm_mulaw"),
    "WAV ADPCM": Kind("wav", "-c:a adpcm_ima_wav"),
    "RF64": Kind("wav", "-c:a pcm_s16le -rf64 always"),
    "W64": Kind("w64", "-c:a pcm_s16le"),
    "AIFF": Kind("aiff", "-c:a pcm_s16be"),
    "CAF": Kind("caf", "-c:a pcm_s16be"),
    "AU": Kind("au", "-c:a pcm_s16be"),
    "FLAC": Kind("flac", "-c:a flac -sample_fmt s16", channels=(1, 2, 4)),
    "FLAC 24": Kind("flac", "-c:a flac -sample_fmt s32"),
    "MP3 CBR": Kind("mp3", "-c:a libmp3lame -b:a 64k", MPEG_RATES),
    "MP3 VBR": Kind("mp3", "-c:a libmp3lame -q:a 2", MPEG_RATES),
    "MP2": Kind("mp2", "-c:a mp2 -b:a 64k", MPEG_RATES, (1,)),
    "AC-3": Kind("ac3", "-c:a ac3", (32000, 44100, 48000)),
    "Ogg Vorbis": Kind("ogg", "-c:a libvorbis", UP_TO_48),
    "Ogg Opus": Kind("opus", "-c:a libopus", (16000, 48000)),
    "Ogg FLAC": Kind("oga", "-c:a flac -sample_fmt s16"),
    "Speex": Kind("spx", "-c:a libspeex", (8000, 16000), (1,)),
    "M4A AAC": Kind("m4a", "-c:a aac -b:a 96k", UP_TO_48, (1, 2, 4)),
    "M4A ALAC": Kind("m4a", "-c:a alac"),
    "MOV": Kind("mov", "-c:a pcm_s16le"),
    "MKA FLAC": Kind("mka", "-c:a flac -sample_fmt s16", channels=(1, 2, 4)),
    "MKA Vorbis": Kind("mka", "-c:a libvorbis", UP_TO_48),
    "WEBM": Kind("webm", "-c:a libopus", (48000,)),
    "WMA": Kind("wma", "-c:a wmav2", UP_TO_48),
    "AAC ADTS": Kind("aac", "-c:a aac -f adts", UP_TO_48),
    "AMR": Kind("amr", "-c:a libopencore_amrnb", (8000,), (1,)),
    "WavPack": Kind("wv", "-c:a wavpack -sample_fmt s16p"),
    "TTA": Kind("tta", "-c:a tta -sample_fmt s16"),
    "AVI": Kind("avi", "-c:a pcm_s16le"),
}

Change = Callable[[bytes, np.random.Generator], bytes]


def _as_it_is(content: bytes, random: np.random.Generator) -> bytes:
    return content


@dataclass(frozen=True)
class Fault:
    """What is put into a file. `is_whole`: all of its sound is still there, and must be heard with status ok."""

    kinds: tuple[str, ...]
    change: Change = _as_it_is
    arguments: str = ""
    is_whole: bool = True
    # what makes the truth of the encoded file, where ffmpeg believes the header too, or loses a frame at a tag
    truth: Change | None = None
    n_tracks: int = 1


def _data_size(value: int | None) -> Change:
    """Return what sets the size of a WAV's data; None: half of what it is."""

    def change(content: bytes, random: np.random.Generator) -> bytes:
        at = content.find(b"data", 12) + 4
        size = int.from_bytes(content[at : at + 4], "little") // 4 * 2 if value is None else value
        riff = size if value is None else int(random.choice([0, 36, len(content) - 8, 0xFFFFFFFF]))
        return content[:4] + riff.to_bytes(4, "little") + content[8:at] + size.to_bytes(4, "little") + content[at + 4 :]

    return change


def _aiff_sizes(content: bytes, random: np.random.Generator) -> bytes:
    """0 samples, 0 bytes."""
    comm, ssnd = content.find(b"COMM") + 10, content.find(b"SSND") + 4
    content = content[:comm] + bytes(4) + content[comm + 4 :]
    return content[:ssnd] + (8).to_bytes(4, "big") + content[ssnd + 4 :]


def _id3(n_bytes: int) -> Change:
    size = bytes(n_bytes >> 7 * i & 127 for i in (3, 2, 1, 0))
    return lambda content, random: b"ID3\x04\0\0" + size + random.bytes(n_bytes).replace(b"\xff", b"\0") + content


def _total(times: int) -> Change:
    """Return what multiplies the number of samples in STREAMINFO, and leaves the MD5 as it is."""

    def change(content: bytes, random: np.random.Generator) -> bytes:
        at = content.find(b"fLaC") + 8 + 13
        low = int.from_bytes(content[at : at + 5], "big")
        total = (low & (1 << 36) - 1) * times
        return content[:at] + (low >> 36 << 36 | total).to_bytes(5, "big") + content[at + 5 :]

    return change


def _twice(content: bytes, random: np.random.Generator) -> bytes:
    return content + content


def _cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: int(len(content) * random.uniform(0.3, 0.95))]


def _garbage(content: bytes, random: np.random.Generator) -> bytes:
    return content + random.bytes(3000)


def _garbage_end(content: bytes, random: np.random.Generator) -> bytes:
    return content[:-4096] + random.bytes(4096)


RIFF, MP3, FLAC = ("WAV 16", "WAV 24", "WAV 8", "WAV float"), ("MP3 CBR", "MP3 VBR"), ("FLAC", "FLAC 24")
WITH_TEXT = ("M4A AAC", "M4A ALAC", "MOV", "MKA FLAC", "MKA Vorbis", "WEBM", "WMA", "FLAC", "Ogg Vorbis", *MP3)
FAULTS = {
    "none": Fault(tuple(KINDS)),
    "size 0": Fault(RIFF, _data_size(0), truth=_as_it_is),
    "size 36": Fault(RIFF, _data_size(36), truth=_as_it_is),
    "size FFFFFFFF": Fault(RIFF, _data_size(0xFFFFFFFF), truth=_as_it_is),
    "size of half": Fault(RIFF, _data_size(None), truth=_as_it_is),
    "sizes 0": Fault(("AIFF",), _aiff_sizes, truth=_as_it_is),
    "no Xing": Fault(MP3, arguments="-write_xing 0"),
    "no Xing, ID3 of 4 kB": Fault(MP3, _id3(4096), f"-write_xing 0 {NO_TAG}"),
    "no Xing, ID3 of 200 kB": Fault(MP3, _id3(200_000), f"-write_xing 0 {NO_TAG}"),
    "two in one": Fault(MP3, _twice, NO_TAG),
    "two in one, tags": Fault(MP3, lambda content, random: 2 * _id3(500)(content, random), NO_TAG, truth=_twice),
    "two in one, no Xing": Fault(MP3, _twice, f"-write_xing 0 {NO_TAG}"),
    "start cut off": Fault(MP3, lambda content, random: content[len(content) // 3 :]),
    "ID3 of 200 kB": Fault(FLAC, _id3(200_000)),
    "total doubled": Fault(FLAC, _total(2)),
    "total 0": Fault(FLAC, _total(0)),
    "text as comment": Fault(WITH_TEXT, arguments=COMMENT),
    "two tracks": Fault(("M4A AAC", "M4A ALAC", "MOV", "MKA FLAC", "MKA Vorbis"), n_tracks=2),
    "garbage at the end": Fault((*FLAC, *MP3, "Ogg Vorbis", "Ogg Opus", "AAC ADTS"), _garbage_end, is_whole=False),
    "garbage behind": Fault(
        (*FLAC, *MP3, "Ogg Vorbis", "Ogg Opus", "M4A AAC", "WavPack", "TTA"), _garbage, is_whole=False
    ),
    "cut off": Fault(tuple(KINDS), _cut, is_whole=False),
    "no suffix": Fault(("WAV 16", "FLAC", *MP3, "Ogg Vorbis", "M4A AAC", "WavPack")),
}


def sound(random: np.random.Generator, rate: int, channels: int) -> np.ndarray:
    """2 to 8 s (samples, channels) float32: loud noise in the first half, soft tones in the second."""
    n_samples = int(rate * random.uniform(2, 8))
    half = n_samples // 2
    noise = 0.1 * random.standard_normal((half, channels)).clip(-4, 4)
    time = np.arange(n_samples - half)[:, None] * (2 * np.pi / rate)
    return np.concatenate([noise, 0.02 * np.sin(time * random.uniform(200, 3000, channels))]).astype(np.float32)


def _encode(path: Path, kind: Kind, fault: Fault, samples: np.ndarray, rate: int) -> bytes:
    layout = "-channel_layout quad" if samples.shape[1] == 4 else ""
    inputs = f"-f f32le -ar {rate} -ac {samples.shape[1]} {layout} -i -"
    if fault.n_tracks > 1:
        # mono, four times as long
        inputs += f" -f lavfi -i anoisesrc=r={rate}:d={4 * len(samples) / rate}:a=0.1"
        inputs += " -map 0:a -map 1:a -disposition:a:0 default -disposition:a:1 0"
    command = f"ffmpeg -v error -y {inputs} -map_metadata -1 {kind.arguments} {fault.arguments} -strict -2"
    subprocess.run([*shlex.split(command), str(path)], input=samples.tobytes(), check=True)
    return path.read_bytes()


def _has_encoder(kind: Kind) -> bool:
    encoder = kind.arguments.split()[1]
    asked = ["ffmpeg", "-v", "quiet", "-h", f"encoder={encoder}"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return said.startswith("Encoder")


def _cells() -> Iterator[tuple[str, str]]:
    """Yield kinds and faults in turns, for ever: each fault once before any comes again, and its kinds one by one."""
    turn = 0
    while True:
        for name, fault in FAULTS.items():
            # what all kinds share comes as often as there are kinds for the others
            for repeat in range(4 if len(fault.kinds) == len(KINDS) else 1):
                times = 4 if len(fault.kinds) == len(KINDS) else 1
                yield fault.kinds[(turn * times + repeat) % len(fault.kinds)], name
        turn += 1


def make(folder: Path, n_files: int, seed: int) -> None:
    """Write the files, what they were before their faults, and a list that says what is in which."""
    random = np.random.default_rng(seed)
    (folder / TRUTH).mkdir(parents=True)
    manifest: dict[str, dict[str, str | bool]] = {}
    known = {name for name, kind in KINDS.items() if _has_encoder(kind)}
    cells = (cell for cell in _cells() if cell[0] in known)
    for number, (kind_name, fault_name) in zip(range(n_files), cells, strict=False):
        kind, fault = KINDS[kind_name], FAULTS[fault_name]
        rate, channels = int(random.choice(kind.rates)), int(random.choice(kind.channels))
        before = folder / TRUTH / f"{number:05}.{kind.suffix}"
        content = _encode(before, kind, fault, sound(random, rate, channels), rate)
        name = f"{number:05}" if fault_name == "no suffix" else before.name
        (folder / name).write_bytes(fault.change(content, random))
        if fault.truth is None:
            before.unlink()
        else:
            before.write_bytes(fault.truth(content, random))
        manifest[name] = {"kind": kind_name, "fault": fault_name, "is_whole": fault.is_whole}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
