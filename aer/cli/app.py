"""The `aer` command and its subcommands.

The modules that do the work are imported when a command is called: `--help` answers at once, and no command waits for
what another one needs.
"""

import functools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from aer.cli.corpora import corpus, prepare, sample
from aer.cli.errors import one_line_errors, run_command
from aer.cli.models import crossval, summary
from aer.cli.recognition import evaluate, predict
from aer.errors import InputError
from aer.models.kinds import KINDS

# in the order of the help
COMMANDS: tuple[Callable[..., None], ...] = (sample, prepare, corpus, summary, crossval, predict, evaluate)


def _bound(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """Return a function that takes the command's arguments and returns the call, so that all options are read first."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(command, *args, **kwargs)

    return bind


def main() -> None:
    """Run the `aer` command and exit with its status."""
    sys.exit(run_command(_run))


def _run() -> None:
    match sys.argv[1:]:
        # its options are read with the config module
        case ["crossval", model, *options] if model in KINDS:
            crossval(model, tuple(options))
            return
    _refuse_repeated_options(sys.argv[1:])
    app = tyro.extras.SubcommandApp()
    for command in COMMANDS:
        app.command(_bound(command))
    with one_line_errors():
        call = app.cli(prog="aer", description="Train and run audio-event recognisers.")
    call()


def _refuse_repeated_options(arguments: Sequence[str]) -> None:
    """Raise InputError for an option that is given more than once: only the last one would count."""
    counts = Counter(argument.split("=")[0] for argument in arguments if argument.startswith("--"))
    repeated = [option for option, n in counts.items() if n > 1]
    if repeated:
        raise InputError(f"{repeated[0]} is given more than once: give it once, with all its values")
