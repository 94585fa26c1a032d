"""aer where POSIX is not: imports and works without what only Linux and macOS have.

A `sitecustomize.py` on PYTHONPATH hides those things from the modules of aer and of the scripts, in each process that a
command starts. It does so by who asks: torch and the standard library were built for this system and need them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.corpora import make_corpus, write_clip
from helpers.paths import HELPERS, ROOT

# of what is printed into a file or a pipe
ENCODING = "cp1252"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system is elsewhere itself")

MODULES = ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "_posixsubprocess", "readline")
# of signal and of os; os.name is "nt"
HIDDEN = (
    "name SIGKILL SIGBUS SIGCHLD SIGHUP SIGALRM SIGUSR1 SIGUSR2 SIGQUIT SIGPIPE SIGSTOP SIGCONT SIG_BLOCK SIG_UNBLOCK "
    "SIG_SETMASK pthread_sigmask pthread_kill setitimer getitimer alarm pause sigwait sigpending siginterrupt "
    "fork forkpty sched_getaffinity sched_setaffinity geteuid getuid getgid getegid setsid setpgid getpgid getpgrp "
    "killpg nice wait wait3 wait4 sysconf statvfs fchmod chown mkfifo getloadavg uname openpty O_NOFOLLOW "
    "O_DIRECTORY O_CLOEXEC O_NONBLOCK O_SYNC posix_fallocate posix_fadvise sendfile sync fdatasync pread pwrite"
)
SITECUSTOMIZE = """
import builtins, importlib, importlib.util, multiprocessing.context, os, signal, sys, types

MODULES, HIDDEN, OURS = {modules!r}, {hidden!r}.split(), {ours!r}


def is_ours(depth):
    '''Whether the code that asks lies in the project.'''
    frame = sys._getframe(depth)
    while frame and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(OURS)


class Poorer(types.ModuleType):
    '''A module of the standard library, whose names that Windows lacks the project can't see.'''

    def __getattribute__(self, name):
        if name in HIDDEN and is_ours(2):
            if name == "name":
                return "nt"
            raise AttributeError(f"Windows has no {{name}}")
        return object.__getattribute__(self, name)


def without(found):
    def find(name, *more, **named):
        if name.partition(".")[0] in MODULES and is_ours(2):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        if name == "msvcrt" and is_ours(2):  # by its own name the standard library would find it too
            name = "locks_elsewhere"
        return found(name, *more, **named)

    return find


for module in (os, signal):
    module.__class__ = Poorer
builtins.__import__ = without(builtins.__import__)
importlib.import_module = without(importlib.import_module)
importlib.util.find_spec = without(importlib.util.find_spec)

# of the ways to start processes, Windows has one; torch's loaders keep theirs
Context = multiprocessing.context.DefaultContext
every_method, get_context = Context.get_all_start_methods, Context.get_context


def get_spawn(self, method=None):
    if method in ("fork", "forkserver") and is_ours(2):
        raise ValueError(f"cannot find context for {{method!r}}")
    return get_context(self, method)


Context.get_all_start_methods = lambda self: ["spawn"] if is_ours(2) else every_method(self)
Context.get_context = get_spawn
multiprocessing.get_all_start_methods = multiprocessing.context._default_context.get_all_start_methods
multiprocessing.get_context = multiprocessing.context._default_context.get_context
"""
# what Windows has instead, by the lock of this system's C library
LOCKS = """
import ctypes, os

LK_NBLCK = 2
_libc = ctypes.CDLL(None, use_errno=True)


