"""A run's folder: what may go on in it, and that no moment of writing it is in the way of the next start."""

import json
from pathlib import Path

import pytest

import config
from aer import lock
from aer.errors import InputError
from aer.runs import changes, check_may_go_on, choose_run_dir, write_run
from aer.settings import PannsSettings

FOLDS = "path,labels,fold,side\na.wav,x,0,train\n"


def settings(folder: Path, **changes: object) -> PannsSettings:
    return PannsSettings.model_validate(config.PANNS["sample"].model_dump() | {"run_dir": folder} | changes)


def started(folder: Path, **changes: object) -> Path:
    """The folder of a run with one epoch behind it."""
    write_run(folder, settings(folder, **changes), ["x", "y"], FOLDS, "path,reason\n")
    (folder / "checkpoints/last.pth").write_text("a checkpoint")
    return folder


def test_the_same_settings_go_on(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    assert check_may_go_on(folder, settings(folder), FOLDS)
    assert check_may_go_on(folder, settings(folder, epochs=99, workers=3, device="cpu"), FOLDS)
    assert (folder / "classes.txt").read_text() == "x\ny\n"
    assert json.loads((folder / "settings.json").read_text())["seed"] == 444


def test_harmless_changes_are_noted(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    assert changes(folder, settings(folder)) == []
    other = settings(folder, epochs=9, workers=1, device="cpu", keep_best=1, checkpoint_every_steps=5, fresh=True)
    assert changes(folder, other) == [
        "changed: epochs 8 -> 9",
        "changed: workers 0 -> 1",
        "changed: device auto -> cpu",
        "changed: keep_best 2 -> 1",
        "changed: checkpoint_every_steps None -> 5",
    ]
    versions = json.loads((folder / "versions.json").read_text())
    (folder / "versions.json").write_text(json.dumps(versions | {"torch": "2.0"}))
    (line,) = changes(folder, settings(folder))
    assert line.startswith(f"changed: torch 2.0 -> {versions['torch']}; ")


def test_a_run_whose_states_are_gone_is_not_overwritten(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    (folder / "metrics.csv").write_text("epoch\n1\n")
    (folder / "checkpoints/last.pth").rename(folder / "checkpoints/previous.pth")
    assert check_may_go_on(folder, settings(folder), FOLDS)
    (folder / "checkpoints/previous.pth").unlink()
    with pytest.raises(InputError, match=r"last.pth and previous.pth are gone: .* --fresh"):
        check_may_go_on(folder, settings(folder), FOLDS)


@pytest.mark.parametrize(
    ("changed", "folds", "message"),
    [
        ({"seed": 5}, FOLDS, "seed 444 -> 5"),
        ({"mixup": {"on": "waveform"}}, FOLDS, "mixup.on off -> waveform"),
        ({"scheduler_params": {"T_max": 9}}, FOLDS, "scheduler_params {'T_max': 8} -> {'T_max': 9}"),
        ({}, FOLDS.replace("a.wav", "b.wav"), "the corpus or its folds have changed"),
    ],
)
def test_other_settings_or_data_are_refused(
    tmp_path: Path, changed: dict[str, object], folds: str, message: str
) -> None:
    folder = started(tmp_path / "run")
    with pytest.raises(InputError) as caught:
        check_may_go_on(folder, settings(folder, **changed), folds)
    assert message in str(caught.value)
    assert "--fresh" in str(caught.value)


def test_one_cycle_can_not_be_made_longer(tmp_path: Path) -> None:
    cycle = {"scheduler": "OneCycleLR", "scheduler_params": {}, "warmup_steps": 0}
    folder = started(tmp_path / "run", **cycle)
    assert check_may_go_on(folder, settings(folder, **cycle), FOLDS)
    with pytest.raises(InputError, match="epochs 8 -> 9"):
        check_may_go_on(folder, settings(folder, **cycle, epochs=9), FOLDS)


def test_a_start_that_was_killed_at_any_file_is_no_obstacle(tmp_path: Path) -> None:
    whole = started(tmp_path / "whole")
    (whole / "checkpoints/last.pth").unlink()
    order = ["settings.json", "classes.txt", "folds.csv", "left_out.csv", "versions.json"]
    for n_written in range(len(order) + 1):
        folder = tmp_path / f"killed_{n_written}"
        folder.mkdir()
        for name in order[:n_written]:
            (folder / name).write_bytes((whole / name).read_bytes())
        (folder / ".settings.json.part").write_text("{ half")
        (folder / lock.NAME).write_text("process 1 on some machine")
        assert not check_may_go_on(folder, settings(folder), FOLDS)
        write_run(folder, settings(folder), ["x", "y"], FOLDS, "path,reason\n")
        assert not list(folder.glob(".*.part"))


def test_folders_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_may_go_on(tmp_path / "file", settings(tmp_path), FOLDS)
    with pytest.raises(InputError, match="holds files that are no run of aer"):
        check_may_go_on(tmp_path, settings(tmp_path), FOLDS)
    assert not check_may_go_on(tmp_path / "new", settings(tmp_path), FOLDS)
    with pytest.raises(InputError, match="can't be written"):
        write_run(tmp_path / "file" / "run", settings(tmp_path), [], FOLDS, "")


def test_fresh_takes_a_new_folder_beside_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run", "run-2"):
        (tmp_path / name).mkdir()
    assert choose_run_dir(settings(tmp_path / "run")) == tmp_path / "run"
    assert choose_run_dir(settings(tmp_path / "run", fresh=True)) == tmp_path / "run-3"
    monkeypatch.chdir(tmp_path / "run")
    assert choose_run_dir(settings(Path(), fresh=True)) == tmp_path / "run-3"
    assert choose_run_dir(settings(tmp_path / "new", fresh=True)) == tmp_path / "new"
