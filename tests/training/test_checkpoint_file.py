"""Checkpoint files: whole or absent, and never a way to run code."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from helpers.toy import ToyModel

import config
from aer.errors import AerError, InputError, SigtermError
from aer.training import checkpoint_file
from aer.utils.files import link_whole, write_whole

ABOUT = {"model_kind": "toy", "classes": ["a", "b", "c"], "settings": "{}", "epoch": 4}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Shell:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, ("touch pwned",))


def test_round_trip(tmp_path: Path) -> None:
    checkpoint_file.save(tmp_path / "a.pth", {**ABOUT, "model": {"w": torch.arange(3.0)}, "epoch": 2})
    assert names(tmp_path) == ["a.pth"]
    content = checkpoint_file.load(tmp_path / "a.pth")
    assert content["epoch"] == 2
    assert content["model"]["w"].tolist() == [0, 1, 2]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"old")

    def fail(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(AerError, match="No space left on device; make room"):
        write_whole(path, fail, "make room")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.pth"]


def test_the_old_file_is_kept_once_the_new_one_is_whole(tmp_path: Path) -> None:
    path, previous = tmp_path / "last", tmp_path / "previous"

    def fill(content: bytes, error: Exception | None = None) -> Callable[[IO[bytes]], None]:
        def write(file: IO[bytes]) -> None:
            file.write(content)
            file.flush()
            # at this moment, and if all ends here
            seen.append([p.read_bytes() if p.exists() else b"" for p in (path, previous, tmp_path / ".last.part")])
            if error:
                raise error

        return write

    seen: list[list[bytes]] = []
    write_whole(path, fill(b"1"), "make room")
    for number in (b"2", b"3"):
        write_whole(path, fill(number), "make room", previous)
    with pytest.raises(AerError, match="No space left"):
        write_whole(path, fill(b"4", OSError(28, "No space left on device")), "make room", previous)
    assert seen == [[b"", b"", b"1"], [b"1", b"", b"2"], [b"2", b"1", b"3"], [b"3", b"2", b"4"]]
    assert (path.read_bytes(), previous.read_bytes()) == (b"3", b"2")
    assert path.stat().st_ino != previous.stat().st_ino
    assert names(tmp_path) == ["last", "previous"]
    previous.unlink()
    previous.mkdir()  # the old file can't be kept: no more can the new one take its place
    with pytest.raises(AerError, match=r"can't write .*previous"):
        write_whole(path, fill(b"5"), "make room", previous)
    assert path.read_bytes() == b"3"
    assert names(tmp_path) == ["last", "previous"]


def test_a_signal_while_torch_writes_is_no_full_disk(tmp_path: Path) -> None:
    class Interrupted(io.BytesIO):
        def __init__(self, error: BaseException) -> None:
            super().__init__()
            self.error = error

        def write(self, data: Any) -> int:
            if self.tell() > 1000:
                raise self.error
            return super().write(data)

    for error, expected, message in (
        (SigtermError(), SigtermError, None),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (OSError(28, "No space left on device"), AerError, r"can't write .*No space left on device; make room"),
    ):
        with pytest.raises(expected, match=message):
            write_whole(tmp_path / "a", lambda file, e=error: torch.save(torch.ones(999), Interrupted(e)), "make room")
        assert names(tmp_path) == []


def test_best_is_another_name_of_an_epochs_file(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        (tmp_path / "epoch").write_bytes(content)
        link_whole(tmp_path / "epoch", tmp_path / "best", "make room")
        link_whole(tmp_path / "epoch", tmp_path / "best", "make room")  # the same again changes nothing
        assert (tmp_path / "best").read_bytes() == content
        (tmp_path / "epoch").unlink()
        assert (tmp_path / "best").read_bytes() == content
    assert names(tmp_path) == ["best"]


def broken_files(folder: Path) -> dict[str, Path]:
    whole = folder / "whole.pth"
    checkpoint_file.save(whole, {**ABOUT, "model": {"w": torch.zeros(1000)}})
    files = {name: folder / f"{name}.pth" for name in ("cut", "text", "empty", "code", "other", "pickle")}
    files["cut"].write_bytes(whole.read_bytes()[:1500])
    files["text"].write_text("no weights here")
    files["empty"].write_bytes(b"")
    torch.save({"format": 1, "model": Shell()}, files["code"])
    torch.save({"format": 1, "model": {"w": torch.zeros(1)}}, files["other"])
    files["pickle"].write_bytes(pickle.dumps(Shell()))
    return {**files, "folder": folder, "missing": folder / "missing.pth"}


def test_a_file_that_is_no_checkpoint_is_refused_in_one_line_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in broken_files(tmp_path).values():
        with pytest.raises(InputError) as caught:
            checkpoint_file.load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


def test_initial_weights(tmp_path: Path) -> None:
    settings = config.PANNS["sample"]
    source = ToyModel()
    path = tmp_path / "best.pth"
    about = {**ABOUT, "model_kind": "panns", "settings": settings.model_dump_json()}
    checkpoint_file.save(path, {**about, "model": source.state_dict()})

    model = ToyModel()
    assert "epoch 4" in checkpoint_file.load_initial_weights(path, model, settings, ("a", "b", "c"))
    assert torch.equal(model.head.weight, source.head.weight)

    other = ToyModel()
    fresh_head = other.head.weight.detach().clone()
    assert "a fresh head for 3 classes" in checkpoint_file.load_initial_weights(path, other, settings, ("x", "y", "z"))
    assert torch.equal(other.body.weight, source.body.weight)
    assert torch.equal(other.head.weight, fresh_head)

    with pytest.raises(InputError, match="holds a panns model, and this run trains resnest"):
        checkpoint_file.load_initial_weights(path, model, config.RESNEST["sample"], ("a", "b", "c"))
    slower = settings.model_validate(settings.model_dump() | {"mel": settings.mel.model_dump() | {"hop_samples": 160}})
    with pytest.raises(InputError, match=r"trained with another front end: mel .*'hop_samples': 320"):
        checkpoint_file.load_initial_weights(path, model, slower, ("a", "b", "c"))
    checkpoint_file.save(path, {**about, "model": {"body.weight": torch.zeros(8, 16)}})
    with pytest.raises(InputError, match="does not fit this model"):
        checkpoint_file.load_initial_weights(path, model, settings, ("a", "b", "c"))
