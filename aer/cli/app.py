"""The `aer` command: its subcommands and their options. What does the work is imported when it is called.

So `--help` answers at once, and no command waits for what another one needs.
"""

import functools
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import tyro

from aer.cli.corpora import corpus, prepare, sample
from aer.cli.errors import one_line_errors, run_command
from aer.cli.models import crossval, summary
from aer.cli.recognition import evaluate, predict
from aer.errors import InputError


def _bound(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The command with its arguments taken but not yet run, so that options are read before work begins."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(command, *args, **kwargs)

    return bind


def main() -> None:
    """The `aer` command."""
    app = tyro.extras.SubcommandApp()
    app.command(_bound(sample))
    app.command(_bound(prepare))
    app.command(_bound(corpus))
    app.command(_bound(summary))
    app.command(_bound(crossval))
    app.command(_bound(predict))
    app.command(_bound(evaluate))

    def work() -> None:
        match sys.argv[1:]:
            case ["crossval", "panns" | "resnest" as model, *options]:  # which are read with the config module
                crossval(model, tuple(options))
                return
        repeated = [option for option, n in Counter(name.split("=")[0] for name in sys.argv).items() if n > 1]
        repeated = [option for option in repeated if option.startswith("--")]
        if repeated:  # the last one alone would count
            raise InputError(f"{repeated[0]} is given more than once: give it once, with all its values")
        with one_line_errors():
            command = app.cli(prog="aer", description="Train and run audio-event recognisers.")
        command()

    sys.exit(run_command(work))
