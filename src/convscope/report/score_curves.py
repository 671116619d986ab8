"""Curves of a score in percent, each with bars, names beside: Fig. 9 and Table 7 as charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from convscope.report.chart import chart, ticks
from convscope.report.style import FAINT, HEADER, LABELS, MARGIN, OTHER, head, place, write

__all__ = ["LEFT", "TALL", "Curve", "score_curves"]

TALL, LEFT, KEY = 2.9, 0.42, 1.75  # inches: the axes, the numbers and the names of curves beside
APART = 0.42  # inches, between names
SHIFT = 0.008  # of the axes' width, between curves: equal ones both show
LOOKS = {
    "softmax": ("softmax", LABELS[0], "o"),
    "svm": ("linear SVM", LABELS[1], "s"),
    "scratch": ("from scratch", LABELS[2], "^"),
    "logistic": ("logistic loss per class", LABELS[0], "o"),
}
"""By classifier: name, colour and mark, the same in every figure."""


@dataclass(frozen=True)
class Curve:
    """classifier : one of LOOKS;   said : beside its name
    at : along the axis, as numbers;   values, below, above : scores and their bars, shares
    """

    classifier: str
    said: str
    at: Sequence[float]
    values: Sequence[float]
    below: Sequence[float]
    above: Sequence[float]


def score_curves(
    curves: Sequence[Curve],
    ends: tuple[float, float],
    *,
    wide: float,
    under: float,
    chance: float,
    words: str,
    title: str,
    subtitle: str,
) -> Figure:
    """The curves between two `ends`, and a dashed line at `chance`; the axis below has no numbers.

    wide : of the axes, inches;   under : room below them, inches;   words : what is measured
    """
    figure = head(2 * MARGIN + LEFT + wide + KEY, TALL + under + MARGIN, title, subtitle)
    axes = chart(figure, MARGIN + LEFT, HEADER + 0.1, wide, TALL)
    shift = SHIFT * (ends[1] - ends[0])
    for i, curve in enumerate(curves):
        _, colour, mark = LOOKS[curve.classifier]
        axes.errorbar(
            [at + shift * (i - (len(curves) - 1) / 2) for at in curve.at],
            _percent(curve.values),
            yerr=[_percent(curve.below), _percent(curve.above)],
            color=colour,
            marker=mark,
            markersize=4,
            linewidth=1.4,
            elinewidth=1,
            capsize=2.5,
        )
    axes.axhline(100 * chance, color=OTHER, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    most = max(
        100 * (value + bar)
        for curve in curves
        for value, bar in zip(curve.values, curve.above, strict=True)
    )
    high = 10 * (int(most / 10) + 1)
    high = 100 if high > 60 else high
    axes.set(xlim=ends, ylim=(0, high))
    axes.grid(axis="y", color=OTHER, linewidth=0.4)
    axes.set_axisbelow(True)
    ticks(axes, x=[], y=[float(value) for value in range(0, high + 1, 10 if high <= 60 else 20)])
    write(figure, MARGIN, HEADER - 0.08, words, "small", color=FAINT)
    _names(figure, MARGIN + LEFT + wide + 0.25, curves)
    return figure


def _percent(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


def _names(figure: Figure, left: float, curves: Sequence[Curve]) -> None:
    dashed: dict[str, Any] = {"color": OTHER, "linewidth": 1, "linestyle": (0, (4, 3))}
    for row in range(len(curves) + 1):
        top = HEADER + 0.2 + APART * row
        swatch = place(figure, left, top + 0.01, 0.16, 0.09)
        if row == len(curves):
            swatch.plot([0, 1], [0, 0], **dashed)
            write(figure, left + 0.24, top, "guessing", "text", color=FAINT)
            continue
        name, colour, mark = LOOKS[curves[row].classifier]
        swatch.plot([0, 1], [0, 0], color=colour, linewidth=1.6)
        swatch.plot(0.5, 0, marker=mark, markersize=4, color=colour)
        write(figure, left + 0.24, top, name, "text")
        write(figure, left + 0.24, top + 0.15, curves[row].said, "small", color=FAINT)
