"""What is in a bundle, for the console."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from aer.models import thresholds
from aer.models.bundle import Bundle, load
from aer.models.registry import MODELS
from aer.settings import ResnestSettings
from aer.utils.text import printable

# names of a bundle's metrics, for the console
METRICS = {"valid_f1": "macro F1", "valid_map": "mAP", "valid_loss": "loss"}
OF_ALL_FOLDS = {"crossval_f1": "macro F1", "crossval_map": "mAP"}


def summary(path: Path) -> str:
    """Describe a bundle: kind, classes, front end, size, cost, metrics, thresholds; raise InputError if it is none."""
    bundle = load(path)
    model = bundle.build_model()
    settings, mel = bundle.settings, bundle.settings.mel
    n_parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    n_bytes = sum(tensor.nbytes for tensor in bundle.weights.values())
    backbone = f" ({printable(settings.backbone)})" if isinstance(settings, ResnestSettings) else ""
    image = f", as an image {settings.image_height} high" if isinstance(settings, ResnestSettings) else ""
    background = f"; in recordings of {printable(bundle.background)} there is none" if bundle.background else ""
    rows = {
        "model": f"{MODELS[bundle.kind].title}{backbone}, epoch {bundle.epoch}, by {printable(bundle.created_by)}",
        "classes": f"{len(bundle.classes)}{background}",
        "window": f"{settings.clip_duration_s:g} s at {settings.sample_rate} Hz, mono",
        "front end": f"STFT of {mel.window_samples} samples every {mel.hop_samples} "
        f"({1000 * mel.hop_samples / settings.sample_rate:.3g} ms); {mel.n_mels} mel bins, {mel.fmin_hz:g} to "
        f"{mel.fmax_hz:g} Hz{image}",
        "size": f"{n_parameters:,} trained parameters; {n_bytes / 1e6:.1f} MB of weights",
        "cost": f"{_count(flops(model, settings.clip_samples))}FLOPs per window (convolutions and matrix products; a "
        "multiplication with its addition counts as two)",
        "validation": _metrics(bundle, METRICS) or "not known",
    }
    if any(name in bundle.metrics for name in OF_ALL_FOLDS):
        rows["all folds"] = f"{_metrics(bundle, OF_ALL_FOLDS)}, each recording by the model that has not heard it"
    rows |= {"SHA-256": bundle.digest}
    lines = [f"{name:<12}{value}" for name, value in rows.items()]
    return "\n".join([printable(path), *lines, "thresholds with the best F1", *_threshold_lines(bundle)])


def flops(model: torch.nn.Module, n_samples: int) -> int:
    """Return the floating-point operations of a pass over one window of `n_samples`, as torch counts them."""
    device = next(model.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, n_samples, device=device))
    return int(counter.get_total_flops())


def _count(number: float) -> str:
    """Return "1.23 M" for 1234567."""
    power = min(int(math.log10(max(number, 1))) // 3, 4)
    return f"{number / 1000**power:.3g} {' kMGT'[power].strip()}"


def _metrics(bundle: Bundle, names: dict[str, str]) -> str:
    """Return those of the metrics that the bundle has: "macro F1 0.7500, mAP 0.8000"."""
    return ", ".join(f"{title} {bundle.metrics[name]:.4f}" for name, title in names.items() if name in bundle.metrics)


def _threshold_lines(bundle: Bundle) -> list[str]:
    """Return a table: per class its positives, threshold and F1, by window and (PANNs) by frame, with the notes."""
    by_unit = {
        unit: [thresholds.from_dict(entry) for entry in entries]
        for unit, entries in bundle.thresholds.items()
        if entries is not None
    }
    header = ["class", "positives"]
    for unit in by_unit:
        header += [f"{unit}s", "F1"]
    rows = []
    for c, name in enumerate(bundle.classes):
        of_class = [entries[c] for entries in by_unit.values()]
        row = [printable(name), str(by_unit["window"][c].n_positive)]
        for entry in of_class:
            row += [_number(entry.best_f1), _number(entry.f1)]
        notes = dict.fromkeys(printable(entry.note) for entry in of_class if entry.note)
        rows.append([*row, "; ".join(notes)])
    return _table([*header, ""], rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with columns two spaces apart: the first and last aligned left, the others right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if 0 < i < len(row) - 1 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines
