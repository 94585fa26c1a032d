"""Bundles: whole, the same from the same run, complete in themselves; and files that are none."""

import hashlib
import json
import math
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers import launcher
from helpers.bundles import METRICS, small, some_thresholds
from helpers.paths import ROOT

import config
from aer.errors import AerError, InputError
from aer.models import bundle
from aer.models.kinds import Kind
from aer.models.registry import MODELS
from aer.models.summary import flops, summary
from aer.settings import AnySettings

pytestmark = pytest.mark.xdist_group("bundle")  # what its fixtures make is made once

CLASSES = ("robin", "wren", "owl\udcff")  # a folder's name need not be UTF-8
ADVICE = "make room"


FOUND = {"window": some_thresholds(len(CLASSES)), "frame": some_thresholds(len(CLASSES), seed=1)}


def build(settings: AnySettings) -> torch.nn.Module:
    torch.manual_seed(1)
    return MODELS[settings.model].build(settings, len(CLASSES)).eval()


@pytest.fixture(scope="module")
def models() -> dict[Kind, torch.nn.Module]:
    return {kind: build(small(kind)) for kind in MODELS}


def about(settings: AnySettings, model: torch.nn.Module) -> dict[str, Any]:
    return bundle.build_metadata(settings, CLASSES, 3, METRICS, model.state_dict())


def write(path: Path, settings: AnySettings, model: torch.nn.Module) -> Path:
    bundle.write(path, about(settings, model), FOUND, model.state_dict(), ADVICE)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, models: dict[Kind, torch.nn.Module]) -> dict[Kind, Path]:
    """A bundle of each kind."""
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: write(folder / f"{kind}.aer", small(kind), model) for kind, model in models.items()}


@pytest.mark.parametrize("kind", MODELS)
def test_round_trip(files: dict[Kind, Path], models: dict[Kind, torch.nn.Module], kind: Kind) -> None:
    path, settings = files[kind], small(kind)
    loaded = bundle.load(path)
    assert (loaded.kind, loaded.classes, loaded.epoch, loaded.background) == (kind, CLASSES, 3, "nocall")
    assert loaded.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.thresholds == json.loads(json.dumps(FOUND))
    assert loaded.metrics["valid_f1"] == 0.75
    assert math.isnan(loaded.metrics["valid_map"])
    places = {"corpus", "run_dir", "csv", "initial_weights", "pretrained_panns", "fresh", "workers", "device"}
    kept, before = (
        {name: value for name, value in one.model_dump().items() if name not in places}
        for one in (loaded.settings, settings)
    )
    assert kept == before
    model, waveform = loaded.build_model(), torch.rand(2, settings.clip_samples) - 0.5
    assert not model.training
    with torch.inference_mode():
        expected, found = models[kind](waveform), model(waveform)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in models[kind].state_dict().items())


def test_it_is_a_safetensors_file_for_any_reader(files: dict[Kind, Path], models: dict[Kind, torch.nn.Module]) -> None:
    content = files["resnest"].read_bytes()
    (n_bytes,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + n_bytes])
    metadata = json.loads(header["__metadata__"]["aer"])
    assert list(header["__metadata__"]) == ["aer"]
    assert (metadata["format"], metadata["kind"], metadata["classes"]) == (1, "resnest", list(CLASSES))
    weights = models["resnest"].state_dict()
    assert header.keys() - {"__metadata__"} == weights.keys()
    begin, end = header["head.6.bias"]["data_offsets"]
    assert content[8 + n_bytes :][begin:end] == weights["head.6.bias"].numpy().tobytes()
    zeroed = content.replace(metadata["sha256"].encode(), b"0" * 64, 1)
    assert hashlib.sha256(zeroed).hexdigest() == metadata["sha256"]
    assert bundle.has_metadata(files["resnest"], about(small("resnest"), models["resnest"]))
    assert not bundle.has_metadata(files["resnest"], about(small("resnest", seed=9), models["resnest"]))


def test_the_same_run_gives_the_same_bytes_wherever_it_was(
    tmp_path: Path, files: dict[Kind, Path], models: dict[Kind, torch.nn.Module]
) -> None:
    elsewhere = small("resnest", corpus="/else/where", run_dir="other", workers=3, device="cpu", csv="x.csv")
    other = write(tmp_path / "other.aer", elsewhere, models["resnest"])
    assert other.read_bytes() == files["resnest"].read_bytes()
    assert b"where" not in other.read_bytes()


ALONE = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from aer.models import bundle
loaded = bundle.load(Path(sys.argv[1]))
torch.manual_seed(5)
with torch.inference_mode():
    scores = loaded.build_model()(torch.rand(2, loaded.settings.clip_samples) - 0.5)["clipwise_output"]
