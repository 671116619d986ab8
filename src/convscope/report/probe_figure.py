"""The paper's Table 7 as a figure: accuracy by depth of the layer whose features are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from convscope.experiments.depth import LayerProbe
from convscope.experiments.multilabel import MultiTransfer

from .chart import chart, ticks
from .style import FAINT, HEADER, LABELS, MARGIN, OTHER, head, place, write

__all__ = ["depth_figure", "probe_figure"]

STEP, TALL = 0.62, 2.7  # inches: between layers, the axes' height
LEFT, BELOW, KEY = 0.42, 0.85, 1.75
NARROWEST = 3.0
NAMES = {"softmax": "softmax", "svm": "linear SVM"}

Curve = tuple[str, Sequence[float], Sequence[float], Sequence[float]]
"""A curve's name, its values, and how far its bars reach down and up."""


def probe_figure(found: LayerProbe, *, title: str = "", subtitle: str = "") -> Figure:
    """Accuracy by layer, bottom up: a curve per classifier, one standard deviation over the folds
    as bars; the dashed line is what guessing reaches."""
    curves: list[Curve] = [
        (
            NAMES.get(classifier, classifier),
            [point.mean for point in points],
            [point.std for point in points],
            [point.std for point in points],
        )
        for classifier, points in found.points.items()
    ]
    under = [(layer.name, f"{layer.pooling}, {layer.length:,}") for layer in found.layers]
    words = f"accuracy, mean over classes, %, {found.protocol.per_class[0]} images per class"
    return _figure(curves, under, found.chance, words, title or "Feature analysis", subtitle)


def depth_figure(found: MultiTransfer, *, title: str = "", subtitle: str = "") -> Figure:
    """Mean average precision by layer, with its interval over images."""
    layers = found.layers
    curve: Curve = (
        "logistic loss per class",
        [layer.mean for layer in layers],
        [max(layer.mean - layer.low, 0) for layer in layers],
        [max(layer.high - layer.mean, 0) for layer in layers],
    )
    under = [(layer.layer, f"{layer.length:,}") for layer in layers]
    words = "mean average precision, %"
    return _figure([curve], under, found.chance, words, title or "Feature analysis", subtitle)


def _figure(
    curves: Sequence[Curve],
    under: Sequence[tuple[str, str]],
    chance: float,
    up: str,
    title: str,
    subtitle: str,
) -> Figure:
    wide = max(STEP * len(under), NARROWEST)
    figure = head(2 * MARGIN + LEFT + wide + KEY, TALL + BELOW + MARGIN, title, subtitle)
    axes = chart(figure, MARGIN + LEFT, HEADER + 0.1, wide, TALL)
    places = list(range(len(under)))
    for i, (_, values, down, above) in enumerate(curves):
        shift = 0.06 * (i - (len(curves) - 1) / 2)
        axes.errorbar(
            [at + shift for at in places],
            [100 * value for value in values],
            yerr=[[100 * each for each in down], [100 * each for each in above]],
            color=LABELS[i],
            marker="os"[i % 2],
            markersize=4,
            linewidth=1.4,
            elinewidth=1,
            capsize=2.5,
        )
    axes.axhline(100 * chance, color=OTHER, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    most = max(
        100 * (v + a) for _, values, _, above in curves for v, a in zip(values, above, strict=True)
    )
    high = 10 * (int(most / 10) + 1)
    high = 100 if high > 60 else high
    axes.set_xlim(-0.5, len(under) - 0.5)
    axes.set_ylim(0, high)
    axes.grid(axis="y", color=OTHER, linewidth=0.4)
    axes.set_axisbelow(True)
    ticks(axes, x=[], y=[float(value) for value in range(0, high + 1, 10 if high <= 60 else 20)])
    write(figure, MARGIN, HEADER - 0.08, up, "small", color=FAINT)
    _layers(figure, under, wide)
    _key(figure, curves, wide)
    return figure


def _layers(figure: Figure, under: Sequence[tuple[str, str]], wide: float) -> None:
    """The layers' names and how many features they gave, aslant below the axes."""
    top = HEADER + 0.1 + TALL + 0.08
    aslant: dict[str, Any] = {"rotation": 38, "rotation_mode": "anchor", "ha": "right", "va": "top"}
    for at, (name, length) in enumerate(under):
        left = MARGIN + LEFT + wide * (at + 0.5) / len(under)
        write(figure, left, top, name, "small", **aslant)
        write(figure, left + 0.1, top + 0.06, length, "small", color=FAINT, **aslant)


def _key(figure: Figure, curves: Sequence[Curve], wide: float) -> None:
    left = MARGIN + LEFT + wide + 0.25
    for row, (name, values, _, _) in enumerate(curves):
        top = HEADER + 0.2 + 0.42 * row
        swatch = place(figure, left, top + 0.01, 0.16, 0.09)
        swatch.plot([0, 1], [0, 0], color=LABELS[row], linewidth=1.6)
        swatch.plot(0.5, 0, marker="os"[row % 2], markersize=4, color=LABELS[row])
        write(figure, left + 0.24, top, name, "text")
        words = f"{100 * max(values):.1f} at best"
        write(figure, left + 0.24, top + 0.15, words, "small", color=FAINT)
    top = HEADER + 0.2 + 0.42 * len(curves)
    guess = place(figure, left, top + 0.01, 0.16, 0.09)
    guess.plot([0, 1], [0, 0], color=OTHER, linewidth=1, linestyle=(0, (4, 3)))
    write(figure, left + 0.24, top, "guessing", "text", color=FAINT)
