"""Shared by all tests: they find the project's modules, leave no threads to fight over two cores, and hear Ctrl-C."""

import os
import signal

import torch
from helpers.paths import ROOT

# what pyproject.toml has as `pythonpath`, for the scripts that tests start
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
# of one core: tests of the scripts start two workers there too
os.environ.setdefault("PYTHONWARNINGS", "ignore:This DataLoader will create:UserWarning")
torch.set_num_threads(1)  # tests run in parallel processes

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in background jobs of a shell; children would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
