"""The errors that users meet. Everything else that is raised is a bug and shows its traceback."""

import signal
from pathlib import Path


class AerError(Exception):
    """Work that failed: one line that says what, where and what to do. Exit status 1."""

    exit_status = 1


class InputError(AerError):
    """Input that can't be used (a setting, a file, a corpus), found before any work is done. Exit status 2."""

    exit_status = 2


class AudioError(AerError):
    """A recording that can't be read. `str(error)` names the file and the reason, in one line.

    `path`: the recording, None where a process died with it; `reason`: why, without the path.
    """

    def __init__(self, message: str, path: Path | None = None, reason: str | None = None):
        # all three, so that they survive pickling, from process to process
        super().__init__(message, path, reason)
        self.path = path
        self.reason = message if reason is None else reason

    def __str__(self) -> str:
        return str(self.args[0])


class EmptyAudioError(AudioError):
    """A recording without a single sample."""


class SigtermError(KeyboardInterrupt):
    """SIGTERM, as a cluster's queue sends it. Whatever lets Ctrl-C through lets this through."""


class StoppedError(AerError):
    """A run that Ctrl-C or SIGTERM ended, and how to resume it. The exit status is what shells have for the signal."""

    def __init__(self, message: str, cause: KeyboardInterrupt):
        super().__init__(message)
        self.exit_status = stopped_status(cause)


def stopped_status(cause: KeyboardInterrupt) -> int:
    """Return the exit status that shells have for the signal: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(cause, SigtermError) else signal.SIGINT)
