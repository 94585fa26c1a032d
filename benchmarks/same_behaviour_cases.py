"""What benchmarks/same_behaviour.py gives to both checkouts: command lines, and the files that they work on."""

import shutil
from pathlib import Path

import numpy as np
import soundfile
from helpers.corpora import FORMATS, SMALL, make_corpus, write_clip

TRAIN = {
    "panns": f"code/train_panns.py {SMALL} --corpus corpus --run-dir runs/panns --workers 0 --checkpoint-every-steps 1",
    "resnest": f"code/train_resnest.py {SMALL} --corpus corpus --run-dir runs/resnest --workers 2 --image-height 32 "
    "--mixup.on waveform --loss-func Focal",
}
PREDICT = (
    "-m aer predict runs/panns/best.aer field --out predicted/panns --threshold 0.1 --batch-size 1 --workers 1 "
    "--format csv parquet raven audacity json"
)
PREDICT_BOTH = (
    "-m aer predict runs/panns/best.aer runs/resnest/best.aer field --out predicted/both --threshold 0.3 "
    "--overlap 0.32 --events windows --embeddings --segments predicted/clips --top-n 2"
)
WORK = (
    *TRAIN.values(),
    TRAIN["resnest"],  # again: there is nothing to do
    "-m aer prepare raw/raw_train_audio --workers 2",
    "-m aer prepare raw/raw_train_audio --workers 2",
    "-m aer prepare corpus --out cut --format flac --segment 0.4 --trim-silence 30 --sample-rate 16000",
    "-m aer corpus raw --details corpus.csv --workers 2",
    "-m aer corpus corpus --quick --n-folds 3",
    "-m aer summary runs/panns/best.aer",
    PREDICT,
    PREDICT_BOTH,
    "-m aer evaluate runs/resnest/best.aer corpus --out evaluated --draws 50",
)
# what each command refuses, as the tests of messages have it
BAD_TRAINING = (
    "--batch-size -2", "--bach-size 3", "--batch-size x", "--loss-func nothing", "--optimizer-params {", "--fold 7",
    "--config nowhere.py", "--config bad/config.py", "--corpus nowhere", "--corpus bad/empty", "--corpus bad/one",
    "--csv bad_missing.csv", "--csv bad_several.csv --loss-func CrossEntropy", "--csv bad_columns.csv",
    "--csv bad_short.csv", "--csv bad_utf16.csv", "--csv nowhere.csv", "--batch-size 13", "--optimizer Adamm",
    "--scheduler StepLRR", "--n-folds 30", "--mixed-precision fp16", "--device cuda",
    "--run-dir corpus/robin/robin_0.wav", "--run-dir bad", "--run-dir runs/panns --learning-rate 0.5",
    "--run-dir runs/panns --seed 5", "--pretrained-panns bad/text.pth", "--initial-weights bad/text.pth",
    "--initial-weights nowhere.pth", "--group-by author", "--validation-groups theo", "--mel.f-max-hz 9000",
    "--clip-duration-s 0.01",
)  # fmt: skip
BAD_COMMANDS = (
    "", "nothing", "prepare", "prepare nowhere", "prepare bad", "prepare raw --sample-rate 0",
    "prepare raw --segment nan", "prepare raw --format mp3", "prepare raw --sample-rate 16000",
    "prepare corpus --out raw", "prepare raw --csv nowhere.csv", "prepare bad/broken --out broken", "corpus nowhere",
    "corpus corpus --n-folds 1", "corpus corpus --plot picture.txt", "corpus corpus --csv bad_short.csv",
    "corpus corpus --group-by author", "corpus corpus --workers 0", "sample corpus", "summary nowhere.aer",
    "summary bad/text.aer", "summary bad/cut.aer", "summary corpus", "crossval", "crossval other",
    "crossval panns --batch-size x", "predict field", "predict runs/panns/best.aer",
    "predict runs/panns/best.aer nowhere", "predict bad/text.aer field", "predict bad/cut.aer field",
    "predict runs/panns/best.aer bad/empty", "predict runs/panns/best.aer field --threshold 0.5 --precision 0.9",
    "predict runs/panns/best.aer field --hysteresis 1.5", "predict runs/panns/best.aer field --batch-size 0",
    "predict runs/panns/best.aer field --window 1e300", "predict runs/panns/best.aer field --overlap nan",
    "predict runs/panns/best.aer field --format kaggle",
    "predict runs/panns/best.aer field --format raven --format csv",
    "predict runs/panns/best.aer field --segments field", "predict runs/panns/best.aer field --out bad",
    "predict runs/panns/best.aer field --format xml", "predict runs/resnest/best.aer field --events frames",
    "predict runs/panns/best.aer field --device cuda",
    "predict runs/panns/best.aer field --format kaggle --test-csv bad_short.csv", "evaluate runs/panns/best.aer",
    "evaluate runs/panns/best.aer nowhere", "evaluate runs/panns/best.aer corpus --csv bad_columns.csv",
    "evaluate bad/text.aer corpus", "evaluate runs/panns/best.aer corpus --draws 0",
)  # fmt: skip


def make_inputs(folder: Path) -> None:
    """Corpora, recordings and files that are wrong; copies of them keep their times, which `aer prepare` looks at."""
    make_corpus(folder / "corpus")
    raw = make_corpus(folder / "raw/raw_train_audio", clips_per_class=5)
    (raw / "robin/broken.wav").write_bytes(b"RIFF and nothing else")
    (raw / "wren/empty.mp3").write_bytes(b"")
    rows = [f"{path.parent.name},{path.name},XC{i}" for i, path in enumerate(sorted(raw.rglob("*.*")))]
    (folder / "raw/train.csv").write_text("\n".join(["ebird_code,filename,xc_id", *rows, ""]))
    for i in range(8):
        write_clip(folder / f"field/site_{i % 2}/{i}.{FORMATS[i % 4]}", 1000.0 + 500 * i, 1.0 + i, seed=i)
    soundfile.write(folder / "field/silent.wav", np.zeros(8000), 16000)
    (folder / "field/broken.flac").write_bytes(b"fLaC and nothing else")
    make_bad(folder / "bad", folder / "corpus")


def make_bad(bad: Path, corpus: Path) -> None:
    """Files and folders for the command lines that are refused."""
    for name in ("empty/owl", "broken/robin"):
        (bad / name).mkdir(parents=True)
    shutil.copytree(corpus / "robin", bad / "one/robin")
    (bad / "broken/robin/a.wav").write_bytes(b"")
    clips = [f"corpus/{name}/{name}_{i}.wav,{name}" for name in ("robin", "wren") for i in (0, 4, 8)]
    tables = {
        "missing": ["path,labels", *clips, "corpus/gone.wav,wren"],
        "several": ["path,labels", "corpus/robin/robin_1.flac,robin;wren", *clips],
        "columns": ["path,class", *clips],
        "short": ["path,labels", *clips, "corpus/robin/robin_1.flac"],
    }
    for name, lines in tables.items():
        (bad.parent / f"bad_{name}.csv").write_text("\n".join([*lines, ""]))
    (bad.parent / "bad_utf16.csv").write_text("path,labels\n", encoding="utf-16")
    (bad / "config.py").write_text("panns = 3\n")
    for name in ("text.pth", "text.aer"):
        (bad / name).write_text("these are no weights")
