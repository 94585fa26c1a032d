"""The plan of the house: which room imports from which, and how long and how documented its modules are.

Lengths are those of the file: a module's are all its lines, a function's those from its `def` to its last line, with
docstring and comments.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.paths import ROOT

MODULE_LINES = 320
FUNCTION_LINES = 50
MODULES = sorted((ROOT / "aer").rglob("*.py"))
ROOMS = [path for path in MODULES if path.name == "__init__.py" and path.parent.name != "aer"]
CONSTANTS = {"aer/corpus/sample/__init__.py": ["SAMPLE_CORPUS", "SAMPLE_SEED"]}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its pyproject.toml in a folder of their own."""
    shutil.copytree(ROOT / "aer", tmp_path / "aer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `make lint` runs, on the package in this folder."""
    command = shutil.which("lint-imports", path=Path(sys.executable).parent)
    assert command is not None, "import-linter is not installed: pip install -e '.[test]'"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [command, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_rooms_keep_their_order(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("audio/info.py", "from aer.training import metrics", "each room imports only from rooms below it"),
        ("training/loop.py", "from aer.inference import plan", "each room imports only from rooms below it"),
        ("corpus/folds.py", "import torch", "sound and corpora are read without torch"),
        ("inference/plan.py", "import catalyst", "Catalyst in training alone"),
        ("utils/files.py", "from aer.utils import csv_files", "no import circles"),
    ],
)
def test_a_forbidden_import_breaks_a_contract(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / "aer" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout
    assert f"{contract} BROKEN" in done.stdout


def test_no_module_is_too_long() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {module: n for module, n in lengths.items() if n > MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{name(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {function: n for function, n in lengths.items() if n > FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", ROOMS, ids=name)
def test_a_room_is_entered_at_once(path: Path) -> None:
    """Its `__init__` holds a docstring and imports nothing of aer's or others', so that `--help` stays quick."""
    docstring, *rest = ast.parse(path.read_bytes()).body
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    assigned = [ast.unparse(node.targets[0]) for node in rest if isinstance(node, ast.Assign)]
    assert assigned == CONSTANTS.get(name(path), [])
    others = [ast.unparse(node) for node in rest if not isinstance(node, ast.Assign)]
    assert others == (["from pathlib import Path"] if assigned else [])


def _undocumented(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_bytes())
    if not ast.get_docstring(tree):
        yield name(path)
    for node in tree.body:
        is_public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if is_public and not ast.get_docstring(node):
            yield f"{name(path)}: {node.name}"


def test_every_public_function_and_class_has_a_docstring() -> None:
    """Modules too; methods need none where their class or the base class says what they do."""
    assert [where for path in MODULES for where in _undocumented(path)] == []
