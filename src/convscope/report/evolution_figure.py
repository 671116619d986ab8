"""The paper's Fig. 4 as a figure: an Evolution -> a matplotlib Figure, nothing written."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from convscope.errors import BadInput
from convscope.experiments.evolution.convergence import Convergence
from convscope.experiments.evolution.result import Evolution, LayerEvolution, MapEvolution
from convscope.report.style import (
    FAINT,
    GAP,
    HEADER,
    LABELS,
    MARGIN,
    RULE,
    frame,
    head,
    place,
    write,
)

__all__ = ["evolution_figure"]

TILE, SEAM = 0.62, 0.04  # inches of a projection, and between two
NAME = 0.5  # inches for the maps' names, left of their row
BLOCK_HEAD = 0.42  # inches for a layer's name, its words and the epochs
NARROWEST = 3.7  # inches of a block, so that words have room
WIDE = 7  # inches beyond which blocks stand below each other, not side by side
SHARP = 48  # pixels: pictures up to this side show their single pixels
MOST_TILES = 1500  # that matplotlib still draws
ROW, LINE = 0.27, 0.13  # inches of a layer in the last panel, and of a line of text
CORNER = 0.24  # of a tile, the mark of another winner
CHANGED, CONVERGED = LABELS[1], LABELS[0]


def evolution_figure(evolution: Evolution, *, title: str = "", subtitle: str = "") -> Figure:
    """A block for each layer: rows of feature maps, columns of kept epochs, from left to right.

    Each tile is the projection of the map's strongest activation over all images at that epoch,
    scaled around grey by its own largest value. A red corner marks an image that was not the
    winner before, a blue line the epoch from which on half of the layer's measured maps are what
    they are at the end. The last panel holds that for all layers, with quartiles.
    title, subtitle : say which network, and over which images

    Raises  BadInput: more tiles than a page can hold.
    """
    tiles = sum(len(layer.rows) for layer in evolution.layers) * len(evolution.epochs)
    if tiles > MOST_TILES:
        raise BadInput(f"{tiles} projections in one figure: ask for fewer layers, maps or epochs")
    wide = max(NARROWEST, NAME + len(evolution.epochs) * (TILE + SEAM) - SEAM)
    columns = 1 if wide > WIDE else 2
    panels: list[LayerEvolution | None] = [*evolution.layers, None]  # None: the convergence
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(_height(panel, len(evolution.layers)) for panel in row) for row in rows]
    across = columns * wide + (columns - 1) * 1.6 * GAP + 2 * MARGIN
    below = 0.34 + sum(heights) + (len(rows) - 1) * GAP + MARGIN
    figure = head(across, below, title or "Feature evolution", subtitle)
    _legend(figure)
    top = HEADER + 0.34
    for row, height in zip(rows, heights, strict=True):
        for number, panel in enumerate(row):
            left = MARGIN + number * (wide + 1.6 * GAP)
            if panel is None:
                _convergence(figure, evolution, left, top, wide)
            else:
                _block(figure, evolution, panel, left, top, wide)
        top += height + GAP
    return figure


def _height(panel: LayerEvolution | None, layers: int) -> float:
    """Inches."""
    if panel is None:
        return 1.25 + ROW * layers
    return BLOCK_HEAD + max(1, len(panel.rows)) * (TILE + SEAM)


def _legend(figure: Figure) -> None:
    swatch = place(figure, MARGIN, HEADER + 0.005, 0.1, 0.1)
    swatch.add_patch(_corner(1.0, CHANGED))
    _unit_square(swatch)
    write(figure, MARGIN + 0.16, HEADER, "another image leads than before", color=FAINT)
    line = place(figure, MARGIN + 2.0, HEADER, 0.03, 0.11)
    line.set_facecolor(CONVERGED)
    words = "from here on, half of the measured maps look as at the end"
    write(figure, MARGIN + 2.1, HEADER, words, color=FAINT)


# ---- a layer ----------------------------------------------------------------------------------


def _block(
    figure: Figure,
    evolution: Evolution,
    layer: LayerEvolution,
    left: float,
    top: float,
    width: float,
) -> None:
    write(figure, left, top, layer.name, "panel", weight="bold")
    write(figure, left + NAME, top + 0.01, _words(layer), width=width - NAME, color=FAINT)
    first, under = left + NAME, top + BLOCK_HEAD
    for column, epoch in enumerate(evolution.epochs):
        centre = first + column * (TILE + SEAM) + TILE / 2
        write(figure, centre, under - 0.16, _epoch(epoch, column), "small", ha="center")
    for number, row in enumerate(layer.rows):
        at = under + number * (TILE + SEAM)
        write(figure, first - 0.07, at + TILE / 2, f"{row.channel}", ha="right", va="center")
        for column in range(len(evolution.epochs)):
            _tile(place(figure, first + column * (TILE + SEAM), at, TILE, TILE), row, column)
    if not layer.rows:
        write(figure, first, under + 0.1, "No map was above zero in any image.", color=FAINT)
    settled = layer.convergence.get("projection")
    if settled is not None and layer.rows:
        column = evolution.epochs.index(settled.median)
        at = first + column * (TILE + SEAM) - SEAM / 2 - 0.012
        height = len(layer.rows) * (TILE + SEAM) - SEAM
        place(figure, at, under - 0.2, 0.024, height + 0.2).set_facecolor(CONVERGED)


def _tile(axes: Axes, row: MapEvolution, column: int) -> None:
    lead, pixels = row.leads[column], row.projections[column]
    if lead.dead:
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#f3f4f5", edgecolor=RULE, hatch="////"))
        axes.text(
            0.5, 0.5, "dead", ha="center", va="center", fontsize=6, color=FAINT,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
        _unit_square(axes)
        return
    height, width = (extent / max(pixels.shape[:2]) for extent in pixels.shape[:2])
    sharp = max(pixels.shape[:2]) <= SHARP
    axes.imshow(
        pixels,
        extent=(0.5 - width / 2, 0.5 + width / 2, 0.5 - height / 2, 0.5 + height / 2),
        aspect="auto",
        interpolation="nearest" if sharp else "antialiased",
    )
    if lead.changed:
        axes.add_patch(_corner(CORNER, CHANGED))
    _unit_square(axes)
    frame(axes)


def _corner(side: float, colour: str) -> Polygon:
    """A triangle at the top left of a unit square."""
    return Polygon([(0, 1), (side, 1), (0, 1 - side)], facecolor=colour, edgecolor="white", lw=0.4)


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _epoch(epoch: int, column: int) -> str:
    words = "untrained" if epoch == 0 else str(epoch)
    return f"epoch {words}" if column == 0 and epoch else words


def _words(layer: LayerEvolution) -> str:
    settled = layer.convergence.get("projection")
    words = [] if settled is None else [f"settles at {settled.words()}"]
    if layer.dead_at_end:
        words.append(f"{len(layer.dead_at_end)} of {layer.channels} maps dead")
    return "; ".join(words)


# ---- all layers -------------------------------------------------------------------------------


def _convergence(
    figure: Figure, evolution: Evolution, left: float, top: float, wide: float
) -> None:
    """Each layer's convergence epoch: quartiles as a bar, the median, every map as a point."""
    write(figure, left, top, "When the layers settle", "panel", weight="bold")
    top += 0.18
    told = {measure: trend.words() for measure, trend in evolution.trends.items()}
    for words in (f"By projection: {told['projection']}.", f"By filter: {told['filter']}."):
        top = _paragraph(figure, left, top, words, wide) + 0.05
    top += 0.08
    step = (wide - NAME) / len(evolution.epochs)
    height = ROW * len(evolution.layers)
    axes = place(figure, left + NAME, top, wide - NAME, height)
    axes.set_xlim(-0.5, len(evolution.epochs) - 0.5)
    axes.set_ylim(len(evolution.layers) - 0.5, -0.5)
    for column, epoch in enumerate(evolution.epochs):
        axes.axvline(column, color=RULE, linewidth=0.5, zorder=0)
        centre = left + NAME + (column + 0.5) * step
        write(figure, centre, top + height + 0.04, _epoch(epoch, column), "small", ha="center")
    for number, layer in enumerate(evolution.layers):
        write(figure, left, top + (number + 0.5) * ROW, layer.name, va="center", width=NAME)
        if "projection" in layer.convergence:
            _settled(axes, evolution.epochs, number, layer.convergence["projection"])


def _settled(axes: Axes, epochs: Sequence[int], number: int, settled: Convergence) -> None:
    ends = [epochs.index(epoch) for epoch in (settled.lower, settled.upper)]
    axes.plot(ends, [number] * 2, color=CONVERGED, linewidth=5, alpha=0.3, solid_capstyle="butt")
    found = np.array([epochs.index(epoch) for epoch in settled.epochs])
    for column in np.unique(found):
        share = float((found == column).mean())
        axes.plot(column, number, "o", color=FAINT, markersize=9 * math.sqrt(share), alpha=0.4)
    middle = epochs.index(settled.median)
    axes.plot(middle, number, "|", color=CONVERGED, markersize=11, markeredgewidth=2.2)


def _paragraph(figure: Figure, left: float, top: float, words: str, width: float) -> float:
    """Words in lines of a width; where the next line would begin. Inches."""
    room = int(width * 17)  # letters that fit
    lines = [""]
    for word in words.split(" "):
        if len(lines[-1]) + len(word) >= room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    for number, line in enumerate(lines):
        write(figure, left, top + LINE * number, line, width=width, color=FAINT)
    return top + LINE * len(lines)
