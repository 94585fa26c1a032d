"""What options and models make of each other: thresholds, windows, and what does not fit."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_predict import tiny_bundle, tiny_plan

from aer.errors import InputError
from aer.inference.plan import Options, Plan, make_plan
from aer.inference.recogniser import Recogniser


def planned(recogniser: Recogniser, **options: Any) -> tuple[Plan, str]:
    plan, lines = make_plan(recogniser, Options(**options))
    return plan, "\n".join(lines)


def known(best_f1: float, *curve: tuple[float, float, float]) -> dict[str, Any]:
    platt = {"kind": "platt", "slope": 1.0, "intercept": 0.0}
    return {"n_positive": 9, "best_f1": best_f1, "f1": 1.0, "curve": list(curve), "calibration": platt, "note": ""}


def test_thresholds() -> None:
    unknown = {"n_positive": 2, "best_f1": None, "f1": None, "curve": [], "calibration": None, "note": "only 2 of 5"}
    lists = {"window": [known(0.3, (0.2, 0.5, 1.0), (0.6, 0.9, 0.5)), unknown], "frame": [known(0.1), unknown]}
    one = dataclasses.replace(tiny_bundle(), thresholds=lists)
    recogniser = Recogniser([one], None, "cpu")
    assert planned(recogniser)[0].thresholds.tolist() == [0.1, 0.5]
    assert "threshold of quiet: 0.5 (only 2 of 5)" in planned(recogniser)[1]
    plan, lines = planned(recogniser, events="windows", precision=0.8)
    assert plan.thresholds.tolist() == [0.6, np.inf]
    assert "threshold of quiet: none, never reported (only 2 of 5)" in lines
    assert "loud" in planned(recogniser, events="windows", precision=0.95)[1]
    plan, lines = planned(recogniser, threshold=0.7)
    assert plan.thresholds.tolist() == [0.7, 0.7]
    assert "threshold of" not in lines
    assert recogniser.probabilities("window", 0, np.array([0.25, 0.5])) == pytest.approx([0.25, 0.5])
    assert recogniser.probabilities("window", 1, np.array([0.25, 0.5])) == [None, None]
    lists = {**lists, "window": [known(0.5), known(0.4)]}
    both = Recogniser([one, dataclasses.replace(one, thresholds=lists)], None, "cpu")
    assert planned(both, events="windows")[0].thresholds.tolist() == [0.4, 0.4]


def test_options_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="--overlap 1 must be less than the window of 1 s"):
        tiny_plan(overlap_s=1.0)
    with pytest.raises(InputError, match=r"--window 0.1: tiny.aer can't take it: .* 32 mel bins and frames"):
        tiny_plan(window_s=0.1)
    with_windows = tiny_bundle()
    with_windows = dataclasses.replace(with_windows, thresholds={**with_windows.thresholds, "frame": None})
    with pytest.raises(InputError, match="--events frames: these models have no frames"):
        tiny_plan(with_windows, events="frames")
    assert not tiny_plan(with_windows).by_frames
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="--device cuda"):
            Recogniser([tiny_bundle()], None, "cuda")
