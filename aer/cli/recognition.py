"""`aer predict` and `aer evaluate`: their options. What does the work is imported when it is called."""

import math
import os
from pathlib import Path
from typing import Annotated, Literal

import tyro

from aer.cli.errors import check_range
from aer.errors import InputError
from aer.utils.text import counted

LONGEST_WINDOW_S = 86_400.0
LARGEST_BATCH = 65_536


def predict(
    given: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE.aer [...] RECORDINGS [...]")
    ],
    out: Path = Path("predictions"),
    format: tuple[Literal["csv", "parquet", "raven", "audacity", "json", "kaggle"], ...] = ("csv",),
    window: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    overlap: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    events: Literal["auto", "frames", "windows"] = "auto",
    threshold: float | None = None,
    precision: float | None = None,
    hysteresis: float = 0.8,
    min_duration: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.1,
    merge_gap: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.2,
    test_csv: Path | None = None,
    embeddings: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    segments: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    top_n: int = 20,
    batch_size: int = 16,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    workers: int | None = None,
) -> None:
    """Finds events in recordings of any length with models that were trained; can be stopped and run again.

    Args:
        given: bundles (best.aer; the scores of several are averaged), then recordings or folders of them
        out: folder for the results
        format: of the table of events; several can be given
        window: length of a window; default: that of the training
        overlap: of one window with the next; default: half a window for events by frames, else none
        events: by frames (onset and offset; PANNs) or by whole windows; auto: frames where the model has them
        threshold: score from which a class is reported; default: each class's own with the best F1 in validation
        precision: take for each class the lowest threshold that had this precision in validation
        hysteresis: share of the threshold down to which an event that has begun goes on (frames)
        min_duration: shorter events are left out (frames)
        merge_gap: events of a class that are less than this apart are one (frames)
        test_csv: rows to answer with --format kaggle (site,row_id,seconds,audio_id)
        embeddings: write the 2048 features of each window, of each model, too (embeddings.parquet)
        segments: folder for WAV files of the events with the highest scores of each class, to listen to
        top_n: how many of a class --segments cuts
        batch_size: windows that go through the model at a time
        device: auto: a GPU where there is one
        workers: threads that decode; default: one per core
    """
    bundles = [path for path in given if path.suffix == ".aer"]
    recordings = [path for path in given if path.suffix != ".aer"]
    if not bundles or not recordings:
        missing = "a bundle (best.aer of a run)" if not bundles else "recordings, or a folder of them"
        raise InputError(f"aer predict needs {missing}: aer predict runs/panns/best.aer recordings/")
    if threshold is not None and precision is not None:
        raise InputError("--threshold and --precision exclude each other")
    check_range({"--threshold": threshold, "--precision": precision, "--hysteresis": hysteresis}, 0, 1)
    check_range({"--window": window}, 1e-6, LONGEST_WINDOW_S)
    check_range({"--overlap": overlap, "--min-duration": min_duration, "--merge-gap": merge_gap}, 0, math.inf)
    check_range({"--top-n": top_n, "--workers": workers}, 1, math.inf)
    check_range({"--batch-size": batch_size}, 1, LARGEST_BATCH)

    from aer.inference import predict as work
    from aer.inference.events import EventRules
    from aer.inference.plan import Options
    from aer.inference.plan import prepare as load_models
    from aer.inference.recordings import find_recordings
    from aer.outputs import segments as cuts
    from aer.outputs import stale, write
    from aer.utils.systems import cores

    write.check(format, test_csv, embeddings)
    rules = EventRules(hysteresis, merge_gap, min_duration)
    options = Options(window, overlap, events, threshold, precision, rules, embeddings)
    found = find_recordings(recordings)
    models, told = load_models(bundles, options, device)
    write.check(format, test_csv, embeddings, models.recogniser.classes, [recording.name for recording in found])
    if segments is not None:
        cuts.check(segments, recordings)
    is_main = os.environ.get("RANK", "0") == "0"
    if is_main:
        print(*told, counted(len(found), "recording"), sep="\n")
    results, done = work.predict(found, models, out, batch_size, workers or cores())
    if is_main:
        mel = models.recogniser.bundles[0].settings.mel
        written = write.write(format, results, out, test_csv, (mel.fmin_hz, mel.fmax_hz))
        if embeddings:
            written.append(write.write_embeddings(results, out))
        old = stale.remove(out, written, models.recipe, found)
        if segments is not None:
            cuts.segments(results, segments, top_n)
            written.append(segments)
        print(work.summary(results, done, written), *([old] if old else []), sep="\n")


