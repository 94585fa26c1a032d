"""Shared by all tests: they find the project's modules, leave no threads to fight over two cores, and hear Ctrl-C.

With pytest-xdist they begin with those that take longest, so that all processes end at about the same time.
"""

import os
import signal

import pytest
import torch
from helpers.paths import ROOT

# what pyproject.toml has as `pythonpath`, for the scripts that tests start
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
# of one core: tests of the scripts start two workers there too
os.environ.setdefault("PYTHONWARNINGS", "ignore:This DataLoader will create:UserWarning")
torch.set_num_threads(1)  # tests run in parallel processes

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in background jobs of a shell; children would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

# of 10 s or more each, the longest first
LONGEST = (
    "test_survival.py",
    "test_a_run_from_class_folders_to_the_best_model",
    "test_a_run_that_stopped_ends_with_the_very_weights",
    "test_bundle.py",
    "test_predict.py",
    "test_crossval.py",
    "test_two_processes_train_one_model",
    "test_survey.py",
    "test_failures.py",
    "test_frontend.py",
    "test_train.py",
    "test_both_models.py",
    "test_make.py",
    "test_parallel.py",
    "test_prepare.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        return next((i for i, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST))

    items.sort(key=rank)
