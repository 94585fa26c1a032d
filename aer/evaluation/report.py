"""The figures of an evaluation as a table for people and as JSON."""

import math
from typing import Any

from aer.evaluation.bootstrap import Figure, Figures
from aer.utils.text import printable


def report(figures: Figures) -> tuple[str, dict[str, Any]]:
    """Return the figures as text, worst classes first, and as JSON can hold them (what is not defined is null)."""
    return "\n".join(_lines(figures)), _json(figures)


def _lines(figures: Figures) -> list[str]:
    has_intervals = any(figure.interval for figure in figures.overall.values())
    lines = [figures.title + (", with 95% intervals by resampling the recordings" if has_intervals else "")]
    width = max(map(len, figures.overall))
    lines += [f"  {name:<{width}}  {_with_interval(figure)}" for name, figure in figures.overall.items()]
    names = [printable(label) for label in figures.classes]
    width = max(map(len, ["class", *names]))
    lines += ["", f"  {'class':<{width}}  {'known':>6}" + "".join(f"  {name:>20}" for name in figures.per_class)]
    main = next(iter(figures.per_class.values()))
    order = sorted(range(len(names)), key=lambda c: (math.isnan(main[c].value), main[c].value, names[c]))
    for c in order:
        cells = "".join(f"  {_with_interval(values[c]):>20}" for values in figures.per_class.values())
        lines.append(f"  {names[c]:<{width}}  {figures.n_known[c]:>6}{cells}")
    return lines + [f"  note: {note}" for note in figures.notes]


def _with_interval(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "-"
    interval = f" ({figure.interval[0]:.3f}-{figure.interval[1]:.3f})" if figure.interval else ""
    return f"{figure.value:.3f}{interval}"


def _json(figures: Figures) -> dict[str, Any]:
    return {
        "title": figures.title,
        "recordings": figures.n_recordings,
        "overall": {name: _figure(figure) for name, figure in figures.overall.items()},
        "classes": {
            label: {"known": figures.n_known[c]}
            | {name: _figure(values[c]) for name, values in figures.per_class.items()}
            for c, label in enumerate(figures.classes)
        },
        "notes": list(figures.notes),
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "value": None if math.isnan(figure.value) else figure.value,
        "interval": None if figure.interval is None else list(figure.interval),
    }
