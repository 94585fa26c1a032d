"""Which reader takes which kind of recording, and why: one table, tried from left to right."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import soundfile

from aer.audio import chunks, sniff
from aer.audio.container_file import UnknownFormatError
from aer.audio.containers import ContainerReader
from aer.audio.fallback import AudioreadReader
from aer.audio.flac_reader import FlacReader
from aer.audio.indexed import cache_key
from aer.audio.info import AudioInfo, Damage, Samples, audio_error, checked_rate
from aer.audio.mapping import mapped
from aer.audio.mpeg_reader import MpegReader
from aer.audio.ogg_reader import OggReader, OtherOggReader
from aer.audio.sndfile import SndfileReader, SoundFile, UnknownLengthError, open_raw, read_info
from aer.errors import EmptyAudioError


class Reader(Protocol):
    """A recording that can be read. What is damaged is known from `info`, or appended while it is read."""

    info: AudioInfo

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels), zeros where they are lost in between."""


class SoundReader:
    """What libsndfile reads with seek, its sizes held against the file's; where they are wrong, as raw samples."""

    def __init__(self, path: Path):
        self.path = path
        self.layout, self.info = _sound(*cache_key(path))

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels)."""
        with _open(self.path, self.layout) as file:
            yield from SndfileReader(self.path, file, self.info).blocks(first, stop, damages)


@lru_cache(maxsize=256)
def _sound(path: Path, n_bytes: int, changed_ns: int) -> tuple[chunks.Layout | None, AudioInfo]:
    """Return where the samples lie, and rate, channels, length. Size and time of change are there for the cache."""
    with mapped(path) as data:
        layout = chunks.read_layout(data, n_bytes)
    with _open(path, layout) as file:
        info = read_info(path, file)
    damages, notes = info.damages, info.notes
    if layout is not None and layout.is_cut:
        words = f"its header promises {layout.declared} bytes of audio, {layout.present} are there"
        damages = (Damage(info.n_samples, None, f"cut short: {words}", is_promised=True),)
    elif layout is not None and layout.has_more:
        notes = (f"its header promises {layout.declared} bytes of audio, {layout.present} are there",)
    return layout, AudioInfo(info.sample_rate, info.channels, info.n_samples, notes, damages)


def _open(path: Path, layout: chunks.Layout | None) -> SoundFile:
    if layout is None or not layout.has_more:
        try:
            return SoundFile(path)
        except soundfile.LibsndfileError:
            # libsndfile refuses a CAF that is cut short
            if layout is None or not (layout.is_cut and layout.subtype and layout.n_samples):
                raise
            checked_rate(path, layout.sample_rate)
            return open_raw(path, layout)
    if not layout.subtype:
        raise UnknownFormatError("its header gives a wrong size of what is no plain samples")
    checked_rate(path, layout.sample_rate)
    if layout.n_samples == 0:
        raise audio_error(path, "has no samples", EmptyAudioError)
    return open_raw(path, layout)


TABLE: dict[str, tuple[Callable[[Path], Reader], ...]] = {
    # libsndfile seeks to the sample and scales all depths alike; sizes in headers are checked
    **dict.fromkeys(("wav", "aiff", "w64", "caf", "au"), (SoundReader, ContainerReader, AudioreadReader)),
    # libsndfile while it is sound; frames found one by one behind a break, or where STREAMINFO is wrong
    "flac": (FlacReader, SoundReader, ContainerReader, AudioreadReader),
    # libsndfile where all pages are there; it skips damaged ones without a word, and seeks wrongly in FLAC in Ogg
    "ogg": (OggReader, OtherOggReader, SoundReader, AudioreadReader),
    # libsndfile guesses lengths without a Xing header and takes an ID3 tag for sound: frames are walked
    "mpeg": (MpegReader, SoundReader, ContainerReader, AudioreadReader),
    # what only FFmpeg reads
    **dict.fromkeys(
        [
            "mp4",
            "matroska",
            "asf",
            "avi",
            "wavpack",
            "ape",
            "tta",
            "musepack",
            "tak",
            "amr",
            "adts",
            "ac3",
            "dsf",
            "real",
            "shorten",
            "qoa",
        ],
        (ContainerReader, AudioreadReader),
    ),
    # anything else
    "": (SoundReader, MpegReader, ContainerReader, AudioreadReader),
}


@lru_cache(maxsize=256)
def _kind(path: Path, n_bytes: int, changed_ns: int) -> tuple[str, bool]:
    """Return the kind of a file, and whether one without is text."""
    kind = sniff.kind_of(path)
    if kind:
        return kind, False
    # some of libsndfile's headers are text (NIST SPHERE); FFmpeg would follow a playlist
    with path.open("rb") as file:
        return "", sniff.is_text(file.read(sniff.HEAD_BYTES))


def open_reader(path: Path) -> Reader:
    """Return the reader of a recording. Raise AudioError where none takes it, or where it holds no samples."""
    kind, is_text = _kind(*cache_key(path))
    reasons: list[str] = []
    for reader in (SoundReader,) if is_text else TABLE.get(kind, TABLE[""]):
        try:
            return reader(path)
        except (UnknownFormatError, UnknownLengthError) as error:
            reasons.append(str(error))
        except soundfile.LibsndfileError as error:
            # "possibly a pipe": what it says of any MP3 that is none
            reasons.append("" if "possibly a pipe" in error.error_string else error.error_string.lower().rstrip("."))
    if is_text:
        raise audio_error(path, f"not audio, but {sniff.advice(path) or 'text or a playlist of other files'}")
    why = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    what_to_do = sniff.advice(path)
    words = "not audio, or a format that is not known"
    raise audio_error(path, ": ".join(filter(None, [words, what_to_do])) + (f" ({why})" if why else ""))
