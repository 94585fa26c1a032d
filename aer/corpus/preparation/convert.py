"""Converts a recording to clips of a corpus: decoded, mixed to mono, resampled (soxr VHQ), 16 bits, in WAV or FLAC.

It does so block by block: an hour takes no more memory than a second. Workers import this module and wait for it, so
it imports nothing that takes long.
"""

import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import soundfile

from aer.audio.activity import energetic_spans, frame_energies, frame_samples, sounding_span
from aer.audio.channels import LevelMeter
from aer.audio.info import Waveform, audio_error
from aer.audio.io import Heard, open_stream, resampled
from aer.audio.notes import recording_notes
from aer.audio.pcm import quantise
from aer.errors import AerError
from aer.utils.channels import MIX, Channels
from aer.utils.systems import path_for_c
from aer.utils.text import printable

# what a WAV header can count
WAV_BYTES = 0xFFFF_FFFF - 1024
# of the names of files that are being written
PART_PREFIX, PART_SUFFIX = ".aer-", ".part"

Format = Literal["wav", "flac"]


@dataclass(frozen=True)
class Target:
    """What clips are to be like.

    `trim_silence_db`: cut off at both ends what is this far below the loudest frame. `segment_s`: cut longer recordings
    into clips of this length around their energetic parts. `channels`: what is heard of several.
    """

    sample_rate: int
    format: Format
    trim_silence_db: float | None = None
    segment_s: float | None = None
    channels: Channels = MIX


@dataclass(frozen=True)
class Job:
    """A recording, and where its clips go: `folder/stem.wav`, or with segments `folder/stem_<offset in ms>.wav`."""

    source: Path
    folder: Path
    stem: str


@dataclass(frozen=True)
class Clip:
    """A file that was written. It begins at `offset_s` in the recording; `n_clipped` samples were beyond full scale."""

    name: str
    offset_s: float
    n_samples: int
    n_clipped: int
    size_bytes: int


@dataclass(frozen=True)
class Converted:
    """A recording as its header describes it (`n_samples` per channel), and the clips that were made of it.

    `reason` says what of it can't be heard, "" where all of it is in the clips; `notes`, what is odd about it.
    """

    sample_rate: int
    channels: int
    n_samples: int
    clips: tuple[Clip, ...]
    reason: str = ""
    notes: tuple[str, ...] = ()


