"""`aer corpus` against numpy and soundfile on the same files, and the command as users run it."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers import launcher
from helpers.paths import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from sklearn.model_selection import StratifiedKFold

from aer.cli import app
from aer.corpus.discovery import find_corpus
from aer.corpus.survey import levels
from aer.errors import InputError

pytestmark = pytest.mark.xdist_group("survey")  # what its fixtures make is made once

RATE = 8000


def noise(seed: int, seconds: float = 0.25, gain: float = 0.1) -> np.ndarray:
    return gain * np.random.default_rng(seed).uniform(-1, 1, round(RATE * seconds))


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # integers, as libsndfile rounds fractions for WAV and cuts them off for FLAC
    soundfile.write(path, np.round(samples * 32767).astype(np.int16), rate)
    return path


def run(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aer", "corpus", *map(str, options)]
    return launcher.run(command, cwd=ROOT, timeout=120)


def plain_corpus(root: Path, n_each: int = 6) -> Path:
    for i in range(n_each):
        write(root / f"wren/{i}.wav", noise(i, 0.25 + 0.05 * i))
        write(root / f"robin/{i}.flac", noise(100 + i, 0.5))
    return root


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, str]:
    """A corpus with every fault, the rows of --details by file name, and the text."""
    root = plain_corpus(tmp_path_factory.mktemp("corpus") / "it")
    write(root / "robin/twin.flac", noise(0, 0.25))  # the same as wren/0.wav
    write(root / "wren/slow.wav", noise(0, 0.25), RATE // 2)  # the same samples, another sound
    for i in range(4):
        write(root / f"wren/copy{i}.wav", noise(7, 0.4))
    loud = noise(8)
    loud[100:112], loud[500], loud[-2:] = 1.0, 1.0, -1.0  # 14 beside another, 1 alone
    write(root / "wren/loud.wav", loud)
    write(root / "robin/faint.wav", noise(9, gain=10 ** (-65 / 20)))
    write(root / "robin/zeros.wav", np.zeros(RATE))
    whole = write(root / "wren/broken.flac", noise(10, 20)).read_bytes()
    (root / "wren/broken.flac").rename(root.parent / "whole.flac")
    (root / "wren/broken.flac").write_bytes(whole[: len(whole) // 2])
    (root / "wren/text.wav").write_text("no sound")
    soundfile.write(root / "wren/nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    (root / "wren/notes\x1b[2J.txt").write_text("heard at dawn")
    write(root / "\x1b[31mred/a.wav", noise(11))
    csv = root.parent / "details.csv"
    done = run(root, "--details", csv, "--workers", 2)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(csv, dtype={"labels": str, "digest": str})
    return root, table.set_index(table["path"].map(lambda path: str(Path(path).relative_to(root)))), done.stdout


def test_levels_of_files(troubled: tuple[Path, pd.DataFrame, str]) -> None:
    root, table, _ = troubled
    measured = table[table["digest"].notna()]
    assert len(measured) == len(table) - 3  # nan, text, notes
    for name, row in measured.iterrows():
        if name == "wren/broken.flac":
            # what is there of it
            samples, rate = soundfile.read(root.parent / "whole.flac", dtype="float32")
            samples = samples[: round(row["duration_s"] * rate)]
            assert 9 * rate < len(samples) < 11 * rate
        else:
            samples, rate = soundfile.read(root / str(name), dtype="float32")
        with np.errstate(divide="ignore"):
            peak, rms = 20 * np.log10([np.abs(samples).max(), np.sqrt(np.mean(samples.astype(np.float64) ** 2))])
        assert row["digest"] == hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest()
        assert row["sample_rate"] == rate
        assert row["duration_s"] == pytest.approx(len(samples) / rate, abs=1e-6)
        assert (row["peak_dbfs"], row["rms_dbfs"]) == pytest.approx((peak, rms), abs=0.006)
    assert measured["clipped_samples"].to_dict() == {name: 14 * (name == "wren/loud.wav") for name in measured.index}


def test_duplicates(troubled: tuple[Path, pd.DataFrame, str]) -> None:
    root, table, text = troubled
    copies = table[table["duplicate_of"].notna()]["duplicate_of"].map(lambda path: str(Path(path).relative_to(root)))
    assert copies.to_dict() == {"wren/0.wav": "robin/twin.flac"} | {
        f"wren/copy{i}.wav": "wren/copy0.wav" for i in (1, 2, 3)
    }
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("groups of clips with the same audio: 2"))
    assert "LABEL LEAKAGE: 1 across classes" in lines[at]
    assert lines[at + 1].startswith("  robin/twin.flac = wren/0.wav; ACROSS CLASSES robin, wren")
    assert lines[at + 2].startswith("  wren/copy0.wav = wren/copy1.wav = wren/copy2.wav = 1 more")
    folds = [
        table.loc[[f"wren/copy{i}.wav" for i in range(4)], "fold"],
        table.loc[["robin/twin.flac", "wren/0.wav"], "fold"],
    ]
    assert [("ACROSS FOLDS" in lines[at + 2]), ("ACROSS FOLDS" in lines[at + 1])] == [f.nunique() > 1 for f in folds]
    assert f"{sum(f.nunique() > 1 for f in folds)} across folds" in lines[at]


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_folds_are_those_of_scikit_learn(troubled: tuple[Path, pd.DataFrame, str]) -> None:
    root, table, _ = troubled
    used = table[table["labels"].notna()]
    expected = np.zeros(len(used))
    folds = StratifiedKFold(5, shuffle=True, random_state=42).split(used, used["labels"])
    for number, (_, held_out) in enumerate(folds):
        expected[held_out] = number
    assert used["fold"].tolist() == expected.tolist()
    assert [str(r.path.relative_to(root)) for r in find_corpus(root).recordings] == used.index.tolist()


def test_text(troubled: tuple[Path, pd.DataFrame, str]) -> None:
    root, table, text = troubled
    lines = text.splitlines()
    wren = table[table["labels"] == "wren"]["duration_s"]
    row = next(line.split() for line in lines if line.startswith("wren "))
    numbers = [len(wren), wren.sum() / 60, wren.min(), wren.median(), wren.max()]
    assert [float(cell) for cell in row[1:]] == pytest.approx(numbers, abs=0.051)
    n_used = int(table["labels"].notna().sum())
    assert lines[0] == f"{n_used} clips, {table['duration_s'].sum() / 3600:.2f} hours, 3 classes"
    assert f"sample rates: 8000 Hz ({n_used - 1}), 4000 Hz (1)" in lines
    faint, _ = soundfile.read(root / "robin/faint.wav")
    for title, names in {
        "clipping": ["wren/loud.wav: 14 samples (0.70%)"],
        "near-silent": [
            f"robin/faint.wav: {10 * np.log10(np.mean(faint**2)):.1f} dBFS",
            "robin/zeros.wav: digital silence",
        ],
        "left out": [
            "wren/notes\\x1b[2J.txt: no audio, by its name",
            "wren/text.wav: not audio",
        ],
        "heard only in part": ["wren/broken.flac: cut short"],
        "can't be decoded": ["wren/nan.wav: has samples that are NaN"],
    }.items():
        at = next(i for i, line in enumerate(lines) if line.startswith(title))
        assert lines[at].endswith(f": {len(names)}")
        for line, name in zip(lines[at + 1 :], names, strict=False):
            assert line.startswith(f"  {name}")
    assert table.loc["wren/broken.flac", "error"].startswith("cut short")
    assert "\\x1b[31mred" in text
    assert "\x1b" not in text


def test_what_is_odd_has_a_section_and_a_column(tmp_path: Path) -> None:
    root = plain_corpus(tmp_path / "it")
    stereo = np.stack([noise(30), -noise(30)], axis=1)
    write(root / "wren/phase.wav", stereo)
    write(root / "wren/narrow.wav", noise(31), RATE // 2)
    power = write(root / "wren/power.wav", noise(32))
    content = power.read_bytes()
    at = content.index(b"data") + 4
    power.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    done = run(root, "--details", tmp_path / "d.csv")
    lines = done.stdout.splitlines()
    at = lines.index("notes: 3")
    assert (
        lines[at + 1]
        == "  wren/narrow.wav: recorded at 4000 Hz: nothing above 2000 Hz, and the band reaches to 4000 Hz"
    )
    assert lines[at + 2].startswith("  wren/phase.wav: channels 1 and 2 are in opposite phase")
    assert lines[at + 3] == "  wren/power.wav: its header promises 0 bytes of audio, 4000 are there"
    table = pd.read_csv(tmp_path / "d.csv").set_index("path")
    assert table["error"].isna().all() and table["notes"].notna().sum() == 3
    assert "promises 0 bytes" in table.loc[str(power), "notes"]
    # headers alone
    done = run(root, "--quick")
    assert "\nnotes: 1\n  wren/power.wav: its header promises" in done.stdout
    # one channel is heard, and no phase matters
    done = run(root, "--channels", "first")
    assert "\nnotes: 2\n" in done.stdout and "opposite phase" not in done.stdout


def test_across_folds_and_only_few_are_named(tmp_path: Path) -> None:
    root = plain_corpus(tmp_path / "it")
    for i in range(7):
        for copy in "ab":
            write(root / f"wren/{i}{copy}.wav", noise(50 + i))
    done = run(root, "--n-folds", 20, "--details", tmp_path / "d.csv")  # 20 of the class: a fold each
    assert "across classes, 7 across folds" in done.stdout
    assert done.stdout.count("; ACROSS FOLDS ") == 5
    assert "  and 2 more\n" in done.stdout
    grouped = root / "grouped.csv"
    rows = [f"{path.relative_to(root)},{path.parent.name},{path.stem[0]}" for path in sorted(root.glob("*/*.*"))]
    grouped.write_text("path,labels,take\n" + "\n".join(rows))
    done = run(root, "--csv", grouped, "--group-by", "take", "--n-folds", 3)
    assert "with the same audio: 7\n" in done.stdout  # copies share a group, so no fold leaks


def test_picture_of_few_and_of_many_classes(tmp_path: Path) -> None:
    for n_classes in (2, 60):
        root = tmp_path / f"{n_classes}"
        for i in range(n_classes):
            write(root / f"$class_{i}$/a.wav", noise(i, 0.01 + 0.01 * i))
        done = run(root, "--quick", "--plot", tmp_path / f"{n_classes}.png")
        assert (done.returncode, done.stderr) == (0, "")
        assert "no folds: n_folds 5 is more than the " in done.stdout
        assert "not decoded (--quick)" in done.stdout
        picture = imread(tmp_path / f"{n_classes}.png")
        assert picture.shape[1] == 1400
        assert 300 <= picture.shape[0] <= 900
        assert picture[..., :3].std() > 0.05  # something is drawn


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"n_folds": 1}, "--n-folds must be 2 to 4294967295, it is 1"),
        ({"workers": 0}, "--workers must be 1 or more, it is 0"),
        ({"fold_seed": 1 << 32}, "--fold-seed must be 0 to 4294967295, it is 4294967296"),
        ({"plot": "x.jpg"}, "--plot must end in .png"),
        ({"details": "none/x.csv"}, "a folder that is not there"),
        ({"details": "train.csv"}, "would replace the corpus' own CSV"),
        ({"group_by": "author"}, "class folders only"),
    ],
)
def test_bad_input(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    root = plain_corpus(tmp_path / "it", 1)
    values = {
        name: root / value if isinstance(value, str) and "." in value else value for name, value in options.items()
    }
    with pytest.raises(InputError, match=re.escape(reason)):
        app.corpus(root, **values)  # type: ignore[arg-type]


def test_what_training_would_refuse_is_described(tmp_path: Path) -> None:
    for i in range(6):
        write(tmp_path / f"one/wren/{i}.wav", noise(i))
    (tmp_path / "one/silence.csv").write_text("path,labels\n" + "".join(f"wren/{i}.wav,\n" for i in range(6)))
    for options, classes in (([], "1 class(es) (wren)"), (["--csv", tmp_path / "one/silence.csv"], "0 class(es)")):
        done = run(tmp_path / "one", "--plot", tmp_path / "p.png", *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"no folds: the corpus has {classes}; two are needed\n" in done.stdout
        assert "with the same audio: none" in done.stdout
    assert "(no label)      6" in done.stdout


def test_no_cell_of_the_details_is_a_formula(tmp_path: Path) -> None:
    for name in ("=1+1", "+b"):
        write(tmp_path / f"{name}/=a.wav", noise(1))
    (tmp_path / "+b/@c.wav").write_text("no sound")
    (tmp_path / "list.csv").write_text("path,labels\n=1+1/=a.wav,=1+1;-x\n+b/=a.wav,+b\n+b/@c.wav,wren\n")
    command = [sys.executable, "-m", "aer", "corpus", ".", "--csv", "list.csv", "--details", "d.csv"]
    launcher.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=120)
    table = pd.read_csv(tmp_path / "d.csv", keep_default_na=False, dtype=str)
    assert table["labels"].tolist() == ["'=1+1;'-x", "'+b", ""]
    assert table["path"].tolist() == ["./=1+1/=a.wav", "./+b/=a.wav", "./+b/@c.wav"]
    assert table["duplicate_of"].tolist() == ["", "./=1+1/=a.wav", ""]


def test_bad_path(tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere is not there" in done.stderr
    assert done.stderr.count("\n") == 1


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 32767 / 32768, 1.5]), max_size=40), st.data())
def test_cutting_into_blocks_changes_nothing(values: list[float], data: st.DataObject) -> None:
    samples = np.array(values, np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=6)))
    in_blocks = levels(np.split(samples, cuts))
    runs = "".join("x" if abs(x) >= 32767 / 32768 else " " for x in values).split()
    assert in_blocks.clipped_samples == sum(len(stretch) for stretch in runs if len(stretch) > 1)
    whole = levels([samples])
    assert in_blocks.digest == whole.digest
    assert in_blocks.rms_dbfs == pytest.approx(whole.rms_dbfs)
    assert in_blocks.n_samples == len(samples)
