"""Damages recordings at random, for fuzz_audio.py: bits, cuts, random bytes, extremes in header fields."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

FORMATS = ("wav", "flac", "ogg", "mp3", "m4a", "opus", "aiff", "w64")
SUBTYPES: dict[str, tuple[str | None, ...]] = {
    "wav": ("PCM_16", "PCM_24", "FLOAT", "PCM_U8"),
    "flac": ("PCM_16",),
    "ogg": (None, "OPUS"),
    "mp3": (None,),
    # by PyAV
    "m4a": ("aac", "alac"),
    "opus": ("OPUS",),
    "aiff": ("PCM_16", "PCM_24", "FLOAT"),
    "w64": ("PCM_16", "PCM_24", "FLOAT"),
}
HEADER_BYTES = {"wav": 44, "flac": 42, "ogg": 58, "mp3": 64, "m4a": 64, "opus": 58, "aiff": 54, "w64": 128}
LITTLE_ENDIAN = ("wav", "w64")
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1_000_000_000)

Damage = Callable[[bytes, str, np.random.Generator], bytes]


def flip_bits(sound: bytes, kind: str, random: np.random.Generator) -> bytes:
    """1 to 64 bits anywhere."""
    damaged = bytearray(sound)
    for _ in range(2 ** int(random.integers(7))):
        damaged[int(random.integers(len(damaged)))] ^= 1 << int(random.integers(8))
    return bytes(damaged)


def flip_header_bits(sound: bytes, kind: str, random: np.random.Generator) -> bytes:
    """1 to 4 bits of the header."""
    damaged = bytearray(sound)
    for _ in range(int(random.integers(1, 5))):
        damaged[int(random.integers(HEADER_BYTES[kind]))] ^= 1 << int(random.integers(8))
    return bytes(damaged)


def set_header(sound: bytes, kind: str, random: np.random.Generator) -> bytes:
    """One number of the header (2 or 4 bytes, either order) set to an extreme: a rate of 1 Hz, 65535 channels."""
    damaged, size = bytearray(sound), int(random.choice([2, 4]))
    at = int(random.integers(4, HEADER_BYTES[kind] - size))
    at -= at % 2 if kind in LITTLE_ENDIAN else 0
    value = int(random.choice(EXTREMES)) % (1 << 8 * size)
    damaged[at : at + size] = value.to_bytes(
        size, "little" if kind in LITTLE_ENDIAN or random.random() < 0.5 else "big"
    )
    return bytes(damaged)


def cut_off(sound: bytes, kind: str, random: np.random.Generator) -> bytes:
    """The first part, of any length."""
    return sound[: int(random.integers(len(sound)))]


def random_bytes(sound: bytes, kind: str, random: np.random.Generator) -> bytes:
    """Random bytes behind the header."""
    kept = int(random.integers(4, HEADER_BYTES[kind] + 1))
    return sound[:kept] + random.bytes(int(random.integers(1, len(sound))))


DAMAGES: dict[str, Damage] = {
    "bits": flip_bits,
    "header bits": flip_header_bits,
    "header field": set_header,
    "cut off": cut_off,
    "random bytes": random_bytes,
}


def sound_files(folder: Path, random: np.random.Generator) -> dict[str, list[bytes]]:
    """For each format a few sound recordings of 0.2 to 3 s, mono and stereo, at several rates."""
    made: dict[str, list[bytes]] = {}
    for kind in FORMATS:
        made[kind] = []
        for number in range(6):
            rate = int(random.choice([16000, 32000, 44100, 48000]))
            if (subtype := SUBTYPES[kind][number % len(SUBTYPES[kind])]) == "OPUS":
                rate = 48000
            n_samples = int(rate * random.uniform(0.2, 3.0))
            samples = random.normal(scale=0.1, size=(n_samples, 1 + number % 2))
            path = folder / f"sound_{number}.{kind}"
            if kind == "m4a":
                encode_m4a(path, samples, rate, str(subtype))
            else:
                soundfile.write(path, samples, rate, subtype=subtype, format="OGG" if kind == "opus" else None)
            made[kind].append(path.read_bytes())
            path.unlink()
    return made


def encode_m4a(path: Path, samples: np.ndarray, rate: int, codec: str) -> None:
    """Write (samples, channels) as AAC or ALAC."""
    layout = "stereo" if samples.shape[1] == 2 else "mono"
    with av.open(str(path), "w", format="ipod") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T, dtype="f4"), format="fltp", layout=layout)
        frame.sample_rate = rate
        for converted in av.AudioResampler(format=stream.format, layout=layout, rate=rate).resample(frame):
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))


def damaged_files(folder: Path, n_files: int, seed: int) -> list[tuple[Path, str, str]]:
    """Writes the files; (path, format, damage) of each."""
    random = np.random.default_rng(seed)
    sounds = sound_files(folder, random)
    cells = [(kind, damage) for damage in DAMAGES for kind in FORMATS]
    files = []
    for number in range(n_files):
        kind, damage = cells[number % len(cells)]
        sound = sounds[kind][int(random.integers(len(sounds[kind])))]
        path = folder / f"{number:05}.{kind}"
        path.write_bytes(DAMAGES[damage](sound, kind, random))
        files.append((path, kind, damage))
    return files
