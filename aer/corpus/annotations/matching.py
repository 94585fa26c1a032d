"""Finds the recordings that tables of labelled times are about, by their names.

Tables name recordings by whole paths of another machine, by paths below some folder, by bare names, with another
suffix or none. Names are compared from their end: the file name must agree (with its suffix if one recording has it),
then the folders decide between recordings of one name. A relative path of a row must agree as far as both paths go.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aer.audio.info import SUFFIXES
from aer.corpus.annotations.annotation import Annotation, Annotations, without_duplicates
from aer.utils.file_names import clip_stems
from aer.utils.text import counted, printable, some

PAST_END_S = 1.0  # an event that ends later after its recording is worth a note
ROUNDING_S = 1e-3
CONTRADICT = "whose paths contradict each other, though only one can be meant"


@dataclass(frozen=True)
class Matched:
    """Annotations by recording, and what does not fit. Whether that is an error is for callers to decide."""

    events: dict[str, tuple[Annotation, ...]]  # of every recording that a table is about, those without events too
    unmatched: dict[str, int]  # names that no recording has -> their events
    ambiguous: dict[str, tuple[str, ...]]  # names that several recordings have -> these
    contradictory: dict[str, str]  # names that can't be of one recording and all mean this one
    several_tables: dict[str, int]  # recordings that several tables are about -> how many
    elsewhere: dict[str, str]  # names whose folders are not the recording's, by a whole path or a table's own name
    unannotated: tuple[str, ...]  # recordings that no table is about
    past_end: tuple[Annotation, ...]  # events that end more than PAST_END_S after their recording
    beyond: tuple[Annotation, ...]  # of these, the ones that begin after it
    empty: tuple[str, ...]  # annotated recordings without a single sample
    repeated: int  # events that several tables have, counted once

    @property
    def notes(self) -> tuple[str, ...]:
        """What users should know, a line each."""
        late = f"{counted(len(self.past_end), 'event')} ending more than {PAST_END_S:g} s after their recording"
        lines = [
            (self.unmatched, f"{_named(len(self.unmatched))} that can't be found: {some(sorted(self.unmatched))}"),
            (self.ambiguous, f"{_named(len(self.ambiguous))} that may be one of several: {self._ambiguous()}"),
            (self.contradictory, f"{_named(len(self.contradictory))} {CONTRADICT}: {self._found(self.contradictory)}"),
            (
                self.elsewhere,
                f"{_named(len(self.elsewhere))} in other folders: {self._found(self.elsewhere)}",
            ),
            (self.several_tables, f"{_recordings(self.several_tables)} of several tables: {some(self._several())}"),
            (self.repeated, f"{counted(self.repeated, 'event')} that several tables have, counted once"),
            (self.past_end, f"{late}, {len(self.beyond):,} of them beginning after it: {_places(self.past_end)}"),
            (self.empty, f"{_recordings(self.empty)} with annotations and without a sample: {some(self.empty)}"),
            (self.unannotated, f"{_recordings(self.unannotated)} without a table: {some(self.unannotated)}"),
        ]
        return tuple(line for there, line in lines if there)

    def _several(self) -> list[str]:
        return [f"{name} ({number})" for name, number in self.several_tables.items()]

    def _ambiguous(self) -> str:
        return some([f"{name} ({some(found)})" for name, found in sorted(self.ambiguous.items())])

    def _found(self, recordings: Mapping[str, str]) -> str:
        return some([f"{name} as {found}" for name, found in sorted(recordings.items())])


@dataclass
class _Names:
    """What of the annotations' names was found."""

    recording: dict[str, str] = field(default_factory=dict)
    agreeing: dict[str, int] = field(default_factory=dict)  # folders, from the file on
    unmatched: dict[str, None] = field(default_factory=dict)
    ambiguous: dict[str, tuple[str, ...]] = field(default_factory=dict)
    contradictory: dict[str, str] = field(default_factory=dict)


