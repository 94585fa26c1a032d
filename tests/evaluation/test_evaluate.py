"""`aer evaluate` on corpora and soundscapes, with a recogniser that hears loudness: figures known by hand."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.tiny_predict import RATE, tiny_plan

from aer.cli import recognition
from aer.cli.options import Machine
from aer.errors import InputError
from aer.evaluation.bootstrap import Figures
from aer.evaluation.evaluate import Evaluation, evaluate, events_csv
from aer.evaluation.event_metrics import BY_OVERLAP, Collar, Overlap

HEADER = "audio_id,start_s,end_s,ebird_code\n"


def tone(path: Path, *peaks: float) -> Path:
    """A second of each peak."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(peaks, RATE), RATE, subtype="FLOAT")
    os.utime(path, (1e9, 1e9))
    return path


def measured(folder: Path, csv: Path | None = None, **options: Any) -> list[Figures]:
    threshold, criterion = options.get("threshold", 0.5), options.pop("criterion", BY_OVERLAP)
    plan = tiny_plan(**{"overlap_s": 0.0, "threshold": threshold, **options})
    return evaluate(plan, Evaluation(folder, csv, folder.parent / "evaluation", 4, 2, 0, threshold, criterion))


def value(figures: Figures, name: str) -> float:
    return figures.overall[name].value


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Scores of `loud`: its own 0.8, 0.6, 0.4, the others' 0.5 and 0.1; `quiet` is a tenth of these."""
    for number, peak in enumerate((0.8, 0.6, 0.4)):
        tone(tmp_path / f"birds/loud/{number}.wav", peak)
    for number, peak in enumerate((0.5, 0.1)):
        tone(tmp_path / f"birds/quiet/{number}.wav", peak)
    return tmp_path / "birds"


def test_a_corpus(corpus: Path) -> None:
    (figures,) = measured(corpus)
    assert figures.title == "scores of 5 recordings"
    loud, quiet = (figure.value for figure in figures.per_class["AP"])
    assert loud == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert quiet == pytest.approx((1 / 3 + 2 / 5) / 2)  # third and last of five
    # at 0.5: two of three found and one of the others; none of the quiet
    assert value(figures, "macro F1") == pytest.approx((4 / 6 + 0) / 2)
    (lower,) = measured(corpus, threshold=0.4)
    assert value(lower, "macro F1") == pytest.approx((6 / 7 + 0) / 2)


def test_labels_that_the_model_has_not_are_said_and_what_is_outside_is_refused(corpus: Path, tmp_path: Path) -> None:
    tone(corpus / "strange/0.wav", 0.9)
    (figures,) = measured(corpus)
    assert (
        "the label strange of 1 recording is none of the model's: what it finds there instead counts as wrong"
        in figures.notes
    )
    assert figures.per_class["AP"][0].value == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)
    csv = tmp_path / "clips.csv"
    csv.write_text("path,labels\nbirds/loud/0.wav,loud\nbirds/quiet/0.wav,quiet\n")
    assert measured(corpus, csv)[0].title == "scores of 2 recordings"
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match=r"clips\.csv has recordings that are not in .*elsewhere: .*0\.wav"):
        measured(tmp_path / "elsewhere", csv)


def test_soundscapes(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 0.0, 0.9, 0.9, 0.0, 0.75)
    (tmp_path / "events.csv").write_text(HEADER + "a,1,3,loud\na,4,900,loud\na,1,2,strange\n")
    by_events, by_windows = measured(tmp_path)
    assert value(by_events, "event F1") == 1
    assert value(by_events, "segment F1") == 1  # the event that goes on for ever ends with the recording
    notes = "\n".join(by_events.notes)
    assert "known events that end more than 1 s after their recording, and are cut there: 1" in notes
    assert "1 known event of no class of the model's, not counted: strange" in notes
    assert by_windows.title == "scores of 5 windows of 1 recording"
    assert value(by_windows, "mAP") == 1
    assert value(by_windows, "micro F1") == 1
    by_events, by_windows = measured(tmp_path, threshold=0.8)
    assert value(by_events, "event F1") == pytest.approx(2 / 3)
    assert value(by_windows, "micro F1") == pytest.approx(4 / 5)  # 2 of 3 windows
    (tmp_path / "events.csv").write_text(HEADER + "a,1,1e12,loud\n")
    with pytest.raises(InputError, match=r"1 of 1 events ends after 2678400 s, which is a month"):
        measured(tmp_path)


