"""A run's folder: what may go on in it, and that no moment of writing it is in the way of the next start."""

import json
from pathlib import Path

import pytest

import config
from aer.errors import InputError
from aer.settings import PannsSettings
from aer.training.run_folder import check_resumable, choose_run_dir, harmless_changes, write_run
from aer.utils import lock

FOLDS = "path,labels,fold,side,duration_s,sample_rate\na.wav,x,0,train,1.5,32000\n"


def settings(folder: Path, **changes: object) -> PannsSettings:
    return PannsSettings.model_validate(config.PANNS["sample"].model_dump() | {"run_dir": folder} | changes)


def started(folder: Path, **changes: object) -> Path:
    """The folder of a run with one epoch behind it."""
    write_run(folder, settings(folder, **changes), ["x", "y"], FOLDS, "path,reason\n")
    (folder / "checkpoints/last.pth").write_text("a checkpoint")
    return folder


def test_the_same_settings_go_on(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    assert check_resumable(folder, settings(folder), FOLDS)
    assert check_resumable(folder, settings(folder, epochs=99, workers=3, device="cpu"), FOLDS)
    assert (folder / "classes.txt").read_text() == "x\ny\n"
    assert json.loads((folder / "settings.json").read_text())["seed"] == 444


def test_harmless_changes_are_noted(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    assert harmless_changes(folder, settings(folder)) == []
    other = settings(folder, epochs=9, workers=1, device="cpu", keep_best=1, checkpoint_every_steps=5, fresh=True)
    assert harmless_changes(folder, other) == [
        "changed: epochs 8 -> 9",
        "changed: workers 0 -> 1",
        "changed: device auto -> cpu",
        "changed: keep_best 2 -> 1",
        "changed: checkpoint_every_steps None -> 5",
    ]
    versions = json.loads((folder / "versions.json").read_text())
    (folder / "versions.json").write_text(json.dumps(versions | {"torch": "2.0"}))
    (line,) = harmless_changes(folder, settings(folder))
    assert line.startswith(f"changed: torch 2.0 -> {versions['torch']}; ")


def test_a_run_whose_states_are_gone_is_not_overwritten(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    (folder / "metrics.csv").write_text("epoch\n1\n")
    (folder / "checkpoints/last.pth").rename(folder / "checkpoints/previous.pth")
    assert check_resumable(folder, settings(folder), FOLDS)
    (folder / "checkpoints/previous.pth").unlink()
    with pytest.raises(InputError, match=r"last.pth and previous.pth are gone: .* --fresh"):
        check_resumable(folder, settings(folder), FOLDS)


@pytest.mark.parametrize(
    ("changed", "folds", "message"),
    [
        ({"seed": 5}, FOLDS, "seed 444 -> 5"),
        ({"mixup": {"on": "waveform"}}, FOLDS, "mixup.on off -> waveform"),
        ({"scheduler_params": {"T_max": 9}}, FOLDS, "scheduler_params {'T_max': 8} -> {'T_max': 9}"),
        ({}, FOLDS.replace("a.wav", "b.wav"), "have changed: 1 gone or unreadable (a.wav), 1 new (b.wav)"),
        ({}, FOLDS.replace("x,0", "x;y,0"), "have changed: 1 with other labels (a.wav)"),
        ({}, FOLDS.replace("0,train", "1,valid"), "have changed: 1 in another fold (a.wav)"),
        ({}, FOLDS.replace("32000", "8000"), "have changed: 1 of another length or sample rate (a.wav)"),
        (
            {},
            FOLDS + "".join(f"\x1b{i},x,0,train,1.5,32000\n" for i in range(5)),
            "5 new (\\x1b0, \\x1b1, \\x1b2 and 2 more)",
        ),
    ],
)
def test_other_settings_or_data_are_refused(
    tmp_path: Path, changed: dict[str, object], folds: str, message: str
) -> None:
    folder = started(tmp_path / "run")
    with pytest.raises(InputError) as caught:
        check_resumable(folder, settings(folder, **changed), folds)
    assert message in str(caught.value)
    assert "--fresh" in str(caught.value)


def test_one_cycle_can_not_be_made_longer(tmp_path: Path) -> None:
    cycle = {"scheduler": "OneCycleLR", "scheduler_params": {}, "warmup_steps": 0}
    folder = started(tmp_path / "run", **cycle)
    assert check_resumable(folder, settings(folder, **cycle), FOLDS)
    with pytest.raises(InputError, match="epochs 8 -> 9"):
        check_resumable(folder, settings(folder, **cycle, epochs=9), FOLDS)


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
        assert not check_resumable(folder, settings(folder), FOLDS)
        write_run(folder, settings(folder), ["x", "y"], FOLDS, "path,reason\n")
        assert not list(folder.glob(".*.part"))


def test_folders_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_resumable(tmp_path / "file", settings(tmp_path), FOLDS)
    with pytest.raises(InputError, match=r"holds files that are no run of aer \(file\)"):
        check_resumable(tmp_path, settings(tmp_path), FOLDS)
    assert not check_resumable(tmp_path / "new", settings(tmp_path), FOLDS)
    with pytest.raises(InputError, match="can't be written"):
        write_run(tmp_path / "file" / "run", settings(tmp_path), [], FOLDS, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"editor.fontSize": 14}', "not of a run of aer"),
        ('{"model": "panns", "epochs": 3}', "not of a run of aer"),
        ("[1]", "not of a run of aer"),
        ("", "damaged, or not of a run of aer"),
        ('{"corpus": "bir', "damaged, or not of a run of aer"),
        ("[" * 100_000, "damaged, or not of a run of aer"),
        (b"\xff\xfe", "damaged, or not of a run of aer"),
        (None, "Is a directory"),
    ],
)
def test_settings_that_no_run_has_written(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    folder = started(tmp_path / "run")
    path = folder / "settings.json"
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    for _ in ("with a state", "without"):
        with pytest.raises(InputError, match=message) as caught:
            check_resumable(folder, settings(folder), FOLDS)
        assert "\n" not in str(caught.value)
        assert "another --run-dir" in str(caught.value)
        (folder / "checkpoints/last.pth").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("thesis.txt", r"no run of aer \(thesis.txt\)"),
        ("best.aer", r"no run of aer \(best.aer\)"),
        (".thesis.part", r"no run of aer \(.thesis.part\)"),
        ("checkpoints/epoch_best_of_2023.pth", r"no run of aer \(checkpoints/epoch_best_of_2023.pth\)"),
        ("checkpoints/epoch_0002.pth", "last.pth and previous.pth are gone"),
        ("tensorboard/valid/events.out.tfevents.1", r"no run of aer \(tensorboard/valid/events.out.tfevents.1\)"),
    ],
)
def test_without_a_state_nothing_else_may_be_in_the_folder(tmp_path: Path, name: str, message: str) -> None:
    folder = started(tmp_path / "run")
    (folder / "checkpoints/last.pth").unlink()
    # of a run that was killed between its first epoch's weights and its first state
    for own in ("epoch_0001.pth", "best.pth", ".last.pth.part"):
        (folder / "checkpoints" / own).write_text("")
    for own in ("unreadable.csv", "nonfinite_batch.csv", ".unreadable.csv.part", lock.NAME):
        (folder / own).write_text("")
    (folder / "tensorboard").mkdir()
    assert not check_resumable(folder, settings(folder), FOLDS)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("mine")
    with pytest.raises(InputError, match=message):
        check_resumable(folder, settings(folder), FOLDS)


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard"])
def test_a_file_where_a_run_has_a_folder(tmp_path: Path, name: str) -> None:
    folder = started(tmp_path / "run")
    if (folder / name).exists():
        (folder / name).rename(folder / "away")
    (folder / name).write_text("")
    with pytest.raises(InputError, match=f"{name} is a file where a run has a folder"):
        check_resumable(folder, settings(folder), FOLDS)


