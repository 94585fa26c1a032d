"""Finding the recordings of a corpus, in all layouts, and refusing what is contradictory."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.paths import SHARED
from helpers.settings import sample_settings

from aer.corpus.discovery import check_readable, find_corpus
from aer.corpus.folds import describe, split
from aer.errors import InputError
from aer.training.datasets import multi_hot
from aer.training.folds_table import folds_csv

DIGITS = SHARED / "data/fsdd"


def write(path: Path, duration_s: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(8000 * duration_s)) + 0.1, 8000)
    return path


def test_class_folders(tmp_path: Path) -> None:
    for name in ("wren/b.wav", "wren/a.FLAC", "robin/x.ogg", "NA/1.wav"):
        write(tmp_path / name, 0.5)
    (tmp_path / "robin/notes.txt").write_text("heard at dawn")
    (tmp_path / "robin/.DS_Store").write_text("")
    (tmp_path / "wren/broken.wav").write_text("no sound")
    corpus = find_corpus(tmp_path)
    assert corpus.classes == ("NA", "robin", "wren")
    assert [(r.path.name, r.labels) for r in corpus.recordings] == [
        ("1.wav", ("NA",)),
        ("x.ogg", ("robin",)),
        ("a.FLAC", ("wren",)),
        ("b.wav", ("wren",)),
    ]
    assert {path.name for path, _ in corpus.left_out} == {"notes.txt", "broken.wav"}
    assert corpus.recordings[0].duration_s == 0.5


def test_what_is_cut_short_is_named_and_what_holds_nothing_is_left_out(tmp_path: Path) -> None:
    for name in ("wren/a.wav", "wren/b.wav", "robin/c.wav", "robin/d.wav", "robin/e.wav"):
        write(tmp_path / name, 1)
    whole = (tmp_path / "wren/a.wav").read_bytes()
    (tmp_path / "wren/a.wav").write_bytes(whole[:9044])
    (tmp_path / "robin/e.wav").write_bytes(whole[:44])
    corpus = find_corpus(tmp_path)
    ((path, reason),) = corpus.cut_short
    assert path.name == "a.wav" and "promises 16000 bytes of audio, 9000 are there" in reason
    (cut,) = [recording for recording in corpus.recordings if recording.path == path]
    assert cut.duration_s == 4500 / 8000
    ((path, reason),) = corpus.left_out
    assert path.name == "e.wav"
    # only what can't be read at all counts
    assert [path.name for path, _ in corpus.unreadable] == ["e.wav"]
    text = describe(corpus, split(corpus, sample_settings(n_folds=2, fold=0)))
    assert f"cut short 1, used as far as they are there: {tmp_path / 'wren/a.wav'}" in text


@pytest.mark.parametrize(
    ("n_bad", "share", "ends"), [(1, 0.05, False), (1, 0, True), (2, 0.05, True), (2, 0.2, False), (3, 0.2, True)]
)
def test_how_many_recordings_may_be_unreadable_from_the_start(
    tmp_path: Path, n_bad: int, share: float, ends: bool
) -> None:
    for i in range(10):
        write(tmp_path / f"wren/{i}.wav")
        (tmp_path / f"wren/{i}.txt").write_text("notes are no recordings")
    for i in range(n_bad):
        (tmp_path / f"wren/{i}.wav").write_text("no sound")
    corpus = find_corpus(tmp_path)
    if not ends:
        check_readable(corpus, share)
        return
    with pytest.raises(InputError) as caught:
        check_readable(corpus, share)
    assert f"{n_bad} of 10 recordings ({n_bad}0.0%) can't be read" in str(caught.value)
    assert f"max_unreadable_share {share:g} lets pass: {tmp_path / 'wren/0.wav'}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_birdcall_layouts(tmp_path: Path) -> None:
    for folder, name in (("raw_train_audio", "XC1.wav"), ("resampled_train_audio", "XC1_16k.wav")):
        for code in ("aldfly", "001"):
            write(tmp_path / folder / code / name)
    rows = {"ebird_code": ["aldfly", "001"], "filename": ["XC1.wav"] * 2, "author": ["A", "B"]}
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    corpus = find_corpus(tmp_path, group_by="author")
    assert [str(r.path.relative_to(tmp_path)) for r in corpus.recordings] == [
        "raw_train_audio/aldfly/XC1.wav",
        "raw_train_audio/001/XC1.wav",
    ]
    assert [r.group for r in corpus.recordings] == ["A", "B"]
    pd.DataFrame({**rows, "resampled_filename": ["XC1_16k.wav"] * 2}).to_csv(tmp_path / "train_mod.csv", index=False)
    assert find_corpus(tmp_path).recordings[0].path == tmp_path / "resampled_train_audio/aldfly/XC1_16k.wav"


def test_a_csv_with_several_labels_or_none(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"sounds/{name}.wav")
    (tmp_path / "list.csv").write_text("path,labels\nsounds/a.wav,wren; robin\nsounds/b.wav,wren\nsounds/c.wav,\n")
    corpus = find_corpus(tmp_path, tmp_path / "list.csv")
    assert [r.labels for r in corpus.recordings] == [("wren", "robin"), ("wren",), ()]
    assert corpus.classes == ("robin", "wren")


def test_what_stands_in_a_class_folder_and_is_no_recording(tmp_path: Path) -> None:
    for name in ("robin/1", "wren/1"):
        write(tmp_path / f"{name}.wav")
    folder = tmp_path / "robin"
    (folder / "folder.wav").mkdir()
    (folder / "notes.txt").touch()
    (folder / "nowhere.wav").symlink_to("gone.wav")
    (folder / "round.wav").symlink_to("round.wav")
    corpus = find_corpus(tmp_path)
    assert [path.name for path, _ in corpus.unreadable] == ["nowhere.wav", "round.wav"]
    reasons = {path.name: reason for path, reason in corpus.left_out}
    assert reasons["nowhere.wav"] == "no such file or directory"
    assert "links" in reasons["round.wav"]
    assert reasons["folder.wav"].startswith("is a folder")
    assert reasons["notes.txt"] == "no audio, by its name and content"


def test_the_background_is_no_class(tmp_path: Path) -> None:
    for name in ("robin/1", "robin/2", "wren/1", "wren/2", "nocall/1", "nocall/2"):
        write(tmp_path / f"{name}.wav")
    corpus = find_corpus(tmp_path, background="nocall")
    assert (corpus.classes, corpus.background, corpus.n_unlabelled) == (("robin", "wren"), "nocall", 2)
    labels = {str(recording.path.relative_to(tmp_path)): recording.labels for recording in corpus.recordings}
    assert labels["nocall/1.wav"] == ()
    assert labels["wren/2.wav"] == ("wren",)
    targets = multi_hot(corpus.recordings, corpus.classes)
    assert targets.sum(dim=1).tolist() == [0, 0, 1, 1, 1, 1]
    parts = split(corpus, sample_settings(n_folds=2, fold=0))
    assert [len(corpus.recordings[i].labels) for i in parts.valid] == [0, 1, 1]  # stratified like a class
    assert "2 recordings in which nothing is to be found (nocall)" in describe(corpus, parts)
    side = "valid" if 0 in parts.valid else "train"
    row = f"{tmp_path / 'nocall/1.wav'},,{parts.folds[0]},{side},0.100000,8000"
    assert folds_csv(corpus, parts).splitlines()[1] == row
    with_class = find_corpus(tmp_path)
    assert (with_class.classes, with_class.background) == (("nocall", "robin", "wren"), None)
    assert find_corpus(tmp_path, background="nocal").background is None  # which a run refuses


def test_the_background_beside_another_label_is_a_contradiction(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.wav")
    (tmp_path / "list.csv").write_text("path,labels\na.wav,wren\nb.wav,robin\nc.wav,nocall;wren\n")
    with pytest.raises(
        InputError, match=r"1 recording\(s\) have the background's label nocall and others too: .*c\.wav"
    ):
        find_corpus(tmp_path, tmp_path / "list.csv", background="nocall")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,labels\n../out.wav,wren\n", "which is not below"),
        ("path,labels\n/etc/passwd,wren\n", "which is not below"),
        ("path,labels\nlink/out.wav,wren\n", "which is not below"),
        ("path,labels\nfile.wav,wren\n", "which is not below"),
        ("path,labels\nsub/../../out.wav,wren\n", "which is not below"),
        ("path,labels\na.wav/..,wren\n", "which is not below"),
        ("path,labels\na\0.wav,wren\n", r"lists 'a\\\\x00.wav', which is not below"),
        ("path,labels\nloop/out.wav,wren\n", "that are not there"),
        ("path,labels\nC:/out.wav,wren\n", "that are not there"),
        ("path,labels\n..\\out.wav,wren\n", "that are not there.*write / for each backslash"),
        ("path,labels\nC:\\out.wav,wren\n", "that are not there.*write / for each backslash"),
        (f"path,labels\n{'x' * 5000}.wav,wren\n", "that are not there"),
        ("path,labels\n\u202ex.wav,wren\n", r"/\\u202ex\.wav"),
        ("ebird_code,filename\n..,out.wav\n", "which is not below"),
        ("ebird_code,filename\nwren/,a.wav\n", "lists 'wren/' as ebird_code: write wren"),
        ("ebird_code,filename\n./wren,a.wav\n", "lists './wren' as ebird_code: write wren"),
        ("path,labels\n,wren\n", "which is not below"),
        ("path,labels\na.wav,wren\na.wav,robin\n", r"has 2 rows for files that other rows list too: .*a\.wav"),
        ("path,labels\na.wav,wren\ngone.wav,robin\n", r"lists 1 of 2 files that are not there: .*gone\.wav"),
        ("file,label\na.wav,wren\n", "it has file, label"),
        ("path,labels\n", "has no rows"),
        ("", "has no rows"),
        ('path,labels\n"a.wav,wren\n', "can't be read"),
    ],
)
def test_a_csv_that_can_not_be_used_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    root = tmp_path / "corpus"
    write(root / "a.wav")
    write(tmp_path / "out.wav")
    (root / "link").symlink_to(tmp_path)
    (root / "file.wav").symlink_to(tmp_path / "out.wav")
    (root / "loop").symlink_to("loop")
    (root / "list.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        find_corpus(root, root / "list.csv")
    assert str(caught.value).isprintable()


def test_a_corpus_that_can_not_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not there"):
        find_corpus(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no class folders"):
        find_corpus(tmp_path)
    write(tmp_path / "wren/a.wav")
    with pytest.raises(InputError, match="group_by 'author' is a column of a CSV"):
        find_corpus(tmp_path, group_by="author")
    (tmp_path / "owl").mkdir()
    with pytest.raises(InputError, match=r"class folder .*owl has no recordings"):
        find_corpus(tmp_path)
    (tmp_path / "owl/a.wav").write_text("x")
    (tmp_path / "wren/a.wav").write_text("x")
    with pytest.raises(InputError, match=r"no recording of corpus .* can be read"):
        find_corpus(tmp_path)


@pytest.mark.skipif(not DIGITS.is_dir(), reason="the digits are not beside the project")
def test_the_digits() -> None:
    corpus = find_corpus(DIGITS, group_by="author")
    parts = split(corpus, sample_settings(group_by="author", validation_groups=("theo",)))
    assert (len(corpus.recordings), len(corpus.classes), corpus.left_out) == (2500, 10, ())
    assert (len(parts.train), len(parts.valid), parts.notes) == (2000, 500, ())


def test_a_recording_without_the_channel_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "wren/mono.wav")
    soundfile.write(tmp_path / "wren/stereo.wav", np.full((800, 2), 0.1), 8000)
    for channels, left_out in (("mix", []), ("first", []), ("loudest", []), (1, []), (2, ["mono.wav"])):
        corpus = find_corpus(tmp_path, channels=channels)
        assert [path.name for path, _ in corpus.unreadable] == left_out
    assert corpus.unreadable[0][1] == "has no channel 2: there is 1"
