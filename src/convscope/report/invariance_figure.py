"""The paper's curves of invariance as a figure: a row a motion, a column a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.experiments.invariance.curves import SETTLED, Curves, Invariance
from convscope.experiments.invariance.motions import Motion
from convscope.experiments.wording import plus_minus
from convscope.report.chart import chart, ticks
from convscope.report.style import (
    FAINT,
    GAP,
    HEADER,
    LABELS,
    MARGIN,
    OTHER,
    caption,
    frame,
    head,
    number,
    place,
    write,
)
from convscope.stats import Estimate

__all__ = ["invariance_figure"]

PANEL, TALL = 2.3, 1.55  # inches: a panel's width, a chart's height
CAPTION, AXIS, ROW = 0.24, 0.36, 2.62  # inches: words above, numbers below, a row in all
LEFT = 0.34  # inches for the numbers left of a chart
LISTED = 5  # pictures that are shown


def invariance_figure(
    found: Invariance,
    *,
    classes: Sequence[str] | None = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """The paper's Fig. 5 of arXiv:1311.2901.

    A row per motion. (a) pictures, each moved by several amounts, with the colour of its curves;
    then, for each layer, the Euclidean distance between the features of the picture as it is and
    moved, a dashed line where different pictures are on average; last, the class's probability.
    """
    columns = len(found.layers) + 2
    across = columns * PANEL + (columns - 1) * GAP + 2 * MARGIN
    named = min(LISTED, len(found.names))
    down = len(found.curves) * ROW + 0.16 * named + 0.1
    figure = head(across, down, title or "Feature invariance", subtitle)
    for row, curves in enumerate(found.curves):
        top = HEADER + row * ROW
        _pictures(figure, top, curves)
        for i, layer in enumerate(found.layers):
            left = MARGIN + (i + 1) * (PANEL + GAP)
            _distances(figure, (left, top), found, curves, i, f"{'bcdefghij'[i % 9]}", layer)
        left = MARGIN + (columns - 1) * (PANEL + GAP)
        _probabilities(figure, (left, top), curves, "bcdefghijk"[len(found.layers) % 10])
    _names(figure, HEADER + len(found.curves) * ROW, found, named, classes)
    return figure


def _pictures(figure: Figure, top: float, curves: Curves) -> None:
    caption(figure, MARGIN, top, "a", _AMOUNTS[curves.motions.motion], PANEL)
    pictures = curves.pictures[:LISTED]
    rows, shown = pictures.shape[:2]
    gap = 0.03
    side = min(PANEL / shown, (TALL + AXIS) / rows) - gap
    tall = side * min(1.0, pictures.shape[2] / pictures.shape[3])
    for i, moved in enumerate(pictures):
        for j, picture in enumerate(moved):
            left, above = MARGIN + 0.08 + j * (side + gap), top + CAPTION + i * (side + gap)
            axes = place(figure, left, above, side, tall)
            axes.imshow(picture, aspect="auto")
            frame(axes)
        bar = place(figure, MARGIN, top + CAPTION + i * (side + gap), 0.05, tall)
        bar.set_facecolor(_colour(i))
    below = top + CAPTION + rows * (side + gap) + 0.02
    for j, index in enumerate(curves.shown):
        left = MARGIN + 0.08 + j * (side + gap) + side / 2
        words = number(round(curves.motions.amounts[index], 2))
        write(figure, left, below, words, "small", ha="center", color=FAINT)


def _distances(
    figure: Figure,
    corner: tuple[float, float],
    found: Invariance,
    curves: Curves,
    layer: int,
    letter: str,
    name: str,
) -> None:
    left, top = corner
    caption(figure, left, top, letter, f"Distance in {name}", PANEL)
    values = curves.distance[:, layer]
    high = float(values.max())
    apart = None if found.apart is None else found.apart[layer]
    most = max(high, apart or 0.0) * 1.06 or 1.0
    _curves(figure, corner, curves, values, (0.0, most), apart)
    below = top + CAPTION + TALL + AXIS
    share = found.early(curves)[layer]
    write(figure, left + LEFT, below, f"{_share(share)} of the largest after a tenth of the range")
    line = found.linearity(curves)[layer]
    if curves.motions.motion in SETTLED:
        words = f"a straight line's R² {_spread(line)}"
        write(figure, left + LEFT, below + 0.14, words, color=FAINT)


def _probabilities(
    figure: Figure, corner: tuple[float, float], curves: Curves, letter: str
) -> None:
    left, top = corner
    caption(figure, left, top, letter, "Probability of the picture's class", PANEL)
    _curves(figure, corner, curves, curves.probability, (0.0, 1.02), None)
    lowest = curves.probability.min(1).mean()
    below = top + CAPTION + TALL + AXIS
    write(figure, left + LEFT, below, f"lowest, on average {lowest:.2f}")


def _curves(
    figure: Figure,
    corner: tuple[float, float],
    curves: Curves,
    values: NDArray[np.float64],
    limits: tuple[float, float],
    apart: float | None,
) -> None:
    left, top = corner
    axes = chart(figure, left + LEFT, top + CAPTION, PANEL - LEFT, TALL)
    amounts = curves.motions.amounts
    if apart is not None:
        axes.axhline(apart, color=FAINT, linewidth=0.7, linestyle=(0, (4, 3)))
    for i, curve in enumerate(values):
        colour = _colour(i) if i < LISTED else OTHER
        axes.plot(amounts, curve, color=colour, linewidth=1.0, zorder=3 if i < LISTED else 2)
    axes.set_xlim(min(amounts), max(amounts))
    axes.set_ylim(*limits)
    ticks(axes, x=_round_numbers(curves), y=_levels(limits[1]))
    middle = left + LEFT + (PANEL - LEFT) / 2
    words = curves.motions.words
    write(figure, middle, top + CAPTION + TALL + 0.17, words, "small", ha="center", color=FAINT)


def _names(
    figure: Figure, top: float, found: Invariance, named: int, classes: Sequence[str] | None
) -> None:
    for i in range(named):
        place(figure, MARGIN, top + 0.02 + 0.16 * i, 0.09, 0.09).set_facecolor(_colour(i))
        label, what = found.targets[i], "" if found.known[i] else "taken for "
        name = f"class {label}" if classes is None else classes[label].split(",")[0]
        words = f"{found.names[i]}, {what}{name}"
        write(figure, MARGIN + 0.16, top + 0.16 * i, words, width=PANEL + GAP)
    left, said = MARGIN + PANEL + GAP + LEFT, []
    if len(found.names) > named:
        said.append(f"in grey: {len(found.names) - named} more pictures")
    if found.apart is not None:
        said.append(f"dashed: mean distance between different pictures, {found.pairs} pairs")
    for i, words in enumerate(said):
        write(figure, left, top + 0.16 * i, words, color=FAINT)


_AMOUNTS = {
    Motion.TRANSLATION: "Shifted by pixels",
    Motion.SCALE: "Enlarged",
    Motion.ROTATION: "Turned by degrees",
}


def _round_numbers(curves: Curves) -> list[float]:
    """Where an axis of amounts has numbers."""
    if curves.motions.motion is Motion.ROTATION:
        return [0.0, 90.0, 180.0, 270.0, 360.0]
    low, high = min(curves.motions.amounts), max(curves.motions.amounts)
    whole = 0 if curves.motions.motion is Motion.TRANSLATION else 2
    return [round(value, whole) for value in np.linspace(low, high, 5).tolist()]


def _levels(high: float) -> list[float]:
    """0 and up to four round numbers."""
    step = 10 ** np.floor(np.log10(high))
    step = next(float(step * part) for part in (0.2, 0.25, 0.5, 1, 2) if high / (step * part) < 5)
    return [float(f"{i * step:.6g}") for i in range(int(high / step) + 1)]


def _colour(index: int) -> str:
    return LABELS[index % len(LABELS)]


def _share(estimate: Estimate) -> str:
    return f"{plus_minus(estimate.mean, estimate.deviation, digits=0)} %"


def _spread(estimate: Estimate) -> str:
    return plus_minus(estimate.mean, estimate.deviation, digits=2, unit=1)
