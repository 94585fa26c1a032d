"""Names from outside on a console."""

import pytest

from aer.utils.text import as_bytes, counted, encodable, near_matches, printable, some, valid_utf8


@pytest.mark.parametrize(
    "bad", ["\x1b[2J", "\u202egnp.wav", "\u2066x", "a\u200bb", "a\nb", "a\rb", "\x9b1m", "\ufeffx", "\udce9"]
)
def test_nothing_that_drives_a_terminal_or_hides_is_printed(bad: str) -> None:
    shown = printable(bad)
    assert shown.isprintable()
    assert "\\" in shown
    assert printable("Þröstur_鶫 1.wav") == "Þröstur_鶫 1.wav"


def test_some_names() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(["a", "\x1b", "c", "d", "e"]) == "a, \\x1b, c and 2 more"


def test_counted() -> None:
    assert [counted(n, "clip") for n in (0, 1, 2, 1234)] == ["0 clips", "1 clip", "2 clips", "1,234 clips"]


def test_names_can_not_drive_the_terminal() -> None:
    assert printable("a\x1b[31mb\nc\u202ed") == "a\\x1b[31mb\\nc\\u202ed"
    assert printable("Zaunkönig 森") == "Zaunkönig 森"


def test_near_matches() -> None:
    assert near_matches("Wern", ["wren", "robin"]) == " (did you mean wren?)"
    assert near_matches("owl", ["wren", "robin"]) == near_matches("owl", []) == ""


def test_bytes_that_are_not_utf8_stay_or_become_escapes() -> None:
    name = "caf\udce9"
    assert as_bytes(name) == b"caf\xe9" and encodable(name) == name and valid_utf8(name) == "caf\\udce9"
    assert encodable("\ud800") == valid_utf8("\ud800") == "\\ud800"
    assert encodable("Þ") == valid_utf8("Þ") == "Þ"
