"""Which files are recordings, and what they are called."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.recordings import recognised, recordings_of, write
from helpers.tiny_predict import tiny_plan

from aer.errors import InputError
from aer.inference.recordings import Recording, find_recordings


def test_what_recordings_are_called(folder: Path) -> None:
    (folder / "notes.txt").write_text("none")
    write(folder / ".hidden/x.wav", 0.1, 1)
    write(folder / "out/y.wav", 0.1, 1)
    names = [recording.name for recording in recordings_of(folder)]
    assert names[:2] == ["many/channels.wav", "many/one_sample.wav"]
    assert len(names) == 12
    files = find_recordings([folder / "site/0.wav", folder / "site"])
    assert [file.name for file in files] == ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav", "5.wav", "stereo.flac"]
    write(folder / "elsewhere/0.wav", 0.1, 1)
    with pytest.raises(InputError, match=r"would both be called 0\.wav: give the folder around both"):
        find_recordings([folder / "site", folder / "elsewhere"])
    with pytest.raises(InputError, match="nowhere is not there"):
        find_recordings([folder / "nowhere"])
    (folder / "bare").mkdir()
    with pytest.raises(InputError, match="no recordings there"):
        find_recordings([folder / "bare"])


def test_links_and_closed_folders(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    site, elsewhere = folder / "site", tmp_path_factory.mktemp("elsewhere")
    write(elsewhere / "deep/z.wav", 0.1, 1)
    (site / "loop").symlink_to(folder)
    (site / "a_disk").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(site)
    names = [recording.name for recording in find_recordings([site, site / "0.wav"])]
    assert names[:8] == [*(f"{n}.wav" for n in range(6)), "stereo.flac", "a_disk/deep/z.wav"]
    assert names[8:] == [f"loop/many/{name}.wav" for name in ("channels", "one_sample", "silent", "ultrasonic")]

    shared = Path(tempfile.mkdtemp(dir="/tmp"))  # others may look into it, unlike pytest's
    try:
        write(shared / "open/a.wav", 0.1, 1)
        write(shared / "closed/b.wav", 0.1, 1)
        shared.chmod(0o755)
        (shared / "closed").chmod(0)
        code = (
            "import os, pathlib, sys; from aer.inference.recordings import find_recordings;"
            "os.geteuid() or os.seteuid(65534);"
            "print([(r.name, r.trouble) for r in find_recordings([pathlib.Path(sys.argv[1])])])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, shared], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.stdout == (
            "[('open/a.wav', ''), ('closed', \"a folder that can't be looked into: permission denied\")]\n"
        ), done.stderr
    finally:
        (shared / "closed").chmod(0o755)
        shutil.rmtree(shared)
    (result,) = recognised(
        [Recording(shared / "closed", "closed", 0, 0, "a folder that can't be looked into")], tiny_plan()
    )
    assert (result.status, result.reason) == ("failed", "a folder that can't be looked into")
