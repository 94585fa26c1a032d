"""The report of an evaluation, as text and as JSON."""

import json

import numpy as np
from helpers.figures import scored, value

from aer.evaluation.report import report
from aer.evaluation.score_metrics import evaluate_scores


def test_report() -> None:
    targets, scores = scored(0, 20)
    targets[:, 1] = False
    figures = evaluate_scores(targets, scores, np.full(4, 0.4), ["a", "b\x1b[31m", "c", "d"], n_draws=20)
    text, data = report(figures)
    assert "\x1b" not in text
    assert f"{value(figures, 'mAP'):.3f} (" in text
    assert data["classes"]["b\x1b[31m"]["AP"] == {"value": None, "interval": None}
    assert data["overall"]["mAP"]["value"] == value(figures, "mAP")
    assert data["recordings"] == 20
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["a"], ["c"], ["d"])]
    precisions = [float(row[2]) for row in rows]
    assert precisions == sorted(precisions)  # the worst first
