"""Progress bars on a real terminal, in a pipe, and in a notebook whose IPython is played by a few lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

WORK = """
from aer.utils.progress import ProgressBar, track, write_line
with ProgressBar(3_000_000, "decoding", "B", scaled=True, stay=STAY, shown=SHOWN) as bar:
    for number in range(3):
        bar.update(1_000_000)
        bar.set_postfix_str(f"file {number}")
assert bar.n == bar.total == 3_000_000
assert list(track("abc", 3, "letters", "letter", shown=SHOWN)) == ["a", "b", "c"]
assert list(track("", 0, "nothing", shown=SHOWN)) == []
bar = ProgressBar(10, "stopped early", "it", shown=SHOWN)
bar.update(0.25)
bar.update(4)
bar.close()
bar.close()
write_line("a line")
"""
NOTEBOOK = """
import builtins, sys, types
class HTML(str): pass
class Handle:
    def update(self, html): print("shown:", " ".join(html.split()))
def display(html, display_id=False):
    if display_id:
        print("shown:", " ".join(html.split()))
        return Handle()
ZMQInteractiveShell = type("ZMQInteractiveShell", (), {})
ipython = types.ModuleType("IPython"); ipython.__version__ = "8.0.0"
ipython.display = types.ModuleType("IPython.display")
ipython.display.display, ipython.display.HTML, ipython.display.clear_output = display, HTML, None
sys.modules |= {"IPython": ipython, "IPython.display": ipython.display}
builtins.get_ipython = ZMQInteractiveShell
"""


def run(code: str, stderr: int, stay: bool = False, shown: bool = True) -> "subprocess.CompletedProcess[str]":
    code = code.replace("STAY", str(stay)).replace("SHOWN", str(shown))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True
    )


def on_a_terminal(code: str, **options: bool) -> tuple[str, str]:
    """Run the code with a terminal for stderr; return stdout and what the terminal was sent."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (24, 100))
    try:
        printed = run(code, follower, **options).stdout
        os.set_blocking(leader, False)
        try:
            return printed, os.read(leader, 1 << 16).decode()
        except BlockingIOError:
            return printed, ""
    finally:
        os.close(leader)
        os.close(follower)


def test_a_bar_on_a_terminal() -> None:
    printed, shown = on_a_terminal(WORK)
    assert printed == "a line\n"
    assert "decoding:   0%" in shown and "/3.00M" in shown and "file 2" in shown and "letters:   0%" in shown
    assert "\n" not in shown and shown.rstrip("\r").rpartition("\r")[2].strip() == ""  # they are gone at the end
    assert "decoding: 100%" in on_a_terminal(WORK, stay=True)[1].partition("\r\n")[0].rpartition("\r")[2]


def test_no_bar_where_stderr_is_no_terminal_or_none_is_wanted() -> None:
    done = run(WORK, subprocess.PIPE)
    assert (done.stdout, done.stderr) == ("a line\n", "")
    assert on_a_terminal(WORK, shown=False) == ("a line\n", "")


def test_a_bar_in_a_notebook() -> None:
    done = run(NOTEBOOK + WORK, subprocess.PIPE)
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("shown:")]
    assert any("value='1000000'" in line and "max='3000000'" in line for line in lines)
    assert any("decoding, file 1" in line for line in lines)
    assert any("letters" in line for line in lines) and any("value='4'" in line for line in lines)
    assert lines[-1].strip() == "shown:"  # gone when it is closed
    assert run(NOTEBOOK + WORK, subprocess.PIPE, shown=False).stdout == "a line\n"


def test_neither_ipython_nor_fastprogress_is_imported_for_a_terminal(tmp_path: Path) -> None:
    code = WORK + "import sys; assert not {'IPython', 'fastprogress'} & sys.modules.keys()"
    on_a_terminal(code)