def test_soundscapes_with_tables_of_raven_and_audacity(tmp_path: Path) -> None:
    """A recording without a table is not listened to; one with an empty table holds nothing."""
    tone(tmp_path / "north/a.wav", 0.0, 0.9, 0.9, 0.0)
    tone(tmp_path / "north/b.wav", 0.9, 0.0)
    tone(tmp_path / "north/unknown.wav", 0.9, 0.9)
    columns = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies"
    rows = "1\tSpectrogram 1\t1\t1.0\t3.0\t0\t8000\tloud\n1\tWaveform 1\t1\t1.0\t3.0\t\t\tloud\n"
    (tmp_path / "north/a.Table.1.selections.txt").write_text(f"{columns}\n{rows}")
    (tmp_path / "north/b.txt").touch()
    evaluation = Evaluation(tmp_path / "north", None, tmp_path / "out", 4, 2, 0, 0.5, annotations=tmp_path / "north")
    by_events, by_windows = evaluate(tiny_plan(overlap_s=0.0), evaluation)
    assert value(by_events, "event F1") == pytest.approx(2 / 3)  # one of two is right
    assert value(by_events, "event recall") == 1
    assert by_windows.title == "scores of 6 windows of 2 recordings"
    assert "1 recording without a table: unknown.wav" in by_events.notes


def test_which_events_count_as_found(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 0.0, 0.9, 0.9, 0.0)
    (tmp_path / "events.csv").write_text(HEADER + "a,1.25,2.25,loud\n")  # found: 1 to 3, which is half an IoU
    for criterion, f1, rule in (
        (Overlap(0.5), 1, "an overlap of at least 0.5 of"),
        (Overlap(0.51), 0, "an overlap of at least 0.51 of"),
        (Collar(0.75), 1, "a start within 0.75 s"),
        (Collar(0.25), 0, "a start within 0.25 s"),  # the end is three quarters of its length away
    ):
        by_events, _ = measured(tmp_path, criterion=criterion)
        assert value(by_events, "event F1") == f1
        assert any(rule in note for note in by_events.notes)


def test_options_that_do_not_go_together(corpus: Path) -> None:
    bundle = corpus / "best.aer"
    bundle.touch()
    for options, message in (
        ({"iou": 0.5, "collar": 0.2}, "--iou and --collar exclude each other"),
        ({"iou": 0.5}, r"--iou and --collar are for soundscapes; .*birds has no events\.csv"),
        ({"csv": bundle, "annotations": corpus}, "--csv and --annotations exclude each other"),
        ({"label_column": "Species"}, "--label-column goes with --annotations"),
        ({"annotations": corpus / "nowhere"}, r"annotations .*nowhere are not there"),
        ({"iou": 2.0}, "--iou must be 0 to 1, it is 2"),
        ({"collar": -1.0}, "--collar must be 0 or more, it is -1"),
        ({"machine": Machine(workers=0)}, "--workers must be 1 or more, it is 0"),
    ):
        with pytest.raises(InputError, match=message):
            recognition.evaluate(recognition.EvaluateOptions((bundle, corpus), **options))


def test_what_is_a_csv_of_events(tmp_path: Path) -> None:
    csv = tmp_path / "known.csv"
    assert events_csv(tmp_path, None) is None
    for header, is_one in ((HEADER, True), ('"audio_id","start_s","end_s","ebird_code"\n', True), ("path,labels\n", 0)):
        csv.write_text(header)
        assert events_csv(tmp_path, csv) == (csv if is_one else None)
    csv.write_text("")
    assert events_csv(tmp_path, csv) is None


def test_a_corpus_of_the_same_names_is_another_one(corpus: Path, tmp_path: Path) -> None:
    """Recorders on one schedule give files of the same name, size and time at every site."""
    (first,) = measured(corpus)
    other = tmp_path / "other"
    for path in corpus.glob("*/*.wav"):
        swapped = other / {"loud": "quiet", "quiet": "loud"}[path.parent.name] / path.name
        swapped.parent.mkdir(parents=True, exist_ok=True)
        path.replace(swapped)
    (second,) = measured(other)
    assert first.per_class["AP"] != second.per_class["AP"]
    (alone,) = evaluate(tiny_plan(overlap_s=0.0), Evaluation(other, None, tmp_path / "new", 4, 2, 0))
    assert second.per_class["AP"] == alone.per_class["AP"]
