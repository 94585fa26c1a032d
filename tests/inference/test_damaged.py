"""Damaged recordings in `aer predict`: a part is kept, and done again only when the file or the readers change."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.recordings import recordings_of, write
from helpers.tiny_predict import tiny_plan

from aer.inference import predict, result_store
from aer.inference.recordings import Recording


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    cut = write(tmp_path / "recordings/cut.wav", 4.0, 1)
    cut.write_bytes(cut.read_bytes()[:70_000])
    write(tmp_path / "recordings/whole.wav", 2.0, 2)
    (tmp_path / "recordings/text.wav").write_text("no sound")
    return tmp_path


def done_now(folder: Path) -> set[str]:
    """The recordings that a call goes through."""
    recordings, out = recordings_of(folder / "recordings"), folder / "out"

    def times(recording: Recording) -> int:
        path = result_store.path_of(out, recording)
        return path.stat().st_mtime_ns if path.exists() else 0

    before = {recording.name: times(recording) for recording in recordings}
    predict.predict(recordings, tiny_plan(), out, 4, 2)
    return {recording.name for recording in recordings if times(recording) != before[recording.name]}


def test_a_part_is_kept_and_what_failed_is_tried_again(damaged: Path) -> None:
    assert done_now(damaged) == {"cut.wav", "whole.wav", "text.wav"}
    assert done_now(damaged) == {"text.wav"}
    write(damaged / "recordings/cut.wav", 4.0, 1)
    assert done_now(damaged) == {"cut.wav", "text.wav"}


def test_a_part_that_earlier_readers_have_left_is_done_again(damaged: Path) -> None:
    done_now(damaged)
    (cut,) = [r for r in recordings_of(damaged / "recordings") if r.name == "cut.wav"]
    path = result_store.path_of(damaged / "out", cut)
    with np.load(path) as file:
        arrays = dict(file)
    head = json.loads(str(arrays["head"]))
    del head["readers"]
    np.savez(path, **(arrays | {"head": np.array(json.dumps(head))}))
    assert done_now(damaged) == {"cut.wav", "text.wav"}
    assert done_now(damaged) == {"text.wav"}
