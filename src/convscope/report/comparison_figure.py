"""What two networks have in common, as a figure: a Comparison -> a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from convscope.experiments.comparison.result import Comparison, LayerMatch
from convscope.experiments.number_words import minus
from convscope.report.chart import chart, inside, name_rows, row_height, value_rows
from convscope.report.sheet import PAGE, Panel, Sheet
from convscope.report.style import FAINT, INK, MAP, OTHER, color_of

__all__ = ["comparison_figure"]

NAMES = 2.0  # inches: the layers' names
CELL, NARROWEST = 0.26, 2.2  # inches: of the square a row at least, and the whole
MOST = 20  # layers that are shown
PARTS = {
    "kept": ("kept: in both, under the same number", color_of(0)),
    "moved": ("moved: in both, under another number", color_of(4)),
    "lost": ("lost: of the first network alone", color_of(1)),
    "new": ("new: of the second alone", color_of(3)),
    "silent": ("silent: of the first, the same for all images", OTHER),
}


def comparison_figure(comparison: Comparison, *, title: str = "", subtitle: str = "") -> Figure:
    """(a) how many maps of each layer both networks have; (b) how alike all layers are, by CKA."""
    sheet = Sheet(title or _told(comparison), subtitle)
    chosen = _spread(len(comparison.layers))
    layers = [comparison.layers[number] for number in chosen]
    names = [match.name for match in layers]
    height = row_height(names, NAMES) * len(names)
    draw = partial(_draw_maps, layers=layers)
    sheet.row([Panel(draw, "Maps of each layer; at the right the match's median r", height=height)])
    sheet.legend([Patch(facecolor=color, label=words) for words, color in PARTS.values()])
    sheet.text(
        f"Maps are matched one to one by r, the correlation of the {comparison.pooling} of each "
        "map over the images. Two are the same map where r is above the layer's level: "
        f"{_levels(comparison)}. The level is never below what the best of all pairs exceeds in "
        "5 % of shuffles of the images.",
        color=FAINT,
    )
    numbered = [f"{name}  ({number})" for number, name in enumerate(names, 1)]
    side = max(CELL, row_height(numbered, NAMES)) * len(names)
    wide = min(max(side, NARROWEST), PAGE - NAMES)
    beside = Panel(width=max(0.1, PAGE - NAMES - wide))
    draw = partial(_draw_alike, alike=_alike(comparison, chosen), names=numbered)
    sheet.row([Panel(draw, "How alike layers are (CKA)", height=side, width=wide), beside])
    sheet.text(_key(comparison), color=FAINT)
    return sheet.figure()


def _told(comparison: Comparison) -> str:
    """What was found, in a line."""
    common = sum(len(match.pairs) for match in comparison.layers)
    maps = sum(match.maps[0] for match in comparison.layers)
    return f"{common:,} of {maps:,} maps have one that answers alike in the other network"


def _levels(comparison: Comparison) -> str:
    levels = [match.level for match in comparison.layers]
    low, high = min(levels), max(levels)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _spread(count: int) -> list[int]:
    """The numbers of the layers that are shown: all, or as many as may be, evenly chosen."""
    return [round(place) for place in np.linspace(0, count - 1, min(count, MOST))]


def _alike(comparison: Comparison, chosen: Sequence[int]) -> NDArray[np.float64]:
    """CKA of the layers that are shown; NaN where a layer is silent."""
    rows = [[np.nan if value is None else value for value in row] for row in comparison.cka]
    return np.array(rows, np.float64)[np.ix_(chosen, chosen)]


def _draw_maps(axes: Axes, layers: Sequence[LayerMatch]) -> None:
    """A bar per layer, of the first network's maps and the new ones."""
    chart(axes, "maps", lines="x")
    for row, match in enumerate(layers):
        left = 0
        for part, (_, color) in PARTS.items():
            count = len(match.silent[0]) if part == "silent" else len(getattr(match, part))
            axes.barh(row, count, left=left, height=0.7, color=color)
            left += count
    name_rows(axes, [match.name for match in layers], NAMES)
    value_rows(axes, ["-" if m.median is None else minus(f"{m.median:.2f}") for m in layers])


def _draw_alike(axes: Axes, alike: NDArray[np.float64], names: Sequence[str]) -> None:
    """A square: the first network's layers down, the second's across, by number."""
    count = len(names)
    axes.imshow(np.ma.masked_invalid(alike), cmap=MAP, vmin=0, vmax=1.15, aspect="auto")
    name_rows(axes, names, NAMES)
    axes.set_xticks(range(count), [str(i) for i in range(1, count + 1)])
    axes.tick_params(axis="x", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for i, j in np.ndindex(alike.shape):
        known = bool(np.isfinite(alike[i, j]))
        value = round(float(alike[i, j]), 2) + 0.0  # without -0.00
        words = minus(f"{value:.2f}").replace("0.", ".", 1) if known else "-"
        color = "white" if known and alike[i, j] < 0.65 else INK
        inside(axes, j, i, words, data="xy", ha="center", va="center", color=color)


def _key(comparison: Comparison) -> str:
    words = (
        f"Down: layers of {comparison.model}. Across: those of {comparison.other}. 1: the same up "
        "to a rotation and a scale; about 0: unrelated. Unrelated networks have maps in common, "
        "too, where all of them see the same brightness."
    )
    if (hidden := len(comparison.layers) - MOST) > 0:
        words += f" Layers are evenly chosen; {hidden} more layers are in result.json."
    return words