class _ClipFile(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that does not wait for the disk when it is closed, which takes longer than all else with short clips.

    So a power cut can destroy a clip that the journal lists; its size then shows that, and it is made again.
    """

    def flush(self) -> None:
        """Do nothing: the system writes when it likes."""


@dataclass
class _Part:
    """A clip that is being written to `path`; it begins at sample `first` of the resampled recording."""

    path: Path
    file: soundfile.SoundFile
    name: str
    first: int
    n_samples: int = 0
    n_clipped: int = 0
    silent: bool = True


def convert(target: Target, job: Job) -> Converted:
    """Write the clips of a recording, all of them or none, and return what they are.

    A sample is round(32768 * x) of soxr's x, limited to 16 bits; those beyond are counted. Of a damaged recording the
    clips have what can be heard, at its time. Raise AudioError for a recording of which nothing can be read or all is
    silent, AerError where a clip can't be written.
    """
    spans = _spans(job.source, target)
    parts: list[_Part] = []
    heard, meter = Heard(), LevelMeter()
    try:
        with open_stream(job.source, channels=target.channels, observe=meter.add) as (info, blocks):
            stream = resampled(heard.over(blocks), info.sample_rate, target.sample_rate)
            _write_parts(job, target, spans, stream, parts)
        _check_sound(job, target, parts, heard)
        clips = tuple(_put_in_place(job, target, part) for part in parts)
    # from writing: reading raises AudioErrors
    except (OSError, soundfile.LibsndfileError) as error:
        # libsndfile does not say why
        refused = "the system refused, the disk may be full"
        reason = refused if isinstance(error, soundfile.LibsndfileError) else error.strerror or error
        raise AerError(
            f"can't write to {printable(job.folder)}: {reason}; make room, and the same command goes on"
        ) from error
    finally:
        for part in parts:
            part.file.close()
            part.path.unlink(missing_ok=True)
    reason = heard.error.reason if heard.error else ""
    notes = recording_notes(info, meter, target.channels, target.sample_rate / 2)
    return Converted(info.sample_rate, info.channels, info.n_samples, clips, reason, notes)


def _check_sound(job: Job, target: Target, parts: list[_Part], heard: Heard) -> None:
    """Raise AudioError where there is no clip, or nothing but silence in all of them."""
    if all(part.silent for part in parts):
        what = "the mean of its channels" if target.channels == MIX else "what is heard of its channels"
        silent = f"is silent: {what} is zero, at 16 bits, in all samples"
        nothing = f"too short: nothing is left of it at {target.sample_rate} Hz"
        raise heard.error or audio_error(job.source, silent if parts else nothing)


def _spans(path: Path, target: Target) -> list[tuple[int, int | None]]:
    """Return the samples, at the new rate, that become clips: (first, last + 1 or None for the end)."""
    if target.trim_silence_db is None and target.segment_s is None:
        return [(0, None)]
    heard = Heard()
    with open_stream(path, channels=target.channels) as (info, blocks):
        energies = frame_energies(heard.over(blocks), info.sample_rate)
    if heard.error and not heard.n_samples:
        raise heard.error
    ratio = target.sample_rate / info.sample_rate
    frame, n_samples = frame_samples(info.sample_rate) * ratio, round(heard.n_samples * ratio)
    begin, end = 0, len(energies)
    if target.trim_silence_db is not None:
        begin, end = sounding_span(energies, target.trim_silence_db)
    first, stop = round(begin * frame), n_samples if end == len(energies) else round(end * frame)
    if begin == end:
        raise heard.error or audio_error(path, "is silent: all its samples are the same")
    if target.segment_s is None:
        return [(first, None if stop == n_samples else stop)]
    n_clip = max(1, round(target.segment_s * target.sample_rate))
    spans = energetic_spans(energies[begin:end], frame, stop - first, n_clip)
    if not spans:
        raise heard.error or audio_error(path, "is silent: all its samples are the same")
    return [(first + span_first, first + span_stop) for span_first, span_stop in spans]


def _pieces(blocks: Iterable[Waveform], spans: list[tuple[int, int | None]]) -> Iterator[tuple[int, Waveform]]:
    """Yield the parts of each block that lie in the spans (in order, not overlapping), with the span's index."""
    position = index = 0
    for block in blocks:
        while index < len(spans):
            first, stop = spans[index]
            inside = block[max(first - position, 0) : None if stop is None else max(stop - position, 0)]
            if len(inside):
                yield index, inside
            if stop is None or stop > position + len(block):
                # the next block has the rest
                break
            index += 1
        position += len(block)


def _write_parts(
    job: Job, target: Target, spans: list[tuple[int, int | None]], blocks: Iterable[Waveform], parts: list[_Part]
) -> None:
    """Write what lies in each span to an unfinished file; each is added to `parts` when it is begun."""
    writing = None
    for index, piece in _pieces(blocks, spans):
        if index != writing:
            if parts:
                _finish(parts[-1])
            parts.append(_begin(job, target, spans[index][0]))
            writing = index
        _write(job, target, parts[-1], piece)
    if parts:
        _finish(parts[-1])


def _finish(part: _Part) -> None:
    """Close the file. Raise OSError where its end was not written.

    Closing a FLAC writes its last frames and its length, and raises nothing when the disk is full.
    """
    part.file.close()
    try:
        with soundfile.SoundFile(path_for_c(part.path)) as file:
            file.seek(part.n_samples - 1)
            is_whole = file.frames == part.n_samples and len(file.read(1)) == 1
    except soundfile.LibsndfileError:
        is_whole = False
    if not is_whole:
        raise OSError("the end of a clip was not written; the disk may be full")


def _begin(job: Job, target: Target, first: int) -> _Part:
    """Open an unfinished file for the clip that begins at sample `first`, at the target's rate."""
    offset = "" if target.segment_s is None else f"_{round(1000 * first / target.sample_rate):09d}"
    name = f"{job.stem}{offset}.{target.format}"
    # a short name: the clip's own may be as long as the file system allows
    path = job.folder / f"{PART_PREFIX}{zlib.crc32(name.encode()):08x}-{os.getpid()}{PART_SUFFIX}"
    file = _ClipFile(path_for_c(path), "w", target.sample_rate, 1, "PCM_16", format=target.format.upper())
    return _Part(path, file, name, first)


def _write(job: Job, target: Target, part: _Part, waveform: Waveform) -> None:
    """Append (samples,) to a clip. Raise AudioError where a WAV file would get too long."""
    samples, n_clipped = quantise(waveform)
    part.n_samples += len(samples)
    part.n_clipped += n_clipped
    part.silent = part.silent and not samples.any()
    if target.format == "wav" and 2 * part.n_samples > WAV_BYTES:
        raise audio_error(job.source, "longer than a WAV file can hold; --format flac can, and --segment cuts it")
    part.file.write(samples)


def _put_in_place(job: Job, target: Target, part: _Part) -> Clip:
    """Give a finished file its name."""
    size_bytes = part.path.stat().st_size
    part.path.replace(job.folder / part.name)
    return Clip(part.name, part.first / target.sample_rate, part.n_samples, part.n_clipped, size_bytes)
