"""The errors that users meet. Everything else that is raised is a bug and shows its traceback."""


class AerError(Exception):
    """Work that failed: one line that says what, where and what to do. Exit status 1."""

    exit_status = 1


class InputError(AerError):
    """Input that can't be used (a setting, a file, a corpus), found before any work is done. Exit status 2."""

    exit_status = 2


class AudioError(AerError):
    """A recording that can't be read. `str(error)` names the file and the reason."""


class InterruptedWorkError(AerError):
    """Work that Ctrl-C ended, after it was left so that it can go on. Exit status 130, as shells give it."""

    exit_status = 130
