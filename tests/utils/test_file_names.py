"""File names that are unique in their folder."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from aer.utils.file_names import STEM_BYTES, clip_stems, free_name


@settings(max_examples=100, deadline=None)
@given(st.lists(st.from_regex(r"[ab]{1,2}(_mp3|_wav)?\.(wav|mp3|WAV)", fullmatch=True), unique=True, max_size=12))
def test_stems_differ_and_do_not_depend_on_the_order(files: list[str]) -> None:
    names = [f"class/{file}" for file in files]
    stems = dict(zip(names, clip_stems(names), strict=True))
    assert len({stem.casefold() for stem in stems.values()}) == len(names)
    assert dict(zip(names[::-1], clip_stems(names[::-1]), strict=True)) == stems


def test_stems_differ_even_from_names_that_look_like_theirs() -> None:
    names = ["x/a.wav", "x/a.flac", "x/a_flac.wav"]
    names += [f"x/{clip_stems(names)[1]}.wav"]
    names += [f"x/{clip_stems(names)[1]}.wav"]
    assert len(set(clip_stems(names))) == len(names)


def test_stems_are_names_without_their_suffixes_where_that_will_do() -> None:
    assert clip_stems(["wren/a.mp3", "robin/a.wav", "robin/b.wav"]) == ["a", "a", "b"]
    assert clip_stems(["wren/a.mp3", "wren/A.wav"]) == ["a_mp3", "A_wav"]
    long, odd = clip_stems([f"wren/{'é' * 120}.wav", "wren/caf\udce9.wav"])
    assert len(os.fsencode(long)) <= STEM_BYTES + 9 and long.startswith("é" * 80) and odd.startswith("caf__")


def test_free_names() -> None:
    taken: set[str] = set()
    assert [free_name(name, ".wav", taken) for name in ("a", "A", "a", "b")] == ["a.wav", "A_2.wav", "a_3.wav", "b.wav"]
