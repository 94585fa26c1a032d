# make train   sets up .venv, makes the sample corpus, trains both models
# make test    sets up .venv with the test tools, runs the tests
# make lint    ruff, mypy and the import order of the rooms
# make clean   removes what the above made, except corpora and runs
.PHONY: train test lint clean

PYTHON ?= python3
BIN := .venv/bin
# pip 24.1 and later refuse the metadata of Catalyst 22.4
PIP_BELOW := pip<24.1
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# instead of pip, which compiles on one core; files that are no Python of this version are passed over, as by pip
COMPILE := $(BIN)/python -m compileall -q -j 0 .venv/lib > /dev/null || true

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

.venv/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aer needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) '$(PIP_BELOW)'
	$(INSTALL) -e .
	$(COMPILE)
	touch $@

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) '$(PIP_BELOW)'
	$(INSTALL) -e '.[test]'
	$(COMPILE)
	touch $@ .venv/installed

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
