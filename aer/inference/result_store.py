"""The result of each recording in a file of its own, written when it is done: nothing is lost when work is stopped."""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aer.errors import InputError
from aer.inference.recordings import Recording
from aer.inference.results import Event, FileResult
from aer.utils.files import write_whole

FOLDER = "parts"
ADVICE = "make room, and the same command goes on"
# raised when more can be heard of damaged recordings than before: partial results of earlier readers are made again
READERS = 1


def path_of(out: Path, recording: Recording) -> Path:
    """Return where the result of a recording is kept below `out`."""
    return out / FOLDER / f"{hashlib.sha256(os.fsencode(recording.name)).hexdigest()[:32]}.npz"


def save(out: Path, recording: Recording, recipe: str, result: FileResult) -> None:
    """Write a result. `recipe` stands for the models and options that it was made with.

    Raise AerError where it can't be written.
    """
    head = {
        "recipe": recipe,
        "size_bytes": recording.size_bytes,
        "mtime_ns": recording.mtime_ns,
        "name": result.name,
        "path": _absolute(recording),
        "status": result.status,
        **({"readers": READERS} if result.status == "partial" else {}),
        "reason": result.reason,
        "duration_s": result.duration_s,
        "classes": result.classes,
        "window_s": result.window_s,
        "events": [[e.start_s, e.end_s, e.label, e.score, e.probability] for e in result.events],
    }
    arrays = {"head": np.array(json.dumps(head)), "starts_s": result.starts_s, "scores": result.scores}
    if result.embeddings is not None:
        arrays["embeddings"] = result.embeddings
    write_whole(path_of(out, recording), lambda file: np.savez(file, allow_pickle=False, **arrays), ADVICE)


def is_done(out: Path, recording: Recording, recipe: str) -> bool:
    """Return whether the recording, as it is now, has a result of this recipe. One that failed is tried again.

    A part of a recording is all that these readers can hear of it, until the file changes.
    """
    try:
        with np.load(path_of(out, recording), allow_pickle=False) as file:
            head = _head(file)
        # the path too: recorders on one schedule give files of the same name, size and time at every site
        now = {"recipe": recipe, "size_bytes": recording.size_bytes, "mtime_ns": recording.mtime_ns}
        now["path"] = _absolute(recording)
        is_final = head["status"] in ("ok", "empty") or (head["status"] == "partial" and head.get("readers") == READERS)
        return is_final and now.items() <= head.items()
    except (OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        # none, or none that can be read: it is made again
        return False


def load(out: Path, recording: Recording) -> FileResult:
    """Return the result of a recording. Raise InputError where it can't be read."""
    path = path_of(out, recording)
    try:
        with np.load(path, allow_pickle=False) as file:
            head = _head(file)
            return FileResult(
                name=head["name"],
                path=str(recording.path),
                status=head["status"],
                reason=head["reason"],
                duration_s=head["duration_s"],
                events=tuple(Event(*values) for values in head["events"]),
                classes=tuple(head["classes"]),
                window_s=head["window_s"],
                starts_s=file["starts_s"],
                scores=file["scores"],
                embeddings=file["embeddings"] if "embeddings" in file.files else None,
            )
    except (OSError, ValueError, LookupError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read ({error}): remove it, and the same command makes it again") from error


def _absolute(recording: Recording) -> str:
    # links stay as they were given
    return os.path.abspath(recording.path)  # noqa: PTH100


def _head(file: Any) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(str(file["head"]))
    return head


class Results:
    """The results of recordings, read from their files one by one whenever they are iterated over."""

    def __init__(self, out: Path, recordings: Sequence[Recording]):
        self.out = out
        self.recordings = tuple(recordings)

    def __iter__(self) -> Iterator[FileResult]:
        return (load(self.out, recording) for recording in self.recordings)
