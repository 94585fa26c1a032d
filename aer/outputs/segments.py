"""The most certain detections of each class as WAV files to listen to.

FOLDER/<class>/<score>_<recording>_<start>s.wav    mono, 16 bits, at the recording's own rate
FOLDER/segments.csv                                which recording and time each is from
"""

import csv
import heapq
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import soundfile

from aer.audio.io import probe, read_crop
from aer.audio.pcm import quantise
from aer.errors import AerError, AudioError, InputError
from aer.inference.recordings import SEGMENTS_COLUMNS, SEGMENTS_CSV
from aer.inference.results import FileResult, span
from aer.outputs.tables import ADVICE, DECIMALS, make_folder, write_rows
from aer.utils.channels import MIX, Channels
from aer.utils.csv_files import csv_path, csv_text
from aer.utils.file_names import free_name, safe_name
from aer.utils.files import write_whole
from aer.utils.text import encodable, printable

# around an event
PAD_S = 0.5
# of longer events only the beginning is cut: rain can last for hours
LONGEST_S = 30.0


@dataclass(frozen=True)
class Segment:
    """An event that is to be cut out of its recording."""

    label: str
    score: float
    # the recording's
    name: str
    path: str
    start_s: float
    end_s: float

    @property
    def clip_start_s(self) -> float:
        """Where its file begins in the recording."""
        return max(0.0, self.start_s - PAD_S)


def check(folder: Path, recordings: Sequence[Path]) -> None:
    """Make the folder. Raise InputError where `cut_segments` should not write to it, and AerError where it can't.

    This is called before hours of work.
    """
    name = f"--segments {printable(folder)}"
    if any(folder.resolve() == path.resolve() for path in recordings):
        raise InputError(f"{name} is where the recordings are: name a folder of its own")
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{name} is no folder: name another")
    make_folder(folder)
    if not (folder / SEGMENTS_CSV).exists() and any(folder.iterdir()):
        raise InputError(f"{name} has something in it that is not of aer predict: name a folder of its own")
    _listed(folder)


def cut_segments(
    results: Iterable[FileResult],
    folder: Path,
    top_n: int,
    say: Callable[[str], object] = print,
    channels: Channels = MIX,
) -> list[Path]:
    """Cut the `top_n` events with the highest scores of each class to WAV files below `folder`; return list and files.

    What an earlier call has left there and this one would not is removed, by the list that it kept. A recording that
    can't be read any more is named through `say`. Raise AerError if that is all of them. Memory holds `top_n` events
    per class and one segment. `channels`: as they were heard.
    """
    if top_n < 1:
        raise InputError(f"--top-n must be at least 1, it is {top_n}")
    make_folder(folder)
    planned = _with_files(best(results, top_n))
    for name in sorted(_listed(folder) - {name for name, _ in planned}):
        (folder / name).unlink(missing_ok=True)
    # first, so that the next call knows what a killed one has left
    _write_list(folder, planned)
    written: list[tuple[str, Segment]] = []
    failed: list[str] = []
    for name, segment in planned:
        make_folder((folder / name).parent)
        try:
            _write(folder / name, segment, channels)
        except AudioError as error:
            failed.append(str(error))
        else:
            written.append((name, segment))
    if failed:
        for name in {name for name, _ in planned} - {name for name, _ in written}:
            (folder / name).unlink(missing_ok=True)
        _write_list(folder, written)
        why = f"{len(failed)} of {len(failed) + len(written)} segments can't be cut; the first: {failed[0]}"
        if not written:
            raise AerError(why)
        say(why)
    return [folder / SEGMENTS_CSV, *(folder / name for name, _ in written)]


def best(results: Iterable[FileResult], top_n: int) -> list[Segment]:
    """Return the `top_n` events of each class with the highest scores, by class and score.

    Of equal scores the first are taken.
    """
    heaps: dict[str, list[tuple[float, int, Segment]]] = {}
    # falls, so that of equal scores the earlier event is the larger item
    number = 0
    for result in results:
        for event in result.events:
            number -= 1
            segment = Segment(event.label, float(event.score), result.name, result.path, *span(result, event))
            heap = heaps.setdefault(event.label, [])
            if len(heap) < top_n:
                heapq.heappush(heap, (segment.score, number, segment))
            else:
                heapq.heappushpop(heap, (segment.score, number, segment))
    return [segment for label in sorted(heaps) for _, _, segment in sorted(heaps[label], reverse=True)]


def _with_files(segments: Sequence[Segment]) -> list[tuple[str, Segment]]:
    """Return each segment with its file below the folder; no two have the same, also where case does not count."""
    folders: dict[str, str] = {}
    taken = {SEGMENTS_CSV}
    named = []
    for segment in segments:
        if segment.label not in folders:
            folders[segment.label] = free_name(safe_name(segment.label), "", taken)
        stem = safe_name(PurePosixPath(segment.name).stem)
        clip = f"{folders[segment.label]}/{segment.score:.3f}_{stem}_{segment.start_s:.2f}s"
        named.append((free_name(clip, ".wav", taken), segment))
    return named


def _write(path: Path, segment: Segment, channels: Channels) -> None:
    source = Path(segment.path)
    # of a file that was cut short, events before its end can be listened to
    rate = probe(source, allow_cut_short=True).sample_rate
    end_s = min(segment.end_s, segment.start_s + LONGEST_S) + PAD_S
    duration_s = end_s - segment.clip_start_s
    start_s = segment.clip_start_s
    samples, _ = quantise(read_crop(source, start_s, duration_s, rate, allow_cut_short=True, channels=channels))
    # written by Python, so that a full disk is an OSError with its reason
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, rate, subtype="PCM_16", format="WAV")
    write_whole(path, lambda file: file.write(encoded.getbuffer()), ADVICE)


def _write_list(folder: Path, segments: Sequence[tuple[str, Segment]]) -> None:
    write_rows(folder / SEGMENTS_CSV, SEGMENTS_COLUMNS, (_row(name, segment) for name, segment in segments))


def _row(name: str, segment: Segment) -> list[object]:
    times_s = [round(time_s, DECIMALS) for time_s in (segment.clip_start_s, segment.start_s, segment.end_s)]
    label, score = csv_text(encodable(segment.label)), round(segment.score, DECIMALS)
    return [csv_path(name), csv_path(segment.name), *times_s, label, score]


def _listed(folder: Path) -> set[str]:
    """Return the segments of an earlier call, as far as its list names WAV files in a folder of this one."""
    try:
        with (folder / SEGMENTS_CSV).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != SEGMENTS_COLUMNS:
                raise InputError(f"{printable(folder / SEGMENTS_CSV)} is not of aer predict: name another --segments")
            names = {row["segment"] for row in rows if row["segment"]}
    except FileNotFoundError:
        return set()
    except (OSError, csv.Error) as error:
        raise InputError(f"{printable(folder / SEGMENTS_CSV)} can't be read: {error}; delete it") from error
    plain = {os.path.normpath(name) for name in names if not os.path.isabs(name)}  # noqa: PTH117
    return {
        name for name in plain if len(parts := Path(name).parts) == 2 and parts[0] != ".." and name.endswith(".wav")
    }
