"""How alike a map's strongest images are, layer by layer: a Grouping -> a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.paper.purity import Grouping
from convscope.report.chart import chart, ticks
from convscope.report.style import FAINT, HEADER, LABELS, MARGIN, OTHER, head, place, write

__all__ = ["grouping_figure"]

STEP, TALL, LEFT, BELOW, KEY = 0.95, 2.1, 0.4, 0.42, 2.0  # inches
TRAINED, UNTRAINED = LABELS[0], LABELS[1]
SHIFT = 0.17


def grouping_figure(found: Grouping, *, title: str = "", subtitle: str = "") -> Figure:
    """A dot for each feature map, beside those of the network before training; bars are means."""
    wide = STEP * len(found.layers)
    across = 2 * MARGIN + LEFT + wide + KEY
    title = title or "Are a map's strongest images of one kind?"
    figure = head(across, TALL + BELOW + 0.2, title, subtitle or f"{found.images:,} images")
    axes = chart(figure, MARGIN + LEFT, HEADER + 0.15, wide, TALL)
    for at, layer in enumerate(found.layers):
        _dots(axes, at - SHIFT, layer.maps, TRAINED)
        _dots(axes, at + SHIFT, layer.untrained, UNTRAINED)
        left = MARGIN + LEFT + STEP * (at + 0.5)
        write(figure, left, HEADER + 0.15 + TALL + 0.08, layer.layer, ha="center")
    axes.axhline(100 * found.chance, color=OTHER, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.set_xlim(-0.5, len(found.layers) - 0.5)
    axes.set_ylim(-2, 102)
    axes.grid(axis="y", color=OTHER, linewidth=0.4)
    axes.set_axisbelow(True)
    ticks(axes, x=[], y=[0.0, 20.0, 40.0, 60.0, 80.0, 100.0])
    words = f"pairs of one class among each map's {found.top} strongest images, %"
    write(figure, MARGIN, HEADER - 0.06, words, "small", color=FAINT)
    _key(figure, MARGIN + LEFT + wide + 0.3)
    return figure


def _dots(axes: Axes, middle: float, values: Sequence[float], colour: str) -> None:
    if not values:
        return
    places = middle + np.random.default_rng(0).uniform(-0.11, 0.11, len(values))
    axes.plot(
        places, [100 * v for v in values], "o", color=colour, markersize=2.6, alpha=0.4, mew=0
    )
    mean = 100 * fmean(values)
    axes.plot([middle - 0.15, middle + 0.15], [mean, mean], color=colour, linewidth=2.2)


def _key(figure: Figure, left: float) -> None:
    for row, (words, colour) in enumerate(
        (("trained", TRAINED), ("before training", UNTRAINED), ("by chance", OTHER))
    ):
        top = HEADER + 0.25 + 0.24 * row
        swatch = place(figure, left, top, 0.16, 0.11)
        how = {"linewidth": 1, "linestyle": (0, (4, 3))} if colour == OTHER else {"linewidth": 2.2}
        swatch.plot([0, 1], [0, 0], color=colour, **how)
        write(figure, left + 0.24, top, words)
