"""The paper's curves of invariance as a figure: for each motion its pictures and its curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from convscope.experiments.invariance.curves import SETTLED, Curves, Invariance
from convscope.experiments.invariance.transforms import Transform
from convscope.experiments.number_words import percent, plus_minus
from convscope.report.chart import Mosaic, chart, ticks
from convscope.report.occlusion_figure import class_name
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import CHANCE, FAINT, OTHER, color_of, number
from convscope.stats import Estimate

__all__ = ["invariance_figure"]

TALL = 1.25  # inches: a chart's height
ACROSS = 4  # panels beside each other
LISTED = 5  # pictures that are shown
CAPTIONS = {
    Transform.TRANSLATION: "Shifted by pixels",
    Transform.SCALE: "Enlarged",
    Transform.ROTATION: "Turned by degrees",
}
WORDS = {
    Transform.TRANSLATION: "Shift",
    Transform.SCALE: "Enlargement",
    Transform.ROTATION: "Turn",
}


def invariance_figure(
    invariance: Invariance,
    *,
    classes: Sequence[str] | None = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """The paper's Fig. 5 of arXiv:1311.2901.

    For each motion: pictures, each moved by several amounts, framed in the colour of their curve;
    then, for each layer, the Euclidean distance between the features of the picture as it is and
    moved, a dashed line where different pictures are on average; last, the class's probability.
    Above all stands how early each layer changes: the paper finds the first one dramatically
    early, and the top one late and nearly linear for shifts and scales.
    """
    sheet = Sheet(title or "Feature invariance", subtitle)
    sheet.notes(_verdict(invariance))
    for curves in invariance.curves:
        shown = Panel(partial(_draw_pictures, curves=curves), CAPTIONS[curves.motions.motion])
        layers = [_distances(invariance, curves, layer) for layer in range(len(invariance.layers))]
        lowest = f"lowest, on average {curves.probability.min(1).mean():.2f}"
        last = Panel(
            partial(_draw_curves, curves=curves, values=curves.probability, most=1.02, apart=None),
            "Probability of the class",
            [Note(lowest)],
            height=TALL,
        )
        sheet.grid([shown, *layers, last], ACROSS)
    sheet.legend(_names(invariance, classes))
    return sheet.figure()


def _verdict(invariance: Invariance) -> list[Note]:
    """What the curves say: how much a layer has changed after a tenth of each motion."""
    lines = []
    for curves in invariance.curves:
        shares = [
            f"{layer} {percent(early.mean)}"
            for layer, early in zip(invariance.layers, invariance.early(curves), strict=True)
        ]
        lines.append(Note(f"{WORDS[curves.motions.motion]}: {', '.join(shares)}", bold=True))
    head = "How much of its largest distance a layer has gone after a tenth of the range"
    return [Note(f"{head} (a straight line: 10 %):"), *lines]


def _draw_pictures(axes: Axes, curves: Curves) -> None:
    pictures = curves.pictures[:LISTED]
    rows, shown, height, width = pictures.shape[:4]
    mosaic = Mosaic(axes, rows, shown, tall=height / width)
    for i, moved in enumerate(pictures):
        for j, pixels in enumerate(moved):
            mosaic.show(i, j, pixels, color_of(i), 1.2)
    amounts = [curves.motions.amounts[index] for index in curves.shown]
    mosaic.name_columns([number(round(amount, 2)) for amount in amounts])


def _distances(invariance: Invariance, curves: Curves, layer: int) -> Panel:
    values = curves.distance[:, layer]
    apart = None if invariance.apart is None else invariance.apart[layer]
    most = max(float(values.max()), apart or 0.0) * 1.06 or 1.0
    early = invariance.early(curves)[layer]
    said = [Note(f"{_share(early)} of the largest after a tenth of the range")]
    if curves.motions.motion in SETTLED:
        line = invariance.linearity(curves)[layer]
        words = (
            f"a straight line: R² {_spread(line)}" if line.mean > 0 else "no straight line: R² < 0"
        )
        said.append(Note(words, color=FAINT))
    draw = partial(_draw_curves, curves=curves, values=values, most=most, apart=apart)
    return Panel(draw, f"Distance in {invariance.layers[layer]}", said, height=TALL)


def _draw_curves(
    axes: Axes, curves: Curves, values: NDArray[np.float64], most: float, apart: float | None
) -> None:
    chart(axes, curves.motions.words)
    amounts = curves.motions.amounts
    if apart is not None:
        axes.axhline(apart, **CHANCE)
    for i, curve in enumerate(values):
        color, order = (color_of(i), 3) if i < LISTED else (OTHER, 2)
        axes.plot(amounts, curve, color=color, linewidth=1.0, zorder=order)
    axes.set(xlim=(min(amounts), max(amounts)), ylim=(0, most))
    if curves.motions.motion is Transform.ROTATION:
        ticks(axes, x=[0, 90, 180, 270, 360])


def _names(invariance: Invariance, classes: Sequence[str] | None) -> list[Line2D]:
    """What the colours and the dashes are."""
    lines = []
    for i, (name, label, known) in enumerate(
        zip(invariance.names[:LISTED], invariance.targets, invariance.known, strict=False)
    ):
        what = class_name(label, classes)
        words = f"{name}, {'' if known else 'taken for '}{what}"
        lines.append(Line2D([], [], color=color_of(i), linewidth=1.6, label=words))
    if len(invariance.names) > LISTED:
        more = len(invariance.names) - LISTED
        words = f"in grey: {more} more picture{'s' if more > 1 else ''}"
        lines.append(Line2D([], [], color=OTHER, linewidth=1.6, label=words))
    if invariance.apart is not None:
        words = f"dashed: mean distance between different pictures, {invariance.pairs} pairs"
        lines.append(Line2D([], [], **CHANCE, label=words))
    return lines


def _share(estimate: Estimate) -> str:
    return f"{plus_minus(estimate.mean, estimate.deviation, digits=0)} %"


def _spread(estimate: Estimate) -> str:
    return plus_minus(estimate.mean, estimate.deviation, digits=2, unit=1)