def match(annotations: Annotations, recordings: Mapping[str, float | None]) -> Matched:
    """Return the annotations by the names of recordings, which come with their duration in seconds (None: not known).

    Names of recordings are paths below one folder, with slashes (`site/a.wav`).
    """
    index = _Index(recordings)
    own = {name for table in annotations.tables if not table.named_in_rows for name in table.recordings}
    other_names = _own_names_of_single_tables(annotations)
    names = _Names()
    for name in annotations.events:
        found = index.find(name, folders_must_agree=name not in own and not _is_whole(name))
        if not found and name in other_names:
            found = index.find(other_names[name], folders_must_agree=False)
        if len(found) == 1:
            ((names.recording[name], names.agreeing[name]),) = found.items()
        elif found:
            names.ambiguous[name] = tuple(sorted(found))
        else:
            names.unmatched[name] = None
    _drop_contradictions(names, index, own)
    return _gathered(annotations, names, recordings)


def _own_names_of_single_tables(annotations: Annotations) -> dict[str, str]:
    """Return the tables' own name for recordings that only tables of one recording name, all with one such name."""
    own: dict[str, set[str]] = {}
    several: set[str] = set()
    for table in annotations.tables:
        if len(table.recordings) > 1:
            several.update(table.recordings)
        elif table.named_in_rows and table.recordings:
            own.setdefault(table.recordings[0], set()).add(table.own_name)
    return {name: min(names) for name, names in own.items() if len(names) == 1 and name not in several}


class _Index:
    """Recordings by their file names, with and without suffix."""

    def __init__(self, recordings: Iterable[str]) -> None:
        self.parts = {name: _parts(name) for name in recordings}
        self.by_name: dict[str, list[str]] = {}
        self.by_stem: dict[str, list[str]] = {}
        for (name, parts), stem in zip(self.parts.items(), clip_stems(list(self.parts)), strict=True):
            self.by_name.setdefault(parts[-1], []).append(name)
            # `a_mp3`, as outputs call the tables of recordings whose names differ in their suffix alone
            for alias in {_stem(parts[-1]), _folded(stem)} - {parts[-1]}:
                self.by_stem.setdefault(alias, []).append(name)

    def find(self, name: str, folders_must_agree: bool) -> dict[str, int]:
        """Return the recordings that a name may mean, with the number of folders in which they agree with it."""
        parts = _parts(name)
        last = parts[-1] if parts else ""
        candidates = self.by_name.get(last) or self.by_stem.get(last, [])
        if not candidates and _is_audio(last):
            candidates = self.by_stem.get(_stem(last), [])
        agreeing = {candidate: _agreeing(parts, self.parts[candidate]) for candidate in candidates}
        if folders_must_agree:
            agreeing = {
                candidate: n
                for candidate, n in agreeing.items()
                if n == min(len(parts), len(self.parts[candidate])) - 1
            }
        most = max(agreeing.values(), default=0)
        return {candidate: n for candidate, n in agreeing.items() if n == most}


def _drop_contradictions(names: _Names, index: _Index, own: set[str]) -> None:
    """Keep, of names that can't be of one recording and mean one, those alone that agree best with it, or none.

    Recorders on one schedule give files of the same name at every site: a site whose recordings are not there must not
    lend its events to another's. Tables' `own` names are only hints: in two of their folders may be two annotators.
    """
    by_recording: dict[str, list[str]] = {}
    for name, recording in names.recording.items():
        by_recording.setdefault(recording, []).append(name)
    for recording, claiming in by_recording.items():
        last, n_folders = index.parts[recording][-1], len(index.parts[recording]) - 1
        lasts = {name: _parts(name)[-1] for name in claiming}
        suffixes_agree = {name: own_last == last or not _is_audio(own_last) for name, own_last in lasts.items()}
        rank = {name: (suffixes_agree[name], names.agreeing[name]) for name in claiming}
        wrong: set[str] = set()
        rows, tables = ([name for name in claiming if (name in own) is which] for which in (False, True))
        if _contradict(rows):
            best = {name for name in rows if rank[name] == max(rank[name] for name in rows)}
            wrong.update(rows if _contradict(best) else set(rows) - best)
        if n_folders and _contradict(tables):
            most = max(names.agreeing[name] for name in tables)
            wrong.update(name for name in tables if not most or names.agreeing[name] < most)
        for name in claiming:
            if name in wrong:
                del names.recording[name]
                if wrong.issuperset(claiming):
                    names.contradictory[name] = recording
                else:
                    names.unmatched[name] = None