def locking(descriptor, mode, n_bytes):
    if _libc.lockf(descriptor, mode, ctypes.c_long(n_bytes)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds itself on a system without POSIX."""
    folder = tmp_path_factory.mktemp("elsewhere")
    # not all of ROOT: its .venv has the packages that were built for this system
    ours = (*(f"{ROOT}{os.sep}{part}" for part in ("aer", "tests", "train_", "config.py")), str(folder / "probe"))
    shim = SITECUSTOMIZE.format(modules=MODULES, hidden=HIDDEN, ours=ours)
    (folder / "sitecustomize.py").write_text(shim, encoding="utf-8")
    (folder / "locks_elsewhere.py").write_text(LOCKS, encoding="utf-8")
    path = os.pathsep.join([str(folder), str(ROOT), str(ROOT / "tests")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": ENCODING}


def run(elsewhere: dict[str, str], folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, elsewhere."""
    return subprocess.run(
        [sys.executable, *command],
        env=elsewhere,
        cwd=folder,
        capture_output=True,
        text=True,
        encoding=ENCODING,
        timeout=300,
    )


def test_elsewhere_has_none_of_it(elsewhere: dict[str, str], tmp_path: Path) -> None:
    """The shim hides what it should: without this, the tests below would prove nothing."""
    probe = Path(elsewhere["PYTHONPATH"].split(os.pathsep)[0]) / "probe.py"
    probe.write_text(
        "import importlib, multiprocessing, os, signal\n"
        f"for name in {MODULES}:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "        print('there is', name)\n"
        "    except ImportError:\n"
        "        pass\n"
        "try:\n"
        "    import fcntl\n"
        "except ImportError:\n"
        "    print(os.name, multiprocessing.get_all_start_methods(), hasattr(os, 'fork'), hasattr(signal, 'SIGKILL'))\n"
        "try:\n"
        "    from os import geteuid\n"
        "except ImportError:\n"
        "    print('no geteuid')\n",
        encoding="utf-8",
    )
    done = run(elsewhere, tmp_path, str(probe))
    assert (done.stdout, done.stderr) == ("nt ['spawn'] False False\nno geteuid\n", "")


@pytest.mark.parametrize("command", [("-m", "aer"), *((str(script),) for script in sorted(ROOT.glob("train_*.py")))])
def test_help(elsewhere: dict[str, str], tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(elsewhere, tmp_path, *command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


def test_a_corpus_is_prepared_and_surveyed(elsewhere: dict[str, str], tmp_path: Path) -> None:
    make_corpus(tmp_path / "birds", clips_per_class=4)
    write_clip(tmp_path / "birds/\u9ce5/\u9ce5.wav", 1000.0, 0.5, seed=1)
    for _ in range(2):  # the second time there is nothing to do
        done = run(elsewhere, tmp_path, "-m", "aer", "prepare", "birds", "--out", "made", "--workers", "1")
        assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "made/resampled_train_audio").rglob("*.wav"))) == 9
    done = run(elsewhere, tmp_path, "-m", "aer", "corpus", "made", "--details", "clips.csv", "--workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n\\u9ce5 " in done.stdout
    assert len((tmp_path / "clips.csv").read_text(encoding="utf-8").splitlines()) == 10


OPTIONS = (
    "--corpus corpus --run-dir run --clip-duration-s 0.64 --batch-size 4 --n-folds 3 --warmup-steps 0 --scheduler None "
    "--device cpu --loss-func BCEWithLogits --workers 0"
)


def test_a_run_is_trained_and_resumed(elsewhere: dict[str, str], tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus")
    tiny = str(HELPERS / "tiny.py")
    for epochs in (1, 2):
        done = run(elsewhere, tmp_path, tiny, *OPTIONS.split(), "--epochs", str(epochs))
        assert done.returncode == 0, done.stderr
        metrics = (tmp_path / "run/metrics.csv").read_text(encoding="utf-8").splitlines()
        assert len(metrics) == 1 + epochs
    assert (tmp_path / "run/best.aer").exists()


def test_a_folder_in_use_is_refused(elsewhere: dict[str, str], tmp_path: Path) -> None:
    import fcntl

    make_corpus(tmp_path / "corpus")
    (tmp_path / "run").mkdir()
    with (tmp_path / "run/.lock").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done = run(elsewhere, tmp_path, str(HELPERS / "tiny.py"), *OPTIONS.split(), "--epochs", "1")
    assert done.returncode == 2
    assert "error: a run is under way in run" in done.stderr
