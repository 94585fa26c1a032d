"""What recordings `aer prepare` finds, by folders and by CSV, and all that can be wrong with them."""

import ctypes
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.prepare_runs import add, clip, expected, noise, prepare, report

from aer.corpus.discovery import find_corpus


def test_columns_of_the_csv_are_kept(corpus: Path) -> None:
    (corpus / "train.csv").write_text(
        "ebird_code,filename,xc_id,author,duration\nrobin,a.wav,007,Ann,1\n"
        'wren,c.ogg,008,"Bo, B.",2\nwren,gone.wav,9,X,3\n'
    )
    prepare(corpus / "raw_train_audio")
    table = pd.read_csv(corpus / "train_mod.csv", dtype=str)
    assert table["xc_id"].tolist() == ["007", "008"] and table["author"].tolist() == ["Ann", "Bo, B."]
    assert table["source_duration"].tolist() == ["1", "2"]  # the column's name is taken by the clip's duration
    listed = report(corpus)
    assert listed["wren/gone.wav"] == ("left out", "no such file or directory")
    assert listed["robin/b.flac"] == ("left out", "is not in train.csv")


def test_a_csv_of_paths_and_labels(corpus: Path) -> None:
    base = corpus / "raw_train_audio"
    (base / "clips.csv").write_text("path,labels\nrobin/a.wav,robin;wren\nwren/c.ogg,wren\n")
    prepare(corpus, "--csv", base / "clips.csv")
    found = find_corpus(corpus)
    assert [recording.labels for recording in found.recordings] == [("robin", "wren"), ("wren",)]
    assert all(recording.sample_rate == 32000 for recording in found.recordings)


def test_a_csv_with_folders_below_the_class_and_absolute_paths(corpus: Path) -> None:
    add(corpus, "wren/2020/e.wav", noise(32000, seed=5), 32000)
    (corpus / "train.csv").write_text("ebird_code,filename,labels\nrobin,a.wav,x\nwren,2020/e.wav,y\nwren,c.ogg,z\n")
    prepare("robin/../../raw_train_audio", cwd=corpus / "raw_train_audio")
    assert report(corpus).keys() == {"robin/b.flac", "wren/d.wav"}
    found = find_corpus(corpus)
    assert [recording.labels for recording in found.recordings] == [("robin",), ("wren",), ("wren",)]
    assert found.recordings[1].path == corpus / "resampled_train_audio" / "wren" / "2020" / "e.wav"
    base = corpus / "raw_train_audio"
    (base / "clips.csv").write_text(f"path,labels\n{base / 'robin/a.wav'},robin\nwren/2020/../d.wav,wren\n")
    prepare(".", "--csv", "raw_train_audio/clips.csv", "--out", "other", cwd=corpus)
    names = [recording.path.relative_to(corpus / "other") for recording in find_corpus(corpus / "other").recordings]
    assert [str(name) for name in names] == ["resampled_train_audio/robin/a.wav", "resampled_train_audio/wren/d.wav"]


def test_a_path_out_of_the_corpus_is_refused(corpus: Path) -> None:
    (corpus / "train.csv").write_text("ebird_code,filename\nrobin,../../secret.wav\n")
    assert "which is not below" in prepare(corpus / "raw_train_audio", status=2)


def test_a_class_name_has_one_form(corpus: Path) -> None:
    (corpus / "train.csv").write_text("ebird_code,filename\nrobin/,a.wav\n")
    assert "lists 'robin/' as ebird_code: write robin" in prepare(corpus / "raw_train_audio", status=2)


def test_names_that_would_collide_are_kept_apart(tmp_path: Path) -> None:
    names = ["robin/a.wav", "robin/a.flac", "robin/a_flac.wav", "robin/B.wav", "robin/b.flac", "wren/a.wav"]
    for index, name in enumerate(names):
        add(tmp_path, name, noise(3200, seed=index), 32000)
    prepare(tmp_path)
    table = pd.read_csv(tmp_path / "train_mod.csv").set_index("xc_id")
    for name in names:
        row = table.loc[name]
        made = clip(tmp_path, f"{row.ebird_code}/{row.resampled_filename}")
        assert np.array_equal(made, expected(tmp_path / "raw_train_audio" / name, 32000))
    assert table.loc["wren/a.wav"].resampled_filename == "a.wav"


