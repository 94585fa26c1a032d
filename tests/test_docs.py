"""What README, CONTRIBUTING and docs/ name is there: modules, tests, files that they link to."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = ROOT / "docs/architecture.md"
# names that stand for those of whoever adds a model
INVENTED = {"aer/models/mine.py", "tests/models/test_mine.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_tests_and_links_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:aer|tests|benchmarks|docs)/[\w/]+\.\w+)(?:::\w+)?`", text)) - INVENTED
    links = {link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link}
    assert not [name for name in sorted(files) if not (ROOT / name).is_file()]
    assert not [link for link in sorted(links) if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_are_there(page: Path) -> None:
    """`tests/x.py::test_y`, and after it `::test_z` for another test of the same file."""
    file = ""
    for name, test in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", page.read_text(encoding="utf-8")):
        file = name or file
        assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_the_picture_of_the_rooms_is_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [layer.split(" | ") for layer in contracts[0]["layers"]]
    allowed = {(upper, lower) for above, below in pairwise(layers) for upper in above for lower in below}
    picture = ARCHITECTURE.read_text(encoding="utf-8").split("```mermaid")[1].split("```")[0]
    assert set(re.findall(r"^    (\w+) --> (\w+)$", picture, re.MULTILINE)) == allowed


def test_the_tables_of_rooms_have_every_module() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    rooms = text[text.index("## The rooms") : text.index("## A recording through training")]
    named, room = set(), ""
    for line in rooms.splitlines():
        if line.startswith("### `aer/settings.py`"):
            room = ""
        elif heading := re.match(r"### `aer/(\w+)/`", line):
            room = heading[1] + "/"
        elif line.startswith("| `"):
            named |= {f"{room}{name}.py" for name in re.findall(r"`([\w/]+)`", line.split("|")[1])}
    there = {
        path.relative_to(ROOT / "aer").as_posix()
        for path in (ROOT / "aer").rglob("*.py")
        if not path.name.startswith("__")
    }
    # old copies of config.py import it
    assert named == there - {"sample_corpus.py"}
