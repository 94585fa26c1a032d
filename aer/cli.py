"""The command line: settings from a config module changed by options, and errors as one line.

torch is imported by what the commands call, not here, so that `--help` answers at once.
"""

import argparse
import contextlib
import io
import itertools
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from pydantic import BaseModel, ValidationError

from aer.errors import AerError, InputError, StoppedError, stopped_status
from aer.settings import (
    Settings,
    near_matches,
)
from aer.signals import sigterm_as_interrupt

OneKind = TypeVar("OneKind", bound=Settings)
CONFIG = Path("config.py")  # of `aer crossval`: in the folder where it is called


def run_command(work: Callable[[], None]) -> int:
    """Does the work and returns the exit status: 0, or that of the `AerError`, told in one line on stderr."""
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
    except BrokenPipeError:  # `--help | head`: who read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        return 1
    except KeyboardInterrupt as cause:
        _say_stopped("the same command starts again")
        return stopped_status(cause)
    return 0


def _say_stopped(how_to_go_on: str) -> None:
    # the terminal has put ^C where the cursor was
    print(f"{chr(10) if sys.stderr.isatty() else ''}stopped; {how_to_go_on}", file=sys.stderr)


def read_settings(kind: type[OneKind], name: str, default_config: Path, argv: Sequence[str] | None = None) -> OneKind:
    """The settings `name` of the config module, changed by the command line's options.

    `--config PATH` names another module than `default_config`. Raises InputError, with one line, for a module that
    can't be run or lacks the name, and for options that are unknown or out of range.
    """
    config_option = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    config_option.add_argument("--config", type=Path, default=default_config)
    try:
        config_option.exit_on_error = False
        chosen, options = config_option.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise InputError(f"--config: {error.message}") from error
    description = (
        f"{(kind.__doc__ or '').strip()}\n\nThe defaults are those of {chosen.config.name}; "
        "--config PATH names another config module. Each option below overrides one setting for this run."
    )
    return parse_options(kind, options, default=load_config(chosen.config, kind, name), description=description)


def load_config(path: Path, kind: type[OneKind], name: str) -> OneKind:
    """Runs the config module and returns its settings `name`; InputError when that can't be done."""
    if not path.is_file():
        raise InputError(f"config module {path} is not there; --config names another")
    try:
        values = runpy.run_path(str(path))
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, kind)}") from error
    except AerError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        lines: list[int | None] = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
        ]
        line = getattr(error, "lineno", None) or (lines or [None])[-1] or "?"
        raise InputError(f"{path}, line {line}: {type(error).__name__}: {error}") from error
    settings = values.get(name)
    if not isinstance(settings, kind):
        raise InputError(f"{path} must set {name} to {kind.__name__}(...), it is {type(settings).__name__}")
    return settings


def parse_options(kind: type[OneKind], options: Sequence[str], default: OneKind, description: str) -> OneKind:
    """The settings that the options make of the default ones; InputError, with one line, where they make none."""
    try:
        with one_line_errors():
            config = (tyro.conf.HelptextFromCommentsOff,)
            return tyro.cli(kind, args=options, default=default, description=description, config=config)
    except ValidationError as error:
        raise InputError(explain(error, kind)) from error


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Where tyro would print a box of several lines and exit: the ValidationError behind it, or InputError."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise  # --help was answered
        if isinstance(stop.__context__, ValidationError):
            raise stop.__context__ from None
        raise InputError(_unbox(box.getvalue())) from stop


def _unbox(box: str) -> str:
    """The message in the box of text that tyro prints, as one line with the near matches that it offers."""
    rows = [row.strip(" │") for row in box.splitlines()[1:-1]]
    message = " ".join(itertools.takewhile(lambda row: row.strip("─"), rows))
    near = (
        [row.split()[0] for row in rows[rows.index("Perhaps you meant:") :] if row.startswith("--")]
        if ("Perhaps you meant:" in rows)
        else []
    )
    return message + (f" (did you mean {' or '.join(near)}?)" if near else "") + "; --help lists all options"


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """A pydantic error as one line: the setting, what is wrong, the value, and near matches of a misspelt one."""
    return "; ".join(_explain_one(detail, kind) for detail in error.errors(include_url=False))


def _explain_one(detail: Any, kind: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    given = detail["input"]
    if detail["type"] == "extra_forbidden":
        *parents, name = detail["loc"]
        return f"there is no setting {where}{near_matches(str(name), _siblings(kind, parents))}"
    if detail["type"] == "missing":
        return f"setting {where} is missing"
    if detail["type"] == "value_error":  # written by aer.settings, which names the values
        message = str(detail["ctx"]["error"])
        return f"{where}: {message}" if where else message
    near = near_matches(given, detail.get("ctx", {}).get("expected", "").split("'")) if isinstance(given, str) else ""
    return f"{where}: {detail['msg'][:1].lower()}{detail['msg'][1:]}, it is {given!r}{near}"


def _siblings(kind: type[BaseModel], parents: Sequence[str]) -> Iterable[str]:
    """The names that a setting at this place can have: those of `kind`, or of the settings nested in it."""
    for parent in parents:
        nested = kind.model_fields[parent].annotation
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            return ()
        kind = nested
    return kind.model_fields
