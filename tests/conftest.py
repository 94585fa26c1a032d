"""Shared by all tests: they find the project's modules, and leave no threads to fight over two cores."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # config.py and the scripts are no package
sys.path.insert(0, str(Path(__file__).parent))  # toy.py
torch.set_num_threads(1)  # tests run in parallel processes
