"""The table of models: each entry is complete, and cheap until a model is built."""

import subprocess
import sys
from typing import get_args

import pytest
import torch
from helpers.bundles import small
from helpers.paths import ROOT

import config
from aer.cli.models import crossval
from aer.models.kinds import KINDS, Kind
from aer.models.registry import MODELS, build_untrained, without_pretrained


def test_every_kind_has_recipes_a_script_and_a_place_in_the_command() -> None:
    assert set(MODELS) == set(KINDS)
    model = crossval.__annotations__["model"]
    assert get_args(model)[0] == Kind
    for kind, entry in MODELS.items():
        assert isinstance(getattr(config, kind), entry.settings)
        assert getattr(config, kind).model == kind
        # `RECIPE` picks one for all
        assert getattr(config, kind.upper()).keys() == config.PANNS.keys()
        assert f'"{kind}"' in (ROOT / f"train_{kind}.py").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_scripts_differ_in_the_model_alone(kind: Kind) -> None:
    panns, other = ((ROOT / f"train_{name}.py").read_text().splitlines()[1:] for name in ("panns", kind))
    assert [line.replace("PANNS", kind.upper()).replace("panns", kind) for line in panns] == other


@pytest.mark.parametrize("kind", MODELS)
def test_an_untrained_model_has_the_shapes_that_are_promised_and_shifts_no_draws(kind: Kind) -> None:
    before = torch.get_rng_state()
    entries = build_untrained(small(kind), 3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    promised = MODELS[kind].shapes(small(kind), 3)
    assert {name: tuple(entries[name].shape) for name in promised} == promised
    assert any(shape[0] == 3 for shape in promised.values())


def test_nothing_is_loaded_or_downloaded_for_an_untrained_model() -> None:
    assert without_pretrained(small("panns", pretrained_panns="not/there.pth")) == small("panns")
    assert without_pretrained(small("resnest", pretrained=True)) == small("resnest", pretrained=False)


def test_the_table_is_read_without_torch() -> None:
    check = "import aer.models.registry, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, timeout=60).returncode == 0
