"""Reading through FFmpeg's libraries (PyAV): M4A, MP4, MKA, WEBM, WMA, AAC, AMR, WavPack, APE and what else it knows.

The audio track that the container calls the default one is read, or the first. Rate and layout are those of its decoded
frames, never of text. The length is counted as a full decode by ffmpeg gives it.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from aer.audio.container_file import open_container, words_of
from aer.audio.frames import BLOCK_SAMPLES, as_float, with_channels
from aer.audio.info import AudioInfo, Damage, Samples, audio_error, checked_rate
from aer.audio.mapping import mapped
from aer.audio.raw_frames import is_cut
from aer.errors import EmptyAudioError

# their headers say how long they are; of others FFmpeg guesses it from the bit rate
WITH_LENGTH = frozenset(
    ["aiff", "ape", "asf", "avi", "caf", "flac", "matroska", "mov", "mpc", "mpc8", "tta", "w64", "wav", "wv"]
)
# where a seek finds the very sample: demuxers with an exact index, and decoders whose samples don't depend on where one
# starts, as those of lossy codecs do (AAC draws noise)
SEEKABLE = frozenset({("mov", "alac"), ("mov", "flac"), ("wv", "wavpack"), ("tta", "tta")})
# a header's length that is rounded is no truncation
SLACK_S = 0.2
# the same where times are whole samples: a decoder's delay
SLACK_SAMPLES = 1024
TAIL_PACKETS = 12
# packets of which one must give sound
FIRST_TRIES = 50


@dataclass(frozen=True)
class Track:
    """What a walk over the packets of the chosen audio track found."""

    info: AudioInfo
    # pts of the first sample, where times are whole samples without gaps; else None: no seek
    origin: int | None


class ContainerReader:
    """A recording that FFmpeg's libraries read."""

    def __init__(self, path: Path):
        stat = path.stat()
        self.path = path
        self.track = _walk(path, stat.st_size, stat.st_mtime_ns)
        self.info = self.track.info

    def blocks(self, first: int, stop: int, damages: list[Damage]) -> Iterator[Samples]:
        """Yield samples `first` to `stop` in blocks (samples, channels); what can't be decoded goes to `damages`."""
        held: list[Samples] = []
        position, n_held = first, 0
        with open_container(self.path) as (container, track):
            origin = self.track.origin
            can_seek = (container.format.name.split(",")[0], track.codec_context.name) in SEEKABLE
            if first and origin is not None and can_seek:
                container.seek(origin + first, stream=track)
            for start, frame, n_samples in _frames(container, track, self.info.sample_rate, origin, can_seek, damages):
                if start + n_samples <= first:
                    continue
                if start >= stop:
                    break
                samples = np.zeros((n_samples, self.info.channels), np.float32)
                if frame is not None:
                    samples = with_channels(as_float(frame), self.info.channels)
                held.append(samples[max(first - start, 0) : stop - start])
                position, n_held = position + len(held[-1]), n_held + len(held[-1])
                if n_held >= BLOCK_SAMPLES:
                    yield np.concatenate(held)
                    held, n_held = [], 0
        if held:
            yield np.concatenate(held)
        if position < stop and not any(damage.stop is None for damage in (*self.info.damages, *damages)):
            end_s = position / self.info.sample_rate
            damages.append(Damage(position, None, f"cut short or damaged: decoding ends at {end_s:.3f} s"))


def _frames(
    container: Any, track: Any, rate: int, origin: int | None, by_time: bool, damages: list[Damage]
) -> Iterator[tuple[int, Any, int]]:
    """Yield (first sample, frame, samples); None for a frame that could not be decoded, with a guess at its samples."""
    position: int | None = None
    usual = 0
    for frame, trouble, packet in _decoded(container, track):
        if frame is None:
            start = position or 0
            lost = usual or _packet_samples(packet, rate)
            if lost:
                damages.append(Damage(start, start + lost, trouble))
                yield start, None, lost
                position = start + lost
            else:
                damages.append(Damage(start, None, f"cut short or damaged: {trouble}"))
            continue
        if rate and frame.sample_rate != rate:
            at_s = (position or 0) / rate
            reason = f"its sample rate changes to {frame.sample_rate} Hz at {at_s:.3f} s, and it is heard up to there"
            damages.append(Damage(position or 0, None, reason))
            return
        if position is None:
            position = int(frame.pts) - origin if by_time and origin is not None and frame.pts is not None else 0
        n_samples = int(frame.samples)
        yield position, frame, n_samples
        position = position + n_samples
        usual = max(usual, n_samples)


def _packet_samples(packet: Any, rate: int) -> int:
    """Return how many samples a packet holds by its own account, 0 where it has none."""
    if packet is None or not packet.duration or packet.time_base is None:
        return 0
    return round(float(packet.duration * packet.time_base) * rate)