assert "config" not in sys.modules
print(json.dumps([list(loaded.classes), scores.tolist()]))
"""


def test_it_needs_no_config_and_no_corpus(
    tmp_path: Path, files: dict[Kind, Path], models: dict[Kind, torch.nn.Module]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(files["resnest"])],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    classes, scores = json.loads(done.stdout)
    assert classes == list(CLASSES)
    torch.manual_seed(5)
    with torch.inference_mode():
        expected = models["resnest"](torch.rand(2, small("resnest").clip_samples) - 0.5)["clipwise_output"]
    np.testing.assert_array_equal(np.float32(scores), expected.numpy())
    assert list(tmp_path.iterdir()) == []


def refused(path: Path) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(InputError) as caught:
        bundle.load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert len(line) < 600
    return line


def test_a_file_that_is_cut_short_or_has_one_bit_changed(tmp_path: Path, files: dict[Kind, Path]) -> None:
    content = bytearray(files["resnest"].read_bytes())
    (n_header,) = struct.unpack_from("<Q", content)
    path = tmp_path / "damaged.aer"
    for n_bytes in (0, 4, 50, 500, n_header, len(content) - 1):
        path.write_bytes(content[:n_bytes])
        assert is_damaged(refused(path))
    path.write_bytes(content + b"\0")
    assert is_damaged(refused(path))
    random = np.random.default_rng(3)
    with path.open("r+b") as file:  # in place: a hundred megabytes are written once
        file.truncate(len(content))
        at_text = [content.index(name) for name in (b"robin", b"valid_f1", b"0.75", b"best_f1", b"udcff")]
        for position in [*range(9), 30, 46, 60, *at_text, n_header, *random.integers(n_header, len(content), 3)]:
            bit = 1 << int(random.integers(8))
            file.seek(position)
            file.write(bytes([content[position] ^ bit]))
            file.flush()
            assert is_damaged(refused(path)), position
            file.seek(position)
            file.write(content[position : position + 1])
            file.flush()
    assert bundle.load(path).classes == CLASSES


def is_damaged(line: str) -> bool:
    return "damaged" in line


def test_files_that_are_no_bundle(tmp_path: Path, models: dict[Kind, torch.nn.Module]) -> None:
    assert "no such file" in refused(tmp_path / "nowhere.aer")
    assert "no such file" in refused(tmp_path)
    (tmp_path / "text").write_text("a diary\n" * 50)
    assert "no bundle of aer" in refused(tmp_path / "text")
    torch.save({"model": {}}, tmp_path / "best.pth")
    assert "no bundle of aer" in refused(tmp_path / "best.pth")
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors", {"format": "pt"})
    assert "no bundle of aer" in refused(tmp_path / "other.safetensors")


def forge(path: Path, metadata: Any, found: Any = FOUND, weights: Any = None) -> Path:
    """A file with a right checksum and whatever content."""
    bundle.write(path, metadata, found, weights or {}, ADVICE)
    return path


def changed(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda metadata: {**metadata, **changes}


def settings_with(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda metadata: {**metadata, "settings": {**metadata["settings"], **changes}}


def nested(depth: int) -> Any:
    inner: Any = 1
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(format=2), "of format 2, written by a newer aer; .* update aer"),
        (changed(format=10**4000), "of format 1000"),
        (changed(format=0), "there is no format 0"),
        (changed(format="1"), "format: "),
        (changed(format=True), "format: "),
        (changed(kind="pickle"), "kind: "),
        (changed(kind=["panns"]), "kind: "),
        (changed(classes="robin"), "classes: "),
        (changed(classes=[]), "classes: "),
        (changed(classes=["a", "a", "b"]), "its classes are not names"),
        (changed(classes=["a", 5, None]), "its classes are not names"),
        (changed(classes=["a"] + [["x"]] * 2), "its classes are not names"),
        (changed(metrics={"f1": "high"}), "metrics"),
        (changed(metrics=[1]), "metrics"),
        (changed(epoch=1.5), "epoch"),
        (changed(versions={"torch": 2}), "versions"),
        (changed(background=["nocall"]), "background"),
        (changed(surprise=1), "surprise"),
        (changed(epoch=nested(900)), "epoch"),
        (changed(settings=7), "settings: "),
        (settings_with(sample_rate="fast"), "its settings can't be used: sample_rate: "),
        (settings_with(sample_rate=10**400), "its settings can't be used"),
        (settings_with(clip_duration_s=1e308), "its settings can't be used"),
        (settings_with(from_the_future=1), "its settings can't be used: from_the_future: .*newer aer"),
        (settings_with(mel={"window_samples": 512}), "its settings can't be used: mel"),
        (settings_with(mel=None), "its settings can't be used: mel"),
        (settings_with(model="panns"), "its settings can't be used: model"),
        # sizes that would fill any memory, were a model made of them
        (settings_with(mel={**config.RESNEST["sample"].mel.model_dump(), "n_mels": 10**12}), "frontend"),
        (settings_with(mel={**config.RESNEST["sample"].mel.model_dump(), "window_samples": 10**12}), "window_samples"),
    ],
)
def test_any_content_is_refused_in_one_line(
    tmp_path: Path, models: dict[Kind, torch.nn.Module], change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    metadata = change(about(small("resnest"), models["resnest"]))
    weights = {name: models["resnest"].state_dict()[name] for name in ("frontend.window", "frontend.filter_bank")}
    line = refused(forge(tmp_path / "forged.aer", metadata, weights=weights))
    assert re.search(message, line), line


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"window": None, "frame": None},
        {"window": [], "frame": None},
        {"window": FOUND["window"]},
        {"window": FOUND["window"], "frame": [1, 2, 3]},
        {"window": FOUND["window"], "frame": 5},
        {"window": {"a": 1, "b": 2, "c": 3}, "frame": None},
        {"window": [{}, {}, {}], "frame": None},
        {"window": FOUND["window"][:2], "frame": None},
    ],
)
def test_thresholds_of_another_make_are_refused(
    tmp_path: Path, models: dict[Kind, torch.nn.Module], found: dict[str, Any]
) -> None:
    path = forge(tmp_path / "forged.aer", about(small("resnest"), models["resnest"]), found)
    assert "its thresholds can't be used" in refused(path)


def test_weights_that_do_not_fit(tmp_path: Path, models: dict[Kind, torch.nn.Module]) -> None:
    metadata, weights = about(small("resnest"), models["resnest"]), models["resnest"].state_dict()
    path = tmp_path / "forged.aer"
    line = refused(
        forge(path, {**metadata, "classes": ["a", "b"]}, {name: e[:2] for name, e in FOUND.items()}, weights)
    )
    assert "head.6.weight is (3, 1024), and (2, 1024) by its settings and classes" in line
    without = {name: value for name, value in weights.items() if name != "head.0.bias"}
    assert "1 missing (head.0.bias)" in refused(forge(path, metadata, weights=without))
    other = {**weights, "head.0.bias": torch.zeros(5)}
    assert "head.0.bias (5,) instead of (1024,)" in refused(forge(path, metadata, weights=other))
    backbone = {**metadata, "settings": {**metadata["settings"], "backbone": "../../etc"}}
    with pytest.raises(InputError, match="no such model"):
        bundle.load(forge(path, backbone, weights=weights))


def test_a_place_that_can_not_be_written(tmp_path: Path, models: dict[Kind, torch.nn.Module]) -> None:
    with pytest.raises(AerError, match=r"can't write .*; make room"):
        write(tmp_path / "nowhere/best.aer", small("resnest"), models["resnest"])


def test_the_summary(files: dict[Kind, Path], models: dict[Kind, torch.nn.Module]) -> None:
    text = summary(files["panns"])
    n_trained = sum(p.numel() for p in models["panns"].parameters() if p.requires_grad)
    for part in (
        "PANNs Cnn14, epoch 3",
        "3; in recordings of nocall there is none",
        "0.64 s at 16000 Hz",
        "STFT of 512 samples every 320 (20 ms); 32 mel bins, 500 to 8000 Hz",
        f"{n_trained:,} trained parameters",
        "macro F1 0.7500",
        "robin",
        r"owl\udcff",
        bundle.load(files["panns"]).digest,
    ):
        assert part in text


def test_flops_are_those_counted_by_hand() -> None:
    """A convolution: 2 per weight and place of its output. A matrix product: 2 per weight and row."""
    model = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 100)), torch.nn.Conv1d(1, 4, 5), torch.nn.Linear(96, 3))
    assert flops(model, 100) == 2 * (4 * 5 * 96) + 2 * (4 * 96 * 3)


def test_the_summary_of_no_bundle_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aer", "summary", "nothing.aer"]
    done = launcher.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, forked=False)
    assert (done.returncode, done.stderr) == (2, "error: nothing.aer: no such file\n")


def test_channels_are_carried_and_their_mean_is_what_earlier_versions_wrote(
    tmp_path: Path, models: dict[str, torch.nn.Module]
) -> None:
    for channels in ("mix", "first", 2, "loudest"):
        settings = type(small("panns")).model_validate(small("panns").model_dump() | {"channels": channels})
        metadata = about(settings, models["panns"])
        # bundles of runs from before there were channels are the same, and earlier versions read these
        assert ("channels" in metadata["settings"]) == (channels != "mix")
        path = write(tmp_path / f"{channels}.aer", settings, models["panns"])
        assert bundle.load(path).settings.channels == channels
        assert bundle.has_metadata(path, metadata)
