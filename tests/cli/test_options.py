"""Options that several commands have: one range, one wording; and what `--help` waits for."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.paths import ROOT

from aer.cli import corpora, recognition
from aer.cli.errors import check_above_zero, check_range
from aer.cli.options import Machine
from aer.errors import InputError

GIVEN = (Path("best.aer"), Path("birds"))
NO_WORKERS = Machine(workers=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: corpora.prepare(Path("birds"), workers=0),
        lambda: corpora.corpus(Path("birds"), workers=0),
        lambda: recognition.predict(recognition.PredictOptions(GIVEN, machine=NO_WORKERS)),
        lambda: recognition.evaluate(recognition.EvaluateOptions(GIVEN, machine=NO_WORKERS)),
    ],
    ids=["prepare", "corpus", "predict", "evaluate"],
)
def test_all_commands_refuse_no_workers_in_the_same_words(call: Callable[[], None]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == "--workers must be 1 or more, it is 0"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_range({"--a": 1, "--b": 3.5}, 0, 2), "--b must be 0 to 2, it is 3.5"),
        (lambda: check_range({"--a": None, "--b": -1}, 0), "--b must be 0 or more, it is -1"),
        (lambda: check_range({"--a": float("inf")}, 0), "--a must be 0 or more, it is inf"),
        (lambda: check_range({"--a": 4294967296}, 0, 4294967295), "--a must be 0 to 4294967295, it is 4294967296"),
        (lambda: check_above_zero({"--a": None, "--b": 0.0}), "--b must be above 0, it is 0"),
        (lambda: check_above_zero({"--a": float("nan")}), "--a must be above 0, it is nan"),
    ],
)
def test_a_value_that_is_out_of_range_is_named(check: Callable[[], None], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check()
    assert str(caught.value) == message


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_help_lists_the_options_by_their_own_names_and_imports_nothing_heavy(command: str) -> None:
    code = f"""
import sys
sys.argv = ["aer", "{command}", "--help"]
from aer.cli.app import main
try:
    main()
except SystemExit as stop:
    assert stop.code == 0
assert not {{"torch", "numpy", "pydantic", "soundfile"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for option in ("--out", "--events", "--hysteresis", "--batch-size", "--device", "--workers"):
        assert f" {option} " in done.stdout
    # neither the group's name nor its description
    assert "machine" not in done.stdout.lower()