def bad_files(raw: Path) -> dict[str, str]:
    """Fill the folder with what is broken in every way; return a word of the reason for each."""
    folder = raw / "robin"
    whole = (raw / "robin" / "a.wav").read_bytes()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp3").write_text("not audio")
    (folder / "notes.txt").write_text("seen at dawn")
    soundfile.write(folder / "none.wav", noise(0), 32000)
    soundfile.write(folder / "silent.wav", np.zeros(3200), 32000)
    soundfile.write(folder / "nan.wav", np.full(3200, np.nan), 32000, subtype="FLOAT")
    (folder / "dir.wav").mkdir()
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "nowhere.wav").symlink_to(folder / "gone.wav")
    os.mkfifo(folder / "pipe.wav")
    (raw / "stray.wav").write_bytes(whole)
    return {
        "robin/empty.wav": "is empty",
        "robin/cut.wav": "cut short",
        "robin/text.mp3": "not audio",
        "robin/notes.txt": "no audio, by its name and content",
        "robin/none.wav": "has no samples",
        "robin/silent.wav": "is silent",
        "robin/nan.wav": "NaN",
        "robin/dir.wav": "is a folder",
        "robin/loop.wav": "symbolic link",
        "robin/nowhere.wav": "no such file",
        "robin/pipe.wav": "no ordinary file",
        "stray.wav": "outside of the class folders",
    }


def test_what_is_broken_is_named_and_the_rest_goes_on(corpus: Path) -> None:
    raw = corpus / "raw_train_audio"
    reasons = bad_files(raw)
    shutil.copy(raw / "robin" / "a.wav", raw / "robin" / "mp3 by name, wav by content.mp3")
    printed = prepare(corpus)
    assert "6 recordings are prepared" in printed and f"{len(reasons) - 1} left out, 1 heard only in part" in printed
    listed = report(corpus)
    assert listed.keys() == reasons.keys()
    for name, word in reasons.items():
        status = "partial" if name == "robin/cut.wav" else "left out"
        assert listed[name][0] == status and word in listed[name][1], (name, listed[name])
    made = {path.name for path in (corpus / "resampled_train_audio" / "robin").iterdir()}
    assert made == {"a.wav", "b.wav", "cut.wav", "mp3 by name, wav by content.wav"}  # nothing half is left


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ["höhle/ÄÖ ü 🐦.wav", "höhle/" + "x" * 251 + ".wav", "höhle/" + "é" * 125 + ".wav", "wren/=1+1.wav"]
    names += ["wren/new\nline.wav", "wren/-option.wav", 'wren/"quoted", comma.wav']
    for index, name in enumerate(names):
        add(tmp_path, name, noise(3200, seed=index), 32000)
    raw = tmp_path / "raw_train_audio" / "wren"
    shutil.copy(raw / "-option.wav", os.fsencode(raw) + b"/latin\xe9.wav")
    prepare(tmp_path)
    assert len(find_corpus(tmp_path).recordings) == len(names) + 1
    assert not report(tmp_path)


def without_roots_privilege() -> None:
    """In the child of a root process: permissions hold for it too (capabilities dac_override, dac_read_search)."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            if ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="permissions as Linux has them")
def test_a_file_without_permission(corpus: Path) -> None:
    add(corpus, "tit/t.wav", noise(3200), 32000)
    (corpus / "raw_train_audio" / "wren" / "d.wav").chmod(0)
    (corpus / "raw_train_audio" / "robin").chmod(0)
    try:
        printed = prepare(corpus, preexec_fn=without_roots_privilege)
    finally:
        (corpus / "raw_train_audio" / "robin").chmod(0o755)
    assert "2 recordings are prepared" in printed
    listed = report(corpus)
    assert "ermission denied" in listed["wren/d.wav"][1]
    assert "ermission denied" in listed["robin"][1]


def test_a_class_without_recordings_is_named(corpus: Path) -> None:
    (corpus / "raw_train_audio/owl").mkdir()
    assert "  owl: has no recordings\n" in prepare(corpus)
    assert report(corpus) == {"owl": ("left out", "has no recordings")}
    lines = (corpus / "prepare_report.csv").read_text().splitlines()
    assert lines == [
        "file,status,reason",
        "owl,left out,has no recordings",
        'robin/b.flac,note,"recorded at 22050 Hz: nothing above 11025 Hz, and the band reaches to 16000 Hz"',
    ]


def test_both_durations_of_the_csv_are_kept_and_classes_stay_below(corpus: Path) -> None:
    (corpus / "train.csv").write_text("ebird_code,filename,duration,source_duration\nrobin,a.wav,OWN,SRC\n")
    prepare(corpus)
    row = pd.read_csv(corpus / "train_mod.csv").iloc[0]
    assert (row["source_source_duration"], row["source_duration"], row["duration"] > 1) == ("OWN", "SRC", True)
    (corpus / "train.csv").write_text("ebird_code,filename\n../raw_train_audio,robin/a.wav\n")
    assert "leads out of" in prepare(corpus, status=2)
