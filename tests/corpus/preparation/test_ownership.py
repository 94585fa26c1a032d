"""What `aer prepare` has not made is neither replaced nor removed."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.prepare_runs import add, noise, prepare, report, snapshot


def test_clips_whose_recording_is_gone_are_kept_and_named(corpus: Path) -> None:
    prepare(corpus)
    (corpus / "raw_train_audio" / "wren" / "d.wav").unlink()
    prepare(corpus)
    assert (corpus / "resampled_train_audio" / "wren" / "d.wav").exists()
    assert report(corpus)["wren/d.wav"][0] == "stale"
    assert "d.wav" not in (corpus / "train_mod.csv").read_text()


def test_other_options_replace_the_clips(corpus: Path) -> None:
    prepare(corpus, "--segment", 0.3)
    prepare(corpus)
    made = sorted(path.name for path in (corpus / "resampled_train_audio").rglob("*.wav"))
    assert made == ["a.wav", "b.wav", "c.wav", "d.wav"]


def foreign(root: Path, name: str) -> Path:
    path = root / "resampled_train_audio" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    return path


@pytest.mark.parametrize("options", [[], ["--segment", 0.3]])
def test_clips_that_it_has_not_made_are_not_replaced(corpus: Path, options: list[object]) -> None:
    mine = foreign(corpus, "robin/a_000000100.wav" if options else "robin/a.wav")
    other = foreign(corpus, "robin/other.wav")
    printed = prepare(corpus, *options, status=2)
    assert "has not made" in printed and str(mine) in printed and "--out" in printed
    assert mine.read_bytes() == b"mine" and len(list((corpus / "resampled_train_audio").rglob("*"))) == 3
    mine.unlink()
    prepare(corpus, *options)
    assert other.read_bytes() == b"mine" and report(corpus)["robin/other.wav"][0] == "stale"


def test_clips_renamed_before_they_were_journalled_are_made_again(corpus: Path) -> None:
    prepare(corpus)
    before = snapshot(corpus)
    path = corpus / ".aer_prepare.jsonl"
    begun = {"name": "robin/a.wav", "stem": "a", "format": "wav", "segmented": False}
    head, *entries = path.read_text().splitlines()
    kept = [line for line in entries if "robin/a.wav" not in line]
    path.write_text("\n".join([head, json.dumps({"begun": begun}), *kept]) + "\n")
    (corpus / "resampled_train_audio" / "robin" / "a.wav").write_bytes(b"half")
    assert "3 are done already" in prepare(corpus)
    assert snapshot(corpus) == before


def test_recordings_among_the_clips_are_not_touched(corpus: Path) -> None:
    clips = corpus / "resampled_train_audio"
    raw = add(corpus, "robin/a.wav", noise(3200), 44100).rename(foreign(corpus, "robin/a.wav"))
    before = raw.read_bytes()
    (clips / "clips.csv").write_text("path,labels\nrobin/a.wav,robin\n")
    assert "where the clips go" in prepare(corpus, "--csv", clips / "clips.csv", status=2)
    assert raw.read_bytes() == before
    shutil.rmtree(clips)
    clips.mkdir()
    (clips / "robin").symlink_to("../raw_train_audio/robin")
    names = sorted((corpus / "raw_train_audio" / "robin").iterdir())
    assert "where recordings are" in prepare(corpus, status=2)
    assert sorted((corpus / "raw_train_audio" / "robin").iterdir()) == names


def test_tables_that_are_not_its_own_stay(corpus: Path) -> None:
    table = corpus / "train_mod.csv"
    table.write_text("ebird_code,filename,note\nrobin,a.wav,mine\n")
    assert "has not made" in prepare(corpus, status=2)
    assert "name a copy" in prepare(corpus, "--csv", table, status=2)
    assert "mine" in table.read_text()
    table.unlink()
    prepare(corpus)
    made = table.read_bytes()
    for path in (corpus / "raw_train_audio").rglob("*.*"):
        path.write_bytes(b"")
    assert "none of the recordings" in prepare(corpus, status=1)
    assert table.read_bytes() == made
    assert (corpus / "prepare_report.csv").read_text().count("left out") == 4


def test_other_options_after_a_stop_leave_no_clips_behind(corpus: Path) -> None:
    prepare(corpus, "--out", corpus / "undisturbed")
    prepare(corpus, "--segment", 0.3)
    segmented = (corpus / ".aer_prepare.jsonl").read_text().splitlines()
    lines = (corpus / "undisturbed" / ".aer_prepare.jsonl").read_text().splitlines()
    clips = corpus / "resampled_train_audio"
    for name in ("robin/a.wav", "robin/b.wav"):  # the state of a run without --segment that was killed half-way
        shutil.copy(corpus / "undisturbed" / "resampled_train_audio" / name, clips / name)
    (corpus / ".aer_prepare.jsonl").write_text("\n".join([*segmented, *lines[1:3]]) + "\n")
    assert "2 are done already" in prepare(corpus)
    assert sorted(path.name for path in clips.rglob("*.wav")) == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert not report(corpus)


def test_other_recordings_of_the_same_names_are_refused(corpus: Path) -> None:
    out = corpus / "out"
    prepare(corpus, "--out", out)
    shutil.copytree(corpus / "raw_train_audio", corpus / "other_birds")
    printed = prepare(corpus / "other_birds", "--out", out, status=2)
    assert "was made from ../raw_train_audio" in printed and "--out" in printed
    assert "4 are done already" in prepare(corpus, "--out", out)
    moved = corpus.with_name("moved")
    corpus.rename(moved)
    assert "4 are done already" in prepare(moved, "--out", moved / "out")


def test_clips_of_a_class_that_is_gone_are_named(corpus: Path) -> None:
    prepare(corpus)
    shutil.rmtree(corpus / "raw_train_audio" / "wren")
    prepare(corpus)
    assert report(corpus).keys() == {"wren/c.wav", "wren/d.wav"}


def test_a_journal_that_makes_no_sense(corpus: Path) -> None:
    path = corpus / ".aer_prepare.jsonl"
    path.mkdir()
    assert "can't be read" in prepare(corpus, status=2)
    path.rmdir()
    prepare(corpus)
    before = snapshot(corpus)
    (corpus / "resampled_train_audio" / "robin" / "loop").symlink_to("loop")
    path.write_text(path.read_text().replace('"n_clipped": 0', '"n_clipped": "x"') + "[]\n7\n")
    assert "has not made" in prepare(corpus, status=2)
    path.write_bytes(before[path.name] + b"[]\n7\n")
    prepare(corpus)
    assert snapshot(corpus) == before
