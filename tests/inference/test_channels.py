"""Which channels `aer predict` and `aer evaluate` hear, and the digests of folders from before there was a choice."""

import dataclasses
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.recordings import bursts, recognised, recordings_of
from helpers.tiny_predict import RATE, TinyBundle, tiny_bundle, tiny_plan

from aer.cli.recognition import EvaluateOptions, PredictOptions
from aer.errors import InputError
from aer.inference.plan import Options, make_plan
from aer.inference.recogniser import Recogniser


def of_channels(channels: str | int) -> TinyBundle:
    one = tiny_bundle()
    return dataclasses.replace(one, settings=one.settings.model_copy(update={"channels": channels}))


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    """A recording with a soft first channel, and each of its channels alone."""
    samples = np.concatenate([0.3 * bursts(3.0, 1), bursts(3.0, 2)], axis=1)
    (tmp_path / "alone").mkdir()
    (tmp_path / "both").mkdir()
    soundfile.write(tmp_path / "both/a.wav", samples, RATE, "FLOAT")
    for number in (1, 2):
        soundfile.write(tmp_path / f"alone/{number}.wav", samples[:, number - 1], RATE, "FLOAT")
    soundfile.write(tmp_path / "alone/mean.wav", samples.mean(axis=1), RATE, "FLOAT")
    return tmp_path


def test_the_channels_of_the_bundle_or_of_the_option_are_heard(stereo: Path) -> None:
    first, second, mean = recognised(recordings_of(stereo / "alone"), tiny_plan())

    def heard(bundle: TinyBundle, channels: str | int | None) -> str:
        (result,) = recognised(recordings_of(stereo / "both"), tiny_plan(bundle, channels=channels))
        names = {"first": first, "second": second, "mean": mean}
        return next(name for name, one in names.items() if np.array_equal(one.scores, result.scores))

    assert heard(tiny_bundle(), None) == "mean"
    assert heard(tiny_bundle(), 1) == heard(tiny_bundle(), "first") == "first"
    assert heard(tiny_bundle(), 2) == heard(tiny_bundle(), "loudest") == "second"
    assert heard(of_channels("first"), None) == "first"
    assert heard(of_channels("first"), "mix") == "mean"
    (result,) = recognised(recordings_of(stereo / "both"), tiny_plan(channels=3))
    assert (result.status, result.reason) == ("failed", "has no channel 3: there are 2")


def test_the_digest_is_that_of_before_where_the_channels_are_those_of_training() -> None:
    chosen = Options(overlap_s=0.5, threshold=0.5)
    fields = {name: value for name, value in asdict(chosen).items() if name != "channels"}
    before = {"recipe": 2, "bundles": ["0" * 64], **fields, "overlap_s": 0.5, "events": "frames"}
    digest = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()
    assert tiny_plan().recipe == tiny_plan(channels="mix").recipe == digest
    assert tiny_plan(of_channels(2), channels=2).recipe == tiny_plan(of_channels(2)).recipe == digest
    others = [tiny_plan(channels=channels).recipe for channels in ("first", 2, "loudest")]
    assert len({digest, *others}) == 4
    assert tiny_plan(of_channels(2), channels="mix").recipe != digest


def test_bundles_of_other_channels_need_the_option() -> None:
    with pytest.raises(InputError, match=r"other channels \(mix and 2\): they can't be averaged; --channels sets them"):
        Recogniser([tiny_bundle(), of_channels(2)], None, "cpu")
    plan, lines = make_plan(
        Recogniser([tiny_bundle(), of_channels(2)], None, "cpu", "first"), Options(channels="first")
    )
    assert plan.channels == "first" and "of several channels: the first" in lines


def test_the_options_reach_the_plan() -> None:
    assert PredictOptions((Path("a.aer"), Path("b")), channels=2).for_inference().channels == 2
    assert PredictOptions((Path("a.aer"), Path("b"))).for_inference().channels is None
    assert EvaluateOptions((Path("a.aer"), Path("b")), channels="first").for_inference(True).channels == "first"
    for options in (PredictOptions, EvaluateOptions):
        with pytest.raises(InputError, match="--channels must be 1 or more, it is 0"):
            options((Path("a.aer"), Path("b")), channels=0).check()
