"""The ground truth in tables of other programs: Raven, Audacity, Kaleidoscope and the like."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aer.corpus.annotations.annotation import Annotations
from aer.corpus.annotations.matching import Matched, match
from aer.corpus.annotations.read import read_annotations
from aer.errors import InputError
from aer.evaluation.ground_truth import GroundTruth
from aer.inference.recordings import Recording
from aer.inference.results import Event
from aer.utils.text import counted, printable, some

HOLD_NOTHING = "recordings that the table does not name count as ones that hold nothing"


@dataclass(frozen=True)
class Annotated:
    """What is known of recordings, and which these are."""

    truth: GroundTruth
    recordings: tuple[Recording, ...]  # of which is known what they hold
    notes: tuple[str, ...]


def annotated(
    path: Path, label_column: str | None, recordings: Sequence[Recording], classes: Sequence[str]
) -> Annotated:
    """Return the events of `classes` in the table or the folder of tables `path`, by the names of recordings.

    A single table that names recordings in its rows is taken to be about all: those that it does not name hold nothing.
    Of several tables, or one of Raven's or Audacity's for one recording, only the recordings that they are about are
    known.

    Raise InputError for tables that can't be read, for names that may be one of several recordings, for names in a
    table about all that can't be found, where no recording is found, and where no label is one of `classes`.
    """
    annotations = read_annotations(path, label_column)
    matched = match(annotations, {recording.name: None for recording in recordings})
    about_all = _is_about_all(annotations)
    _check(path, matched, about_all)
    known = {recording.name for recording in recordings} if about_all else set(matched.events)
    return Annotated(
        _truth(path, annotations, matched, classes, known),
        tuple(recording for recording in recordings if recording.name in known),
        (*annotations.notes, *matched.notes, *([HOLD_NOTHING] if about_all and matched.unannotated else [])),
    )


def _is_about_all(annotations: Annotations) -> bool:
    """Return whether a recording that no table names holds nothing, instead of nothing being known of it."""
    first = annotations.tables[0]
    several = len(first.recordings) > 1 or first.format != "raven"
    return len(annotations.tables) == 1 and first.named_in_rows and several


def _check(path: Path, matched: Matched, about_all: bool) -> None:
    unclear = {**matched.ambiguous, **matched.contradictory}
    if unclear:
        of_several = some([f"{name} ({_found(found)})" for name, found in sorted(unclear.items())])
        raise InputError(
            f"annotations {printable(path)} name {counted(len(unclear), 'recording')} that may be one of several: "
            f"{of_several}; name them with their folders"
        )
    lost = sorted(matched.unmatched)
    if lost and (about_all or not matched.events):
        names = f"{counted(len(lost), 'recording')} that can't be found: {some(lost)}"
        raise InputError(f"annotations {printable(path)} name {names}")


def _found(recordings: str | Sequence[str]) -> str:
    return recordings if isinstance(recordings, str) else some(recordings)


def _truth(
    path: Path, annotations: Annotations, matched: Matched, classes: Sequence[str], names: set[str]
) -> GroundTruth:
    labels = Counter(event.label for listed in matched.events.values() for event in listed)
    if not labels.keys() & set(classes):
        there = some(sorted(labels)) if labels else "no event"
        raise InputError(
            f"annotations {printable(path)} have no class of the model's ({some(classes)}); they have {there}"
        )
    events = {
        name: tuple(
            Event(event.start_s, event.end_s, event.label, 1.0)
            for event in matched.events.get(name, ())
            if event.label in classes
        )
        for name in sorted(names)
    }
    return GroundTruth(events, {label: labels[label] for label in sorted(labels) if label not in classes})