def _contradict(names: Iterable[str]) -> bool:
    """Return whether some of these names can't be of one recording."""
    parts = list(map(_parts, names))
    return any(_contradict_one(path, parts) for path in parts)


def _contradict_one(path: list[str], others: Iterable[list[str]]) -> bool:
    """Return whether one of the others can't be of the same recording: its suffix or one of its folders is another."""
    for other in others:
        if other[-1] != path[-1] and _is_audio(path[-1]) and _is_audio(other[-1]):
            return True
        if _agreeing(path, other) < min(len(path), len(other)) - 1:
            return True
    return False


def _is_audio(name: str) -> bool:
    return name[name.rfind(".") :] in SUFFIXES


def _gathered(annotations: Annotations, names: _Names, recordings: Mapping[str, float | None]) -> Matched:
    gathered: dict[str, list[Annotation]] = {}
    for name, recording in names.recording.items():
        gathered.setdefault(recording, []).extend(annotations.events[name])
    events, n_repeated = {}, 0
    for recording in sorted(gathered):
        once, repeated = without_duplicates(gathered[recording])
        events[recording], n_repeated = tuple(once), n_repeated + len(repeated)
    tables = Counter(
        recording
        for table in annotations.tables
        for recording in {names.recording[name] for name in table.recordings if name in names.recording}
    )
    late = [
        (event, duration_s)
        for recording, listed in events.items()
        if (duration_s := recordings[recording]) is not None and duration_s > 0
        for event in listed
        if event.end_s > duration_s + PAST_END_S
    ]
    elsewhere = {
        name: recording
        for name, recording in names.recording.items()
        if names.agreeing[name] < min(len(_parts(recording)), len(_parts(name))) - 1
    }
    return Matched(
        events=events,
        unmatched={name: len(annotations.events[name]) for name in names.unmatched},
        ambiguous=names.ambiguous,
        contradictory=names.contradictory,
        several_tables={name: number for name, number in sorted(tables.items()) if number > 1},
        elsewhere=elsewhere,
        unannotated=tuple(sorted(set(recordings) - set(events))),
        past_end=tuple(event for event, _ in late),
        beyond=tuple(event for event, duration_s in late if event.start_s > duration_s - ROUNDING_S),
        empty=tuple(recording for recording in events if recordings[recording] == 0),
        repeated=n_repeated,
    )


def _parts(name: str) -> list[str]:
    return [_folded(part) for part in name.replace("\\", "/").split("/") if part not in ("", ".")]


def _folded(text: str) -> str:
    """Return a name as file systems that know neither case nor kinds of accents compare it.

    Bytes that are not UTF-8 are taken for Windows-1252, in which tables of the same machine would have them.
    """
    if any("\ud800" <= c <= "\udfff" for c in text):
        text = os.fsencode(text).decode("cp1252", errors="replace")
    return unicodedata.normalize("NFC", text).casefold()


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def _agreeing(parts: list[str], others: list[str]) -> int:
    """Return how many folders agree, counted from the file on."""
    number = 0
    for part, other in zip(parts[-2::-1], others[-2::-1], strict=False):
        if part != other:
            break
        number += 1
    return number


def _is_whole(name: str) -> bool:
    """Return whether this is a path from the root of some machine."""
    return name.startswith("/") or name[1:2] == ":"


def _named(number: int) -> str:
    return f"the annotations name {counted(number, 'recording')}"


def _recordings(names: Iterable[str]) -> str:
    return counted(len(list(names)), "recording")


def _places(events: Iterable[Annotation]) -> str:
    return some([f"{printable(event.table)}, line {event.line}" for event in events])
