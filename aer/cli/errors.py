"""The command line: a command's exit status, errors as one line, and options that are out of range.

What takes long to import, torch and pydantic, is imported by what the commands call, so that `--help` answers at once.
"""

import contextlib
import io
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from aer.errors import AerError, InputError, StoppedError, stopped_status
from aer.utils.signals import sigterm_as_interrupt
from aer.utils.systems import escape_what_stdout_lacks
from aer.utils.text import printable


def run_command(work: Callable[[], None]) -> int:
    """Do the work and return the exit status: 0, or that of the `AerError`, which is one line on stderr."""
    escape_what_stdout_lacks()
    try:
        with sigterm_as_interrupt():
            work()
    except StoppedError as stopped:
        _say_stopped(str(stopped))
        return stopped.exit_status
    except AerError as error:
        # a loader's worker process puts its traceback before the message
        message = str(error).strip().splitlines()[-1]
        print(f"error: {message.removeprefix(f'{type(error).__module__}.{type(error).__name__}: ')}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # `--help | head`: the reader has seen enough; without this, Python would complain when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as cause:
        _say_stopped("the same command starts again")
        return stopped_status(cause)
    return 0


def _say_stopped(how_to_resume: str) -> None:
    # the terminal has put ^C where the cursor was
    print(f"{chr(10) if sys.stderr.isatty() else ''}stopped; {how_to_resume}", file=sys.stderr)


def check_range(options: Mapping[str, float | None], least: float, most: float = math.inf) -> None:
    """Raise InputError for an option whose value is not a number from `least` to `most`; None is one not given."""
    for option, value in options.items():
        if value is not None and not (least <= value <= most and math.isfinite(value)):
            upper = f" to {_plain(most)}" if math.isfinite(most) else " or more"
            raise InputError(f"{option} must be {_plain(least)}{upper}, it is {_plain(value)}")


def check_above_zero(options: Mapping[str, float | None]) -> None:
    """Raise InputError for an option whose value is not a finite number above 0; None is one not given."""
    for option, value in options.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{option} must be above 0, it is {_plain(value)}")


def check_workers(workers: int | None) -> None:
    """Raise InputError for a number of processes or threads below 1; None stands for one per core."""
    check_range({"--workers": workers}, 1)


def _plain(value: float) -> str:
    """Return a number for people: a seed or a sample rate with all its digits."""
    return str(value) if isinstance(value, int) else f"{value:g}"


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise InputError with one line where tyro would print a box of several and exit; its cause is that SystemExit."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            yield
    except SystemExit as stop:
        # --help was answered
        if not stop.code:
            raise
        raise InputError(_unbox(box.getvalue())) from stop


def _unbox(box: str) -> str:
    """Return the message in the box that tyro prints, as one line with the near matches that it offers."""
    rows = [row.strip(" │") for row in box.splitlines()[1:-1]]
    message = " ".join(itertools.takewhile(lambda row: row.strip("─"), rows))
    near: list[str] = []
    if "Perhaps you meant:" in rows:
        near = [row.split()[0] for row in rows[rows.index("Perhaps you meant:") :] if row.startswith("--")]
    return message + (f" (did you mean {' or '.join(near)}?)" if near else "") + "; --help lists all options"


def check_outputs(outputs: Mapping[str, tuple[Path | None, str]], tables: Iterable[Path | None]) -> None:
    """Raise InputError for an option (its file, its suffix) that can't be written or would replace a table."""
    taken = {table.resolve() for table in tables if table is not None}
    for option, (file, suffix) in outputs.items():
        if file is None:
            continue
        if file.suffix.lower() != suffix:
            raise InputError(f"{option} must end in {suffix}, it is {printable(file)}")
        if not file.parent.is_dir() or file.is_dir():
            problem = "is a folder" if file.is_dir() else "would go into a folder that is not there"
            raise InputError(f"{option} {printable(file)} {problem}")
        if file.resolve() in taken:
            raise InputError(f"{option} {printable(file)} would replace the corpus' own CSV; name another file")
