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
from aer.inference.recordings import COLUMNS, LIST
from aer.inference.results import FileResult, span
from aer.outputs.tables import ADVICE, DECIMALS, make_folder, write_rows
from aer.utils.csv_files import csv_path, csv_text
from aer.utils.file_names import free_name, safe_name
from aer.utils.files import write_whole
from aer.utils.text import encodable, printable

PAD_S = 0.5  # before and after the event
LONGEST_S = 30.0  # of a longer event the beginning: rain can last for hours


@dataclass(frozen=True)
class Cut:
    """A detection that is to be heard."""

    label: str
    score: float
    name: str  # the recording's
    path: str
    start_s: float
    end_s: float

    @property
    def clip_start_s(self) -> float:
        """Where its file begins."""
        return max(0.0, self.start_s - PAD_S)


def check(folder: Path, recordings: Sequence[Path]) -> None:
    """InputError, before hours of work, where `segments` should not write to the folder; AerError where it can't."""
    name = f"--segments {printable(folder)}"
    if any(folder.resolve() == place.resolve() for place in recordings):
        raise InputError(f"{name} is where the recordings are: name a folder of its own")
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{name} is no folder: name another")
    make_folder(folder)
    if not (folder / LIST).exists() and any(folder.iterdir()):
        raise InputError(f"{name} has something in it that is not of aer predict: name a folder of its own")
    _listed(folder)


def segments(
    results: Iterable[FileResult], folder: Path, top_n: int, say: Callable[[str], object] = print
) -> list[Path]:
    """Cuts the `top_n` events with the highest scores of each class to WAV files below `folder`, and lists them.

    What an earlier call has left there and this one would not is removed, by the list that it kept. A recording that
    can't be read any more is named through `say`; AerError if that is all of them. Memory holds `top_n` events per
    class and one cut.
    """
    if top_n < 1:
        raise InputError(f"--top-n must be at least 1, it is {top_n}")
    make_folder(folder)
    planned = _named(best(results, top_n))
    for name in sorted(_listed(folder) - {name for name, _ in planned}):
        (folder / name).unlink(missing_ok=True)
    _write_list(folder, planned)  # first, so that the next call knows what a killed one has left
    written: list[tuple[str, Cut]] = []
    failed: list[str] = []
    for name, cut in planned:
        make_folder((folder / name).parent)
        try:
            _write(folder / name, cut)
        except AudioError as error:
            failed.append(str(error))
        else:
            written.append((name, cut))
    if failed:
        for name in {name for name, _ in planned} - {name for name, _ in written}:
            (folder / name).unlink(missing_ok=True)
        _write_list(folder, written)
        why = f"{len(failed)} of {len(failed) + len(written)} segments can't be cut; the first: {failed[0]}"
        if not written:
            raise AerError(why)
        say(why)
    return [folder / LIST, *(folder / name for name, _ in written)]


def best(results: Iterable[FileResult], top_n: int) -> list[Cut]:
    """The `top_n` events of each class with the highest scores, by class, then score; of equal ones the first."""
    heaps: dict[str, list[tuple[float, int, Cut]]] = {}
    number = 0
    for result in results:
        for event in result.events:
            number -= 1
            cut = Cut(event.label, float(event.score), result.name, result.path, *span(result, event))
            heap = heaps.setdefault(event.label, [])
            if len(heap) < top_n:
                heapq.heappush(heap, (cut.score, number, cut))
            else:
                heapq.heappushpop(heap, (cut.score, number, cut))
    return [cut for label in sorted(heaps) for _, _, cut in sorted(heaps[label], reverse=True)]


def _named(cuts: Sequence[Cut]) -> list[tuple[str, Cut]]:
    """Each cut with its file below the folder; no two have the same, also where case does not count."""
    folders: dict[str, str] = {}
    taken = {LIST}
    named = []
    for cut in cuts:
        if cut.label not in folders:
            folders[cut.label] = free_name(safe_name(cut.label), "", taken)
        stem = safe_name(PurePosixPath(cut.name).stem)
        clip = f"{folders[cut.label]}/{cut.score:.3f}_{stem}_{cut.start_s:.2f}s"
        named.append((free_name(clip, ".wav", taken), cut))
    return named


def _write(path: Path, cut: Cut) -> None:
    source = Path(cut.path)
    rate = probe(source, allow_cut_short=True).sample_rate  # events before the cut can be listened to
    end_s = min(cut.end_s, cut.start_s + LONGEST_S) + PAD_S
    duration_s = end_s - cut.clip_start_s
    samples, _ = quantise(read_crop(source, cut.clip_start_s, duration_s, rate, allow_cut_short=True))
    encoded = io.BytesIO()  # written by Python, so that a full disk is an OSError with its reason
    soundfile.write(encoded, samples, rate, subtype="PCM_16", format="WAV")
    write_whole(path, lambda file: file.write(encoded.getbuffer()), ADVICE)


def _write_list(folder: Path, cuts: Sequence[tuple[str, Cut]]) -> None:
    write_rows(folder / LIST, COLUMNS, (_listing(name, cut) for name, cut in cuts))


def _listing(name: str, cut: Cut) -> list[object]:
    times_s = [round(seconds, DECIMALS) for seconds in (cut.clip_start_s, cut.start_s, cut.end_s)]
    return [csv_path(name), csv_path(cut.name), *times_s, csv_text(encodable(cut.label)), round(cut.score, DECIMALS)]


def _listed(folder: Path) -> set[str]:
    """The segments of an earlier call, as far as its list names WAV files in a folder of this one."""
    try:
        with (folder / LIST).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise InputError(f"{printable(folder / LIST)} is not of aer predict: name another --segments")
            names = {row["segment"] for row in rows if row["segment"]}
    except FileNotFoundError:
        return set()
    except (OSError, csv.Error) as error:
        raise InputError(f"{printable(folder / LIST)} can't be read: {error}; delete it") from error
    plain = {os.path.normpath(name) for name in names if not os.path.isabs(name)}  # noqa: PTH117
    return {
        name for name in plain if len(parts := Path(name).parts) == 2 and parts[0] != ".." and name.endswith(".wav")
    }
