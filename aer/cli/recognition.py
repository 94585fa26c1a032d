"""`aer predict` and `aer evaluate`: their options. The modules that do the work are imported by the commands."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from aer.cli.errors import check_range
from aer.cli.options import BundlesChannels, Events, Hysteresis, Machine, MachineOptions, Overlap, check_channels
from aer.errors import InputError
from aer.outputs.formats import Format
from aer.utils.text import counted, printable

if TYPE_CHECKING:
    from aer.evaluation.evaluate import Evaluation
    from aer.inference.plan import Options, Plan
    from aer.inference.recordings import Recording
    from aer.inference.result_store import Results

LONGEST_WINDOW_S = 86_400.0


@dataclass(frozen=True)
class PredictOptions:
    """What `aer predict` is asked for.

    Args:
        given: bundles (best.aer; the scores of several are averaged), then recordings or folders of them
        out: folder for the results
        format: of the table of events; several can be given
        window: length of a window; default: that of the training
        overlap: of one window with the next; default: half a window for events by frames, else none
        events: by frames (onset and offset; PANNs) or by whole windows; auto: frames where the model has them
        threshold: score from which a class is reported; default: each class's own with the best F1 in validation
        precision: take for each class the lowest threshold that had this precision in validation
        min_duration: shorter events are left out (frames)
        merge_gap: events of a class that are less than this apart are one (frames)
        test_csv: rows to answer with --format kaggle (site,row_id,seconds,audio_id)
        embeddings: write the 2048 features of each window, of each model, too (embeddings.parquet)
        segments: folder for WAV files of the events with the highest scores of each class, to listen to
        top_n: how many of a class --segments cuts
    """

    given: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE.aer [...] RECORDINGS [...]")]
    out: Path = Path("predictions")
    format: tuple[Format, ...] = ("csv",)
    window: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    overlap: Overlap = None
    events: Events = "auto"
    threshold: float | None = None
    precision: float | None = None
    hysteresis: Hysteresis = 0.8
    min_duration: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.1
    merge_gap: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.2
    test_csv: Path | None = None
    embeddings: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    segments: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    top_n: int = 20
    channels: BundlesChannels = None
    machine: MachineOptions = field(default_factory=Machine)

    @property
    def bundles(self) -> list[Path]:
        """The bundles among what was given."""
        return [path for path in self.given if path.suffix == ".aer"]

    @property
    def recordings(self) -> list[Path]:
        """The recordings, and folders of them, among what was given."""
        return [path for path in self.given if path.suffix != ".aer"]

    def check(self) -> None:
        """Raise InputError for what is missing, out of range, or does not go together."""
        if not self.bundles or not self.recordings:
            missing = "a bundle (best.aer of a run)" if not self.bundles else "recordings, or a folder of them"
            raise InputError(f"aer predict needs {missing}: aer predict runs/panns/best.aer recordings/")
        if self.threshold is not None and self.precision is not None:
            raise InputError("--threshold and --precision exclude each other")
        shares = {"--threshold": self.threshold, "--precision": self.precision, "--hysteresis": self.hysteresis}
        check_range(shares, 0, 1)
        check_range({"--window": self.window}, 1e-6, LONGEST_WINDOW_S)
        times_s = {"--overlap": self.overlap, "--min-duration": self.min_duration, "--merge-gap": self.merge_gap}
        check_range(times_s, 0)
        check_range({"--top-n": self.top_n}, 1)
        check_channels(self.channels)
        self.machine.check()

    def for_inference(self) -> "Options":
        """Return what of these options results depend on."""
        from aer.inference.events import EventRules
        from aer.inference.plan import Options

        rules = EventRules(self.hysteresis, self.merge_gap, self.min_duration)
        return Options(
            self.window,
            self.overlap,
            self.events,
            self.threshold,
            self.precision,
            rules,
            self.embeddings,
            self.channels,
        )


# without a name, a group's options are the command's own
PredictCommand = Annotated[tyro.conf.OmitArgPrefixes[PredictOptions], tyro.conf.arg(name="")]


def predict(options: PredictCommand) -> None:
    """Finds events in recordings of any length with models that were trained; can be stopped and run again."""
    options.check()

    from aer.inference import predict as recognition
    from aer.inference.plan import load_plan
    from aer.inference.recordings import find_recordings, no_audio_line
    from aer.outputs import segments, write

    write.check(options.format, options.test_csv, options.embeddings)
    no_audio: Counter[str] = Counter()
    recordings = find_recordings(options.recordings, no_audio)
    plan, notes = load_plan(options.bundles, options.for_inference(), options.machine.device)
    names = [recording.name for recording in recordings]
    write.check(options.format, options.test_csv, options.embeddings, plan.recogniser.classes, names)
    if options.segments is not None:
        segments.check(options.segments, options.recordings)
    is_main = recognition.Processes.of_environment().is_main
    if is_main:
        print(*notes, counted(len(recordings), "recording"), sep="\n")
        if no_audio:
            print(no_audio_line(no_audio))
    batch_size, threads = options.machine.batch_size, options.machine.threads
    results, done = recognition.predict(recordings, plan, options.out, batch_size, threads)
    if is_main:
        written, changed = _write_outputs(options, plan, recordings, results)
        print(recognition.summary(results, done, written), *([changed] if changed else []), sep="\n")


def _write_outputs(
    options: PredictOptions, plan: "Plan", recordings: Sequence["Recording"], results: "Results"
) -> tuple[list[Path], str]:
    """Write what was asked for; return the files, and a line on stale ones that stay, or ""."""
    from aer.outputs import segments, stale, write

    mel = plan.recogniser.bundles[0].settings.mel
    written = write.write(options.format, results, options.out, options.test_csv, (mel.fmin_hz, mel.fmax_hz))
    if options.embeddings:
        written.append(write.write_embeddings(results, options.out))
    changed = stale.remove(options.out, written, plan.recipe, recordings)
    if options.segments is not None:
        segments.cut_segments(results, options.segments, options.top_n, channels=plan.channels)
        written.append(options.segments)
    return written, changed


@dataclass(frozen=True)
class EvaluateOptions:
    """What `aer evaluate` is asked for.

    Args:
        bundle: bundles (the scores of several are averaged), then a corpus, or a folder with events.csv and recordings
        csv: CSV of the corpus, or of the known events (audio_id,start_s,end_s,ebird_code)
        annotations: instead, known events in tables of Raven, Audacity, Kaleidoscope or others: a table, or a folder
        label_column: of the annotations; default: found by its name
        out: folder for evaluation.json and the scores
        events: by frames (onset and offset; PANNs) or by whole windows; auto: frames in soundscapes where the model
            has them
        threshold: score from which a class counts as found; default: each class's own
        overlap: of one window with the next
        iou: a found event is right when it shares this much of the time that either of the two covers; default: 0.3
        collar: instead, it is right when it starts within so many seconds, and ends within these or half of the length
        draws: resamplings of the recordings for the 95% intervals; 0: no intervals
    """

    bundle: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE.aer... PLACE")]
    csv: Path | None = None
    annotations: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    label_column: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    out: Path = Path("evaluation")
    events: Events = "auto"
    threshold: float | None = None
    overlap: Overlap = None
    hysteresis: Hysteresis = 0.8
    iou: float | None = None
    collar: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    draws: int = 1000
    channels: BundlesChannels = None
    machine: MachineOptions = field(default_factory=Machine)

    @property
    def folder(self) -> Path:
        """The corpus, or the folder of soundscapes."""
        return self.bundle[-1]

    def check(self) -> None:
        """Raise InputError for what is missing, out of range, or does not go together."""
        if len(self.bundle) < 2:
            example = "aer evaluate runs/panns/best.aer datasets/sample"
            raise InputError(f"aer evaluate needs a bundle and a corpus: {example}")
        check_range({"--threshold": self.threshold, "--hysteresis": self.hysteresis, "--iou": self.iou}, 0, 1)
        check_range({"--overlap": self.overlap, "--collar": self.collar, "--draws": self.draws}, 0)
        check_channels(self.channels)
        self.machine.check()
        if self.csv is not None and not self.csv.is_file():
            raise InputError(f"csv {self.csv} is not there")
        if self.csv is not None and self.annotations is not None:
            raise InputError("--csv and --annotations exclude each other")
        if self.label_column is not None and self.annotations is None:
            raise InputError("--label-column goes with --annotations")
        if self.annotations is not None and not self.annotations.exists():
            raise InputError(f"annotations {printable(self.annotations)} are not there")
        if self.iou is not None and self.collar is not None:
            raise InputError("--iou and --collar exclude each other")

    def for_inference(self, has_events: bool) -> "Options":
        """Return what of these options results depend on. `has_events`: there are known events, with times.

        Raise InputError for options on events where there are none.
        """
        from aer.evaluation.evaluate import EVENTS
        from aer.inference.events import EventRules
        from aer.inference.plan import Options

        events = self.events
        if not has_events:
            if self.iou is not None or self.collar is not None:
                raise InputError(f"--iou and --collar are for soundscapes; {self.folder} has no {EVENTS}")
            # as in validation
            events = "windows" if events == "auto" else events
        rules = EventRules(self.hysteresis)
        return Options(
            overlap_s=self.overlap, events=events, threshold=self.threshold, rules=rules, channels=self.channels
        )

    def for_evaluation(self) -> "Evaluation":
        """Return what of these options figures depend on."""
        from aer.evaluation import event_metrics
        from aer.evaluation.evaluate import Evaluation

        criterion: event_metrics.Criterion = event_metrics.BY_OVERLAP
        if self.collar is not None:
            criterion = event_metrics.Collar(self.collar)
        elif self.iou is not None:
            criterion = event_metrics.Overlap(self.iou)
        return Evaluation(
            self.folder,
            self.csv,
            self.out,
            self.machine.batch_size,
            self.machine.threads,
            self.draws,
            self.threshold,
            criterion,
            self.annotations,
            self.label_column,
        )


EvaluateCommand = Annotated[tyro.conf.OmitArgPrefixes[EvaluateOptions], tyro.conf.arg(name="")]


def evaluate(options: EvaluateCommand) -> None:
    """Says how good a model is on a labelled corpus, or on soundscapes with known events."""
    options.check()

    from aer.evaluation import evaluate as evaluation
    from aer.evaluation.report import report
    from aer.inference.plan import load_plan

    # labels of whole recordings have no times
    has_events = options.annotations is not None or evaluation.events_csv(options.folder, options.csv) is not None
    plan, notes = load_plan(options.bundle[:-1], options.for_inference(has_events), options.machine.device)
    print(*notes, sep="\n")
    figures = evaluation.evaluate(plan, options.for_evaluation())
    texts, plain = zip(*map(report, figures), strict=True)
    # before printing: whoever reads the text may close the pipe early
    report_path = options.out / evaluation.REPORT
    evaluation.write_report(report_path, plain)
    print("", "\n\n".join(texts), "", report_path, sep="\n")
