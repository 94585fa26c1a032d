"""The settings of a config module, changed by the command line's options."""

import argparse
import runpy
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from pydantic import BaseModel, ValidationError

from aer.cli.errors import one_line_errors
from aer.errors import AerError, InputError
from aer.settings import Settings
from aer.utils.text import near_matches

OneKind = TypeVar("OneKind", bound=Settings)


def read_settings(kind: type[OneKind], name: str, default_config: Path, argv: Sequence[str] | None = None) -> OneKind:
    """Return the settings `name` of the config module, changed by the command line's options.

    `--config PATH` names another module than `default_config`. Raise InputError, with one line, for a module that
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
    """Run the config module and return its settings `name`. Raise InputError where that can't be done."""
    if not path.is_file():
        raise InputError(f"config module {path} is not there; --config names another")
    try:
        values = runpy.run_path(str(path))
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, kind)}") from error
    except AerError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        raise InputError(f"{path}, line {_line_of(error, path)}: {type(error).__name__}: {error}") from error
    settings = values.get(name)
    if not isinstance(settings, kind):
        raise InputError(f"{path} must set {name} to {kind.__name__}(...), it is {type(settings).__name__}")
    return settings


def _line_of(error: Exception, path: Path) -> int | str:
    """Return the line of the module in which an error arose; "?" where that is not known."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    # a SyntaxError knows its line; the module has not run
    return getattr(error, "lineno", None) or (lines[-1] if lines else None) or "?"


def parse_options(kind: type[OneKind], options: Sequence[str], default: OneKind, description: str) -> OneKind:
    """Return the default settings, changed by the options. Raise InputError, with one line, for wrong ones."""
    try:
        with one_line_errors():
            config = (tyro.conf.HelptextFromCommentsOff,)
            return tyro.cli(kind, args=options, default=default, description=description, config=config)
    except InputError as error:
        # tyro says less of a value that pydantic refuses
        refused = error.__cause__.__context__ if error.__cause__ else None
        if isinstance(refused, ValidationError):
            raise InputError(explain(refused, kind)) from refused
        raise


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return a pydantic error as one line: the setting, what is wrong, the value, near matches of a misspelt one."""
    return "; ".join(_explain_one(detail, kind) for detail in error.errors(include_url=False))


def _explain_one(detail: Any, kind: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    given = detail["input"]
    if detail["type"] == "extra_forbidden":
        *parents, name = detail["loc"]
        return f"there is no setting {where}{near_matches(str(name), _siblings(kind, parents))}"
    if detail["type"] == "missing":
        return f"setting {where} is missing"
    # written by aer.settings, which names the values
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        return f"{where}: {message}" if where else message
    near = near_matches(given, detail.get("ctx", {}).get("expected", "").split("'")) if isinstance(given, str) else ""
    return f"{where}: {detail['msg'][:1].lower()}{detail['msg'][1:]}, it is {given!r}{near}"


def _siblings(kind: type[BaseModel], parents: Sequence[str]) -> Iterable[str]:
    """Return the names that a setting below `parents` can have: those of `kind`, or of the settings nested in it."""
    for parent in parents:
        nested = kind.model_fields[parent].annotation
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            return ()
        kind = nested
    return kind.model_fields