def test_folds_that_can_not_be_compared(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    (folder / "folds.csv").write_text("name\na.wav\n")
    with pytest.raises(InputError, match=r"folds.csv is damaged: .*--fresh"):
        check_resumable(folder, settings(folder), FOLDS)
    (folder / "folds.csv").unlink()
    with pytest.raises(InputError, match=r"folds.csv can't be read: No such file.*--fresh"):
        check_resumable(folder, settings(folder), FOLDS)


def test_a_damaged_versions_json_is_reported(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    for content in ("{", "3", '["torch"]'):
        (folder / "versions.json").write_text(content)
        (line,) = harmless_changes(folder, settings(folder))
        assert "versions.json can't be read" in line


def test_values_from_a_folder_do_not_drive_the_terminal(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    written = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps(written | {"device": "\x1b[31m"}))
    assert harmless_changes(folder, settings(folder)) == ["changed: device \\x1b[31m -> auto"]
    (folder / "settings.json").write_text(json.dumps(written | {"clip_score": "\x1b[31m", "\x1b": 1}))
    with pytest.raises(InputError) as caught:
        check_resumable(folder, settings(folder), FOLDS)
    assert "\x1b" not in str(caught.value)
    assert "clip_score \\x1b[31m -> mean" in str(caught.value)


def test_fresh_takes_a_new_folder_beside_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run", "run-2"):
        (tmp_path / name).mkdir()
    assert choose_run_dir(settings(tmp_path / "run")) == tmp_path / "run"
    assert choose_run_dir(settings(tmp_path / "run", fresh=True)) == tmp_path / "run-3"
    monkeypatch.chdir(tmp_path / "run")
    assert choose_run_dir(settings(Path(), fresh=True)) == tmp_path / "run-3"
    assert choose_run_dir(settings(tmp_path / "new", fresh=True)) == tmp_path / "new"


def test_a_run_from_before_there_were_channels_is_resumed_with_their_mean(tmp_path: Path) -> None:
    folder = started(tmp_path / "run")
    path = folder / "settings.json"
    written = json.loads(path.read_text())
    assert written.pop("channels") == "mix"
    path.write_text(json.dumps(written))
    assert check_resumable(folder, settings(folder), FOLDS)
    assert not harmless_changes(folder, settings(folder))
    with pytest.raises(InputError, match=r"other settings \(channels mix -> first\)"):
        check_resumable(folder, settings(folder, channels="first"), FOLDS)
    path.write_text(json.dumps({**written, "channels": 2}))
    with pytest.raises(InputError, match=r"other settings \(channels 2 -> mix\)"):
        check_resumable(folder, settings(folder), FOLDS)
    assert check_resumable(folder, settings(folder, channels=2), FOLDS)
