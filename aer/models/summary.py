"""What is in a bundle, for the console."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from aer.models import thresholds
from aer.models.bundle import Bundle, load
from aer.settings import ResnestSettings
from aer.utils.text import printable

NAMES = {"panns": "PANNs Cnn14", "resnest": "ResNeSt"}
METRICS = {  # as `metrics` of a bundle names them
    "valid_f1": "macro F1",
    "valid_map": "mAP",
    "valid_loss": "loss",
}
OF_ALL_FOLDS = {"crossval_f1": "macro F1", "crossval_map": "mAP"}


def summary(path: Path) -> str:
    """Kind, classes, front end, size, cost, metrics and thresholds of a bundle; InputError where it is none."""
    bundle = load(path)
    model = bundle.build_model()
    settings, mel = bundle.settings, bundle.settings.mel
    n_parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    n_bytes = sum(tensor.nbytes for tensor in bundle.weights.values())
    backbone = f" ({printable(settings.backbone)})" if isinstance(settings, ResnestSettings) else ""
    image = f", as an image {settings.image_height} high" if isinstance(settings, ResnestSettings) else ""
    background = f"; in recordings of {printable(bundle.background)} there is none" if bundle.background else ""
    rows = {
        "model": f"{NAMES[bundle.kind]}{backbone}, epoch {bundle.epoch}, by {printable(bundle.created_by)}",
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
    """Floating-point operations of a pass over one window, as torch counts them."""
    device = next(model.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, n_samples, device=device))
    return int(counter.get_total_flops())


def _count(number: float) -> str:
    """1234567 -> "1.23 M"."""
    power = min(int(math.log10(max(number, 1))) // 3, 4)
    return f"{number / 1000**power:.3g} {' kMGT'[power].strip()}"


def _metrics(bundle: Bundle, names: dict[str, str]) -> str:
    return ", ".join(f"{told} {bundle.metrics[name]:.4f}" for name, told in names.items() if name in bundle.metrics)


def _threshold_lines(bundle: Bundle) -> list[str]:
    """A table: per class its positives, threshold and F1, by window and (PANNs) by frame, with the notes."""
    entries = {
        what: [thresholds.from_dict(entry) for entry in listed]
        for what, listed in bundle.thresholds.items()
        if listed is not None
    }
    header = ["class", "positives"]
    for what in entries:
        header += [f"{what}s", "F1"]
    rows = []
    for c, name in enumerate(bundle.classes):
        row = [printable(name), str(entries["window"][c].n_positive)]
        for listed in entries.values():
            row += [_number(listed[c].best_f1), _number(listed[c].f1)]
        notes = dict.fromkeys(printable(listed[c].note) for listed in entries.values() if listed[c].note)
        rows.append([*row, "; ".join(notes)])
    return _table([*header, ""], rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two spaces apart; the first and the last to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if 0 < i < len(row) - 1 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines
