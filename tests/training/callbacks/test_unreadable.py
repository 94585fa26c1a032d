"""Recordings that turn out unreadable, in Catalyst's real runner."""

from pathlib import Path

import pytest
import torch
from helpers.toy import N_CLASSES, ToyWindows, toy_train
from sklearn.metrics import average_precision_score

from aer.errors import AerError, InputError


def test_unreadable_windows_are_named_counted_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    valid = ToyWindows(13, seed=5, windows_per_clip=3, unreadable=[4, 9])
    valid.waveforms[valid.unreadable >= 0] = 1e9  # would move every metric
    checkpoints, model = toy_train(tmp_path, epochs=2, valid=valid)
    model.eval()
    readable = valid.unreadable < 0
    with torch.no_grad():
        scores = model(torch.from_numpy(valid.waveforms[readable]))["clipwise_output"].numpy()
    scores = scores.reshape(11, 3, N_CLASSES).mean(axis=1)
    targets = valid.targets[readable][::3]
    assert checkpoints.history[-1]["valid_map"] == pytest.approx(average_precision_score(targets, scores))
    assert [row["valid_unreadable"] for row in checkpoints.history] == [2, 2]
    printed = capsys.readouterr().out
    assert printed.count("left out, as it can't be read: v4") == 1  # named once, not in every epoch
    assert "v9" in printed


@pytest.mark.parametrize(("share", "bad", "ends"), [(0.1, 1, False), (0.1, 2, True), (0.0, 1, True), (0.2, 2, False)])
def test_how_many_unreadable_recordings_a_run_bears(tmp_path: Path, share: float, bad: int, ends: bool) -> None:
    valid = ToyWindows(13, seed=5, windows_per_clip=3, unreadable=range(3, 3 + bad))
    if not ends:
        toy_train(tmp_path, epochs=1, valid=valid, max_unreadable_share=share)
        return
    with pytest.raises(
        AerError, match=rf"{bad} of 13 recordings to validate on .* max_unreadable_share {share:g} .*: v3"
    ):
        toy_train(tmp_path, epochs=1, valid=valid, max_unreadable_share=share)
    listed = (tmp_path / "unreadable.csv").read_text().splitlines()
    assert listed == ["path,loader,epoch,reason", *(f"v{i},valid,1,a reason" for i in range(3, 3 + bad))]


@pytest.mark.parametrize(
    "content", ["path,loader,epoch,reason\nt3,train,,y\n", "name\nt3\n", 'path,loader\n"t3', "path,loader,epoch\nt3\n"]
)
def test_a_damaged_list_of_unreadable_recordings(tmp_path: Path, content: str) -> None:
    (tmp_path / "unreadable.csv").write_text(content)
    with pytest.raises(InputError, match=r"unreadable.csv is damaged .*: mend or remove it, then") as caught:
        toy_train(tmp_path, epochs=1)
    assert "\n" not in str(caught.value)
