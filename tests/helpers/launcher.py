"""Start Python scripts in real processes that need not import torch first: 0.1 s of CPU each, not 5.

`Popen` and `run` are those of `subprocess` for commands like `[sys.executable, "script.py", ...]` and `[sys.executable,
"-m", "module", ...]`: a process of its own, with its own folder, environment, streams, session, signals and status.
The difference is where it comes from: a launcher, one per pytest process, has imported what takes long and forks.
Modules are thus imported already, and warnings at import are not seen: each script is also started by `subprocess`
somewhere. All have the hash seed of their launcher. Other commands, environments with other variables that Python reads
as it starts, and all commands on other systems than Linux are left to `subprocess`.
"""

import atexit
import functools
import gc
import importlib
import inspect
import json
import multiprocessing.process
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

PRELOADED = (
    "aer.cli.app",
    "aer.cli.config",
    "aer.corpus.preparation.prepare",
    "aer.corpus.survey_report",
    "aer.evaluation.evaluate",
    "aer.inference.predict",
    "aer.models.panns",
    "aer.models.resnest",
    "aer.models.summary",
    "aer.outputs.write",
    "aer.training.crossval",
    "aer.training.train",
    "torch.distributed.run",
    "torchlibrosa",
)
REQUEST_BYTES = 1 << 20
STREAMS = ("p2cread", "c2pwrite", "errwrite")  # subprocess' names for the child's ends of stdin, stdout and stderr


# ---- in the tests


class Popen(subprocess.Popen[str]):
    """subprocess.Popen of text; what it starts has been forked by the launcher where that is possible."""

    _reports: socket.socket | None = None  # says the process's id, and how it ended

    def __init__(self, command: Any, **options: Any) -> None:
        super().__init__([str(part) for part in command], text=True, **options)

    def _execute_child(self, *given: Any) -> None:
        start = super()._execute_child  # type: ignore[misc]
        values = inspect.signature(start).bind(*given).arguments
        environment = dict(os.environ if values["env"] is None else values["env"])
        if not _can_be_forked(values["args"], environment) or values["preexec_fn"] is not None or values["pass_fds"]:
            start(*given)
            return
        self._reports, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {
            "command": values["args"],
            "cwd": os.fspath(values["cwd"] or Path.cwd()),
            "environment": environment,
            "new_session": values["start_new_session"],
        }
        streams = [values[name] if values[name] != -1 else number for number, name in enumerate(STREAMS)]
        socket.send_fds(_launcher(), [json.dumps(request).encode()], [*streams, theirs.fileno()])
        theirs.close()
        self.pid = int(self._reports.recv(64))
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(values[name] for name in ends))  # type: ignore[attr-defined]

    def _internal_poll(self, *given: Any, **named: Any) -> int | None:
        if self._reports is None:
            status: int | None = super()._internal_poll(*given, **named)  # type: ignore[misc]
            return status
        if self.returncode is None and select.select([self._reports], [], [], 0)[0]:
            self.returncode = int(self._reports.recv(64))
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._reports is None:
            status: int = super()._wait(timeout)  # type: ignore[misc]
            return status
        end_s = None if timeout is None else time.monotonic() + timeout
        while self._internal_poll() is None:
            left_s = None if end_s is None else max(end_s - time.monotonic(), 0)
            if not select.select([self._reports], [], [], left_s)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)  # type: ignore[arg-type]
        if self._reports is not None:
            self._reports.close()


def run(
    command: Any, timeout: float = 240, check: bool = False, forked: bool = True, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Return what a command printed, and its status, as `subprocess.run(..., capture_output=True, text=True)` does.

    Not `forked`: the very same with an interpreter that starts anew, and shows what it prints as it imports modules.
    """
    if not forked:
        return subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=timeout, check=check, **options
        )
    with Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _can_be_forked(command: list[str], environment: dict[str, str]) -> bool:
    """Whether the command is Python's, with options that an interpreter which has started can still follow."""
    first = command[1] if len(command) > 1 else ""
    is_script = command[0] == sys.executable and (first == "-m" or first.endswith(".py"))
    return sys.platform == "linux" and is_script and _read_at_start(environment) == _read_at_start(os.environ)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python reads as it starts (hash seed, encoding, warnings)."""
    names = [name for name in environment if name.startswith(("PYTHON", "LC_")) or name == "LANG"]
    return {name: environment[name] for name in names if name != "PYTHONPATH"}


@functools.cache
def _launcher() -> socket.socket:
    """The way to this process's launcher, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # threads would not be there after a fork: none of OpenMP, none of Arrow's memory
        env={**os.environ, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
        start_new_session=True,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours


# ---- in the launcher


def serve(channel: socket.socket) -> dict[str, Any]:
    """Fork for each request until the tests have ended; return the request in the process that is to run it."""
    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # or each child's first collection would copy all pages
    signal.signal(signal.SIGINT, signal.default_int_handler)
    while True:
        content, descriptors, *_ = socket.recv_fds(channel, REQUEST_BYTES, 4)
        if not content:
            sys.exit()
        if os.fork() == 0:
            channel.close()
            return _forked(json.loads(content), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        while _reaped():
            pass


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _forked(request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
    """Fork once more: one process waits and reports how the other one ends, which gets its streams and returns."""
    *streams, report = descriptors
    os.setsid()
    pid = os.fork()
    if pid:
        for descriptor in (0, 1, 2, *streams):
            os.close(descriptor)
        with socket.socket(fileno=report) as reports:
            reports.send(str(pid).encode())
            reports.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os._exit(0)
    os.close(report)
    if request["new_session"]:
        os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return request


def become(request: dict[str, Any]) -> None:
    """Run the script or the module as a fresh interpreter would."""
    os.chdir(request["cwd"])
    multiprocessing.process.ORIGINAL_DIR = request["cwd"]  # type: ignore[attr-defined]
    of_tests = {str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    os.environ.clear()
    os.environ.update(request["environment"])
    # a new state, as an interpreter that starts has: one that all share would hide draws that nobody seeds
    np.random.seed()
    sys.orig_argv[:] = request["command"]
    _, first, *rest = request["command"]
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    begin = request["cwd"] if first == "-m" else str(Path(first).resolve().parent)
    sys.path[:] = [begin, *given, *(path for path in sys.path if path not in of_tests)]
    if first == "-m":
        module, *arguments = rest
        sys.argv[:] = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def end(status: int) -> NoReturn:
    """End as an interpreter does, except that it leaves modules as they are: to take apart 3,000 costs 0.4 s."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()  # destructors of what the script has left behind may complain
    sys.stdout.flush()
    sys.stderr.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)


def main() -> NoReturn:
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    status = 0
    try:
        become(request)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:  # noqa: BLE001
        sys.excepthook(type(error), error, error.__traceback__)
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    end(status)


if __name__ == "__main__":
    main()
