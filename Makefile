# make train   sets up .venv, makes the sample corpus, trains both models
# make test    sets up .venv with the test tools, runs the tests
# make lint    ruff, mypy and the import order of the rooms
# make clean   removes what the above made, except corpora and runs
.PHONY: train test lint clean

PYTHON ?= python3
BIN := .venv/bin
# pip 24.1 and later refuse the metadata of Catalyst 22.4
PIP_BELOW := pip<24.1
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

train: .venv/installed
	$(BIN)/python train_panns.py
	$(BIN)/python train_resnest.py

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aer needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check '$(PIP_BELOW)'
	$(INSTALL) -e .
	touch $@

.venv/installed-test: .venv/installed
	$(INSTALL) -e '.[test]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