def _decoded(container: Any, track: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield the track's frames with "" and the packet, and None with the reason for one that can't be decoded."""
    packets = container.demux(track)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            yield None, words_of(error), None
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            yield None, words_of(error), packet
            continue
        for frame in frames:
            if frame.samples:
                yield frame, "", packet


@lru_cache(maxsize=256)
def _walk(path: Path, n_bytes: int, changed_ns: int) -> Track:
    """Return rate, channels, length. Size and time of change are there for the cache."""
    with open_container(path) as (container, track):
        frame, first_trouble, broken_pts = None, "", None
        for frame, trouble, packet in itertools.islice(_decoded(container, track), FIRST_TRIES):
            if trouble and not first_trouble:
                first_trouble, broken_pts = trouble, packet and packet.pts
            if frame is not None:
                break
        if frame is None and (first_trouble or track.duration):
            why = f" ({first_trouble})" if first_trouble else ""
            raise audio_error(path, f"cut short or damaged: nothing of it can be decoded{why}")
        if frame is None:
            raise audio_error(path, "has no samples", EmptyAudioError)
        rate, channels = checked_rate(path, int(frame.sample_rate)), int(frame.layout.nb_channels)
        origin = frame.pts if broken_pts is None else max(broken_pts, 0)
        names = set(container.format.name.split(","))
        promised = _promised_samples(container, track, rate) if names & WITH_LENGTH else None
        notes = _notes(container, track)
        exact = track.time_base is not None and track.time_base * rate == 1 and origin is not None
    end, trouble, last_pts = _packets_end(path) if exact else (None, "", 0)
    damages: list[Damage] = []
    n_samples = None
    if end is not None and not trouble:
        n_samples = _decoded_end(path, last_pts, rate)
    if n_samples is not None:
        n_samples -= origin
    else:
        origin = None
        n_samples = _count(path, rate, damages)
    cut = [damage for damage in damages if damage.stop is None]
    if not cut and _is_cut(path, names):
        # no length is promised, only a frame or a size
        cut = [Damage(n_samples, None, f"cut short: the file ends within its sound, at {n_samples / rate:.3f} s")]
    # an AVI counts whole chunks
    slack = SLACK_SAMPLES if exact and "avi" not in names else SLACK_S * rate
    if promised is not None and promised - n_samples > slack and not cut:
        words = f"cut short: its header promises {promised / rate:.3f} s, it ends at {n_samples / rate:.3f} s"
        cut = [Damage(n_samples, None, words, is_promised=True)]
    if promised is not None and damages:
        # how much a damaged frame held is but a guess
        n_samples = min(n_samples, promised)
    if n_samples <= 0:
        raise audio_error(path, "has no samples", EmptyAudioError)
    return Track(AudioInfo(rate, channels, n_samples, notes, tuple(cut)), origin)


def _is_cut(path: Path, names: set[str]) -> bool:
    with mapped(path) as data:
        return any(is_cut(data, len(data), name) for name in names)


def _notes(container: Any, track: Any) -> tuple[str, ...]:
    tracks = list(container.streams.audio)
    if len(tracks) < 2:
        return ()
    return (f"has {len(tracks)} audio tracks: number {tracks.index(track) + 1} is heard",)


def _promised_samples(container: Any, track: Any, rate: int) -> int | None:
    """Return how many samples the header promises, None where it says nothing of this track."""
    if track.duration is not None and track.time_base is not None:
        return round(float(track.duration * track.time_base) * rate)
    if container.duration is not None and len(container.streams) == 1:
        return int(container.duration / 1e6 * rate)
    return None


def _packets_end(path: Path) -> tuple[int | None, str, int]:
    """Return the pts behind the last packet (None: there are gaps), the demuxer's error, a pts shortly before it."""
    end: int | None = None
    recent: list[int] = []
    with open_container(path) as (container, track):
        try:
            for packet in container.demux(track):
                if not packet.size:
                    continue
                if packet.pts is None or not packet.duration or (end is not None and packet.pts != end):
                    return None, "", 0
                end = packet.pts + packet.duration
                recent = [*recent[-TAIL_PACKETS:], packet.pts]
        except av.error.FFmpegError as error:
            return None, words_of(error), 0
    return end, "", recent[0] if recent else 0


def _decoded_end(path: Path, start_pts: int, rate: int) -> int | None:
    """Return the pts behind the last sample, decoding from shortly before the end; None where that fails."""
    with open_container(path) as (container, track):
        try:
            container.seek(start_pts, stream=track)
            last = None
            for frame, _, _ in _decoded(container, track):
                if frame is None:
                    return None
                last = frame
        except av.error.FFmpegError:
            return None
    return None if last is None or last.pts is None or last.sample_rate != rate else int(last.pts + last.samples)


def _count(path: Path, rate: int, damages: list[Damage]) -> int:
    """Return how many samples a full decode gives."""
    end = 0
    with open_container(path) as (container, track):
        for start, _, n_samples in _frames(container, track, rate, None, False, damages):
            end = start + n_samples
    return end
