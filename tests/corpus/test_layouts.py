"""The layouts of corpora, and what training and `aer prepare` each make of the same one."""

from pathlib import Path

import pytest
import soundfile

from aer.corpus.discovery import find_corpus
from aer.corpus.layouts import FILENAME, NO_AUDIO, OUTSIDE, RESAMPLED, CsvListing, list_class_folders, parse_csv
from aer.corpus.preparation.sources import list_sources
from aer.errors import InputError


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, [0.1] * 800, 8000)
    return path


def test_class_folders(tmp_path: Path) -> None:
    files = [write(tmp_path / name) for name in ("robin/a.wav", "robin/b.flac", "wren/c.ogg")]
    for hidden in (".git/a.wav", "robin/.a.wav"):
        write(tmp_path / hidden)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "owl").mkdir()
    found = [(folder.path.name, list(folder.files), folder.problem) for folder in list_class_folders(tmp_path)]
    expected = [("notes.txt", [], OUTSIDE), ("owl", [], ""), ("robin", files[:2], ""), ("wren", files[2:], "")]
    assert found == expected
    with pytest.raises(InputError, match="can't be read"):
        list_class_folders(tmp_path / "nowhere")


def parse(file_columns: tuple[str, ...], **columns: list[str]) -> CsvListing:
    return parse_csv(Path("list.csv"), columns, file_columns, "others")


def test_what_a_csv_lists() -> None:
    both = (RESAMPLED, FILENAME)
    listing = parse(both, path=["x/a.wav", "b.wav"], labels=["wren; robin;wren", ""])
    assert (listing.names, listing.labels(), listing.by_class) == (["x/a.wav", "b.wav"], [("wren", "robin"), ()], False)
    assert listing.rows()[1] == {"path": "b.wav", "labels": ""}
    birdcall = {"ebird_code": ["wren"], "filename": ["a.mp3"]}
    assert (parse(both, **birdcall).names, parse(both, **birdcall).labels()) == (["wren/a.mp3"], [("wren",)])
    # training reads the clips that were made of what `aer prepare` reads
    for columns in (birdcall, {"path": ["wren/a.mp3"], "labels": ["wren"]}):
        prepared = {**columns, "resampled_filename": ["a.wav"]}
        assert parse(both, **prepared).names == ["wren/a.wav" if columns is birdcall else "a.wav"]
        assert parse((FILENAME,), **prepared).names == ["wren/a.mp3"]
    with pytest.raises(InputError, match=r"csv list\.csv needs the columns others; it has path, filename"):
        parse(both, path=["a"], filename=["a"])


def test_training_refuses_what_prepare_goes_on_without(tmp_path: Path) -> None:
    write(tmp_path / "wren/a.wav")
    (tmp_path / "list.csv").write_text("ebird_code,filename\nwren,a.wav\nwren,gone.wav\n")
    with pytest.raises(InputError, match="lists 1 of 2 files that are not there"):
        find_corpus(tmp_path, tmp_path / "list.csv")
    sources = list_sources(tmp_path, tmp_path / "list.csv")
    assert [source.name for source in sources.found] == ["wren/a.wav"]
    assert sources.skipped == (("wren/gone.wav", "no such file or directory"),)
    (tmp_path / "owl").mkdir()
    with pytest.raises(InputError, match=r"class folder .*owl has no recordings"):
        find_corpus(tmp_path)
    sources = list_sources(tmp_path, None)
    assert [source.name for source in sources.found] == ["wren/a.wav"]
    assert sources.skipped == (("list.csv", OUTSIDE), ("owl", "has no recordings"))


def test_content_makes_a_recording_where_the_name_does_not(tmp_path: Path) -> None:
    write(tmp_path / "wren/a.wav").rename(tmp_path / "wren/a")
    write(tmp_path / "wren/b.flac").rename(tmp_path / "wren/b.001")
    (tmp_path / "wren/notes.txt").write_text("The free text")
    assert [path.path.name for path in find_corpus(tmp_path).recordings] == ["a", "b.001"]
    sources = list_sources(tmp_path, None)
    assert [source.name for source in sources.found] == ["wren/a", "wren/b.001"]
    assert sources.skipped == (("wren/notes.txt", NO_AUDIO),)
    (tmp_path / "list.csv").write_text("ebird_code,filename\nwren,a\n")
    assert ("wren/b.001", "is not in list.csv") in list_sources(tmp_path, tmp_path / "list.csv").skipped


@pytest.mark.parametrize("text", ["path,labels\n../out.wav,wren\n", "ebird_code,filename\nwren,../../out.wav\n"])
def test_neither_leaves_the_corpus(tmp_path: Path, text: str) -> None:
    write(tmp_path / "out.wav")
    root = tmp_path / "corpus"
    write(root / "wren/a.wav")
    (root / "list.csv").write_text(text)
    for read in (find_corpus, list_sources):
        with pytest.raises(InputError, match="which is not below"):
            read(root, root / "list.csv")
