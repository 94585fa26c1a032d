"""Settings: what config.py may say, and how mistakes in it are reported."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import launcher
from helpers.paths import ROOT
from pydantic import ValidationError

import config
from aer.cli.config import explain, read_settings
from aer.errors import InputError
from aer.settings import PannsSettings, ResnestSettings, pick_recipe
from aer.utils.text import near_matches

PANNS = config.PANNS["sample"]


def changed(**changes: object) -> PannsSettings:
    return PannsSettings.model_validate(PANNS.model_dump() | changes)


def test_recipes_of_the_design() -> None:
    panns, resnest = config.PANNS["birdcall"], config.RESNEST["birdcall"]
    assert (panns.sample_rate, panns.clip_duration_s, panns.batch_size, panns.epochs) == (32000, 5.0, 64, 100)
    assert (panns.learning_rate, panns.scheduler_params["T_max"], panns.fold, panns.n_folds) == (7.5e-4, 16, 4, 9)
    assert panns.clip_frames == 501  # 5 s at hop 320, centred
    assert (resnest.epochs, resnest.scheduler_params["T_max"], resnest.fold, resnest.n_folds) == (80, 20, 4, 8)
    assert (resnest.loss_func, resnest.mixed_precision, resnest.pretrained) == ("Focal", "fp16", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": -1}, "batch_size: input should be greater than 1, it is -1"),
        ({"bach_size": 3}, "there is no setting bach_size (did you mean batch_size?)"),
        ({"mel": {**PANNS.mel.model_dump(), "n_mells": 3}}, "there is no setting mel.n_mells (did you mean n_mels?)"),
        ({"loss_func": "PANNLoss"}, "(did you mean PANNsLoss?)"),
        ({"fold": 5}, "fold 5 is out of range: n_folds is 5, so 0 to 4"),
        ({"clip_duration_s": 0.1}, "mel bins and frames at least"),
        ({"clip_duration_s": 1.00001}, "whole number of samples"),
        ({"learning_rate": float("nan")}, "learning_rate: input should be a finite number"),
        ({"fold_seed": 2**32}, "fold_seed: input should be less than or equal to 4294967295, it is 4294967296"),
        ({"seed": 2**31}, "seed: input should be less than or equal to 2147483647, it is 2147483648"),
        ({"sample_rate": 8000}, "above half the sample rate"),
        ({"validation_groups": ("theo",)}, "validation_groups needs group_by"),
        ({"loss_func": "CrossEntropy", "mixup": {"on": "waveform"}}, "mixup makes two"),
        ({"waveform_augment": {"noise_snr_db": (20, 3)}}, "noise_snr_db: 20 is above 3"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        changed(**changes)
    line = explain(caught.value, PannsSettings)
    assert message in line
    assert "\n" not in line


def test_options_override_the_config_module(tmp_path: Path) -> None:
    options = [
        "--batch-size",
        "8",
        "--mel.n-mels",
        "32",
        "--optimizer-params",
        '{"weight_decay": 0.1}',
        "--csv",
        "a.csv",
    ]
    settings = read_settings(PannsSettings, "panns", ROOT / "config.py", options)
    assert (settings.batch_size, settings.mel.n_mels, settings.csv) == (8, 32, Path("a.csv"))
    assert settings.optimizer_params == {"weight_decay": 0.1}
    assert settings.learning_rate == config.panns.learning_rate


def test_another_config_module(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text((ROOT / "config.py").read_text().replace('RECIPE = "sample"', 'RECIPE = "birdcall"'))
    settings = read_settings(ResnestSettings, "resnest", ROOT / "config.py", ["--config", str(other)])
    assert settings == config.RESNEST["birdcall"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("panns = 1 +", "line 1: SyntaxError"),
        ("x = 1\npanns = nothing", "line 2: NameError: name 'nothing' is not defined"),
        ("x = 1", "must set panns to PannsSettings(...), it is NoneType"),
        ("from aer.settings import *\npanns = pick_recipe({'sample': 1}, 'sampel')", "did you mean sample?"),
        (
            "from aer.settings import *\npanns = PannsSettings(epoch=3)",
            "there is no setting epoch (did you mean epochs",
        ),
    ],
)
def test_a_broken_config_module_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    other = tmp_path / "other.py"
    other.write_text(text)
    with pytest.raises(InputError) as caught:
        read_settings(PannsSettings, "panns", other, [])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--batch-size -2", "error: batch_size: input should be greater than 1, it is -2"),
        ("--bach-size 3", "error: Unrecognized options: --bach-size, 3 (did you mean --batch-size?)"),
        ("--batch-size x", "error: Error parsing --batch-size"),
        ("--loss-func nothing", "error: invalid choice 'nothing' for argument '--loss-func'"),
        ("--optimizer-params {", "error: Error parsing --optimizer-params"),
        ("--fold 7", "error: fold 7 is out of range"),
        ("--config nowhere.py", "error: config module nowhere.py is not there"),
    ],
)
@pytest.mark.parametrize("script", ["train_panns.py", "train_resnest.py"])
def test_bad_options_end_a_script_with_one_line_and_status_2(script: str, options: str, message: str) -> None:
    done = launcher.run([sys.executable, ROOT / script, *options.split()], forked=script == "train_resnest.py")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_help_lists_the_settings_and_imports_no_torch() -> None:
    code = """
import runpy, sys
sys.argv = ["train_panns.py", "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as stop:
    assert stop.code == 0
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for name in ("--batch-size", "--learning-rate", "--loss-func", "--mel.n-mels", "--config"):
        assert name in done.stdout


def test_near_matches_and_recipes() -> None:
    assert near_matches("adamw", ["Adam", "AdamW", "SGD"]) == " (did you mean AdamW or Adam?)"
    assert near_matches("xyz", ["Adam"]) == ""
    with pytest.raises(InputError, match="there are sample, birdcall"):
        pick_recipe(config.PANNS, "other")
