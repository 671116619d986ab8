"""How alike a map's strongest images are, layer by layer: a Grouping -> a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from convscope.experiments.paper.purity import Grouping
from convscope.report.chart import chart, name_rows, row_height
from convscope.report.sheet import Panel, Sheet
from convscope.report.style import CHANCE, LABELS

__all__ = ["grouping_figure"]

LINE, NAMES = 0.42, 1.8  # inches: a layer, and its name
TRAINED, UNTRAINED = LABELS[0], LABELS[1]
SHIFT = 0.19


def grouping_figure(grouping: Grouping, *, title: str = "", subtitle: str = "") -> Figure:
    """A dot for each feature map, beside those of the network before training; bars are means."""
    title = title or "Are a map's strongest images of one kind?"
    sheet = Sheet(title, subtitle or f"{grouping.images:,} images", width=6.6)
    names = [layer.layer for layer in grouping.layers]
    height = max(LINE, row_height(names, NAMES)) * len(names)
    sheet.row([Panel(partial(_draw, grouping=grouping), height=height)])
    sheet.legend([
        Line2D([], [], color=TRAINED, linewidth=2.2, label="trained"),
        Line2D([], [], color=UNTRAINED, linewidth=2.2, label="before training"),
        Line2D([], [], **CHANCE, label="by chance"),
    ])  # fmt: skip
    return sheet.figure()


def _draw(axes: Axes, grouping: Grouping) -> None:
    words = f"pairs of one class among each map's {grouping.top} strongest images, %"
    chart(axes, words, lines="x")
    name_rows(axes, [layer.layer for layer in grouping.layers], NAMES)
    for at, layer in enumerate(grouping.layers):
        _dots(axes, at - SHIFT, layer.maps, TRAINED)
        _dots(axes, at + SHIFT, layer.untrained, UNTRAINED)
    axes.axvline(100 * grouping.chance, **CHANCE)
    axes.set_xlim(-2, 102)


def _dots(axes: Axes, middle: float, values: Sequence[float], color: str) -> None:
    if not values:
        return
    places = middle + np.random.default_rng(0).uniform(-0.11, 0.11, len(values))
    shares = [100 * value for value in values]
    axes.plot(shares, places, "o", color=color, markersize=2.6, alpha=0.4, mew=0)
    axes.plot([fmean(shares)] * 2, [middle - 0.16, middle + 0.16], color=color, linewidth=2.2)
