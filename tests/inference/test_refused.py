"""What no reader takes: it is in files.csv, prepare_report.csv and left_out.csv, with what to do about it."""

import csv
import zipfile
from pathlib import Path

import pytest
from helpers.encoded import encode, sound
from helpers.prepare_runs import prepare, report
from helpers.recordings import recognised, recordings_of, write
from helpers.tiny_predict import tiny_plan

from aer.corpus.discovery import find_corpus
from aer.outputs.tables import write_files_csv
from aer.training.folds_table import left_out_csv

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"
REFUSED = {
    "pointer.wav": (LFS, "git lfs pull"),
    "page.mp3": (b"<!DOCTYPE html><html><body>Please log in</body></html>", "a web page: download"),
    "text.flac": (b"seen at dawn\n" * 50, "text or a playlist"),
    "unfinished.m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(4) + b"\0\0\0\x10mdat" + bytes(8), "untrunc"),
    "recorder.wac": (b"WAac" + bytes(200), "Kaleidoscope or wac2wav"),
    "recorder": (b"WAac" + bytes(200), "Kaleidoscope or wac2wav"),
    "empty.wav": (b"", "is empty (0 bytes)"),
    "zeros.wav": (bytes(70_000), "copy it again"),
}


def refused_files(folder: Path) -> dict[str, str]:
    """Write what is no recording; return a word of each one's reason."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in REFUSED.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "archive.wav", "w") as archive:
        archive.writestr("inside.wav", "sound")
    bought = encode(folder / "bought.m4p", [(sound(1, 16000), 16000)], "aac", muxer="ipod")
    # what a shop's encryption makes of the sample description
    bought.write_bytes(bought.read_bytes().replace(b"mp4a", b"drms", 1))
    return {name: words for name, (_, words) in REFUSED.items()} | {
        "archive.wav": "a zip archive: unpack it",
        "bought.m4p": "encrypted (DRM)",
    }


def check(reasons: dict[str, str], words: dict[str, str]) -> None:
    """Each is there, says what to do, in one line."""
    assert reasons.keys() == words.keys()
    for name, word in words.items():
        assert word in reasons[name] and "\n" not in reasons[name], (name, reasons[name])


def test_in_files_csv(tmp_path: Path) -> None:
    words = refused_files(tmp_path / "in")
    write_files_csv(recognised(recordings_of(tmp_path / "in"), tiny_plan()), tmp_path / "files.csv")
    with (tmp_path / "files.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    check({row["file"]: row["reason"] for row in rows}, words)
    statuses = {row["file"]: row["status"] for row in rows}
    assert statuses.pop("empty.wav") == "empty"
    assert set(statuses.values()) == {"failed"}


@pytest.mark.parametrize("by_training", [False, True])
def test_in_a_corpus(tmp_path: Path, by_training: bool) -> None:
    raw = tmp_path / "raw_train_audio"
    words = {f"robin/{name}": word for name, word in refused_files(raw / "robin").items()}
    for name in ("robin/a.wav", "wren/b.wav"):
        write(raw / name, 1, 1)
    if by_training:
        rows = csv.DictReader(left_out_csv(find_corpus(tmp_path)).splitlines())
        reasons = {Path(row["path"]).relative_to(raw).as_posix(): row["reason"] for row in rows}
    else:
        prepare(tmp_path)
        reasons = {name: reason for name, (status, reason) in report(tmp_path).items() if status == "left out"}
    check(reasons, words)