def evaluate(
    bundle: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE.aer... PLACE")],
    csv: Path | None = None,
    out: Path = Path("evaluation"),
    events: Literal["auto", "frames", "windows"] = "auto",
    threshold: float | None = None,
    overlap: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    hysteresis: float = 0.8,
    iou: float | None = None,
    collar: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    draws: int = 1000,
    batch_size: int = 16,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    workers: int | None = None,
) -> None:
    """Says how good a model is on a labelled corpus, or on soundscapes with known events.

    Args:
        bundle: bundles (the scores of several are averaged), then a corpus, or a folder with events.csv and recordings
        csv: CSV of the corpus, or of the known events (audio_id,start_s,end_s,ebird_code)
        out: folder for evaluation.json and the scores
        events: by frames (onset and offset; PANNs) or by whole windows; auto: frames in soundscapes where the model
            has them
        threshold: score from which a class counts as found; default: each class's own
        overlap: of one window with the next
        hysteresis: share of the threshold down to which an event that has begun goes on (frames)
        iou: a found event is right when it shares this much of the time that either of the two covers; default: 0.3
        collar: instead, it is right when it starts within so many seconds, and ends within these or half of the length
        draws: resamplings of the recordings for the 95% intervals; 0: no intervals
        batch_size: windows that go through the model at a time
        device: auto: a GPU where there is one
        workers: threads that decode; default: one per core
    """
    if len(bundle) < 2:
        raise InputError("aer evaluate needs a bundle and a corpus: aer evaluate runs/panns/best.aer datasets/sample")
    *bundles, place = bundle
    check_range({"--threshold": threshold, "--hysteresis": hysteresis, "--iou": iou}, 0, 1)
    check_range({"--overlap": overlap, "--collar": collar, "--draws": draws}, 0, math.inf)
    check_range({"--workers": workers}, 1, math.inf)
    check_range({"--batch-size": batch_size}, 1, LARGEST_BATCH)
    if csv is not None and not csv.is_file():
        raise InputError(f"csv {csv} is not there")
    if iou is not None and collar is not None:
        raise InputError("--iou and --collar exclude each other")

    from aer.evaluation import evaluate as work
    from aer.evaluation.event_metrics import Collar, Overlap
    from aer.evaluation.report import report
    from aer.inference.events import EventRules
    from aer.inference.plan import Options, prepare
    from aer.utils.systems import cores

    if work.events_csv(place, csv) is None:  # labels of whole recordings have no times
        if iou is not None or collar is not None:
            raise InputError(f"--iou and --collar are for soundscapes; {place} has no {work.EVENTS}")
        events = "windows" if events == "auto" else events  # as in validation
    options = Options(overlap_s=overlap, events=events, threshold=threshold, rules=EventRules(hysteresis))
    models, told = prepare(bundles, options, device)
    print(*told, sep="\n")
    criterion = Collar(collar) if collar is not None else Overlap() if iou is None else Overlap(iou)
    figures = work.evaluate(models, place, csv, out, batch_size, workers or cores(), draws, threshold, criterion)
    texts, plain = zip(*map(report, figures), strict=True)
    work.write_report(out / work.REPORT, list(plain))  # first: who reads the text may close the pipe early
    print("", "\n\n".join(texts), "", out / work.REPORT, sep="\n")
