"""Which files are recordings, and what they are called."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from helpers.encoded import encode, sound
from helpers.paths import ROOT
from helpers.recordings import recognised, recordings_of, write
from helpers.tiny_predict import tiny_plan

from aer.errors import InputError
from aer.inference.recordings import SEGMENTS_COLUMNS, Recording, find_recordings, no_audio_line


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


def test_nothing_that_could_be_audio_is_passed_over(tmp_path: Path) -> None:
    wav = write(tmp_path / "a.wav", 0.1, 1).read_bytes()
    encode(tmp_path / "b.mp2", [(sound(1, 44100), 44100)], "mp2").rename(tmp_path / "b")
    encode(tmp_path / "c.wv", [(sound(1, 16000), 16000)], "wavpack").rename(tmp_path / "c.001")
    (tmp_path / "d.dat").write_bytes(wav)
    # by their names
    for name in ("e.wac", "f.ape", "g.MP2", "h.3gp"):
        (tmp_path / name).write_bytes(b"anything")
    texts = ("The free text", "MAC OS notes", "MP+ and more", "", "RIFF")
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.TXT").write_text(text)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(5000))
    (tmp_path / "README").write_text("where it was")
    (tmp_path / "nowhere.txt").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".hidden").write_bytes(wav)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/segments.csv").write_text(",".join(SEGMENTS_COLUMNS) + "\n")
    (tmp_path / "cut/a.wav").write_bytes(wav)
    no_audio: Counter[str] = Counter()
    names = [recording.name for recording in find_recordings([tmp_path], no_audio)]
    assert names == ["a.wav", "b", "c.001", "d.dat", "e.wac", "f.ape", "g.MP2", "h.3gp"]
    assert no_audio == {".txt": 6, ".jpg": 1, "without suffix": 2}
    assert no_audio_line(no_audio) == "no audio: 6 .txt, 2 without suffix, 1 .jpg"
    assert no_audio_line(Counter()) == ""


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
