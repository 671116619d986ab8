"""The paper's Fig. 4 as a figure: an Evolution -> a matplotlib Figure, nothing written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle

from convscope.errors import BadInput
from convscope.experiments.evolution.convergence import Convergence
from convscope.experiments.evolution.result import Evolution, LayerEvolution, MapEvolution
from convscope.report.chart import Mosaic, chart, inside, name_rows, row_height
from convscope.report.sheet import PAGE, Note, Panel, Sheet
from convscope.report.style import FAINT, LABELS, RULE

__all__ = ["CHANGED", "CONVERGED", "evolution_figure"]

TILE = 0.5  # inches of a projection, at least
NARROW = 7  # epochs: up to these two layers stand beside each other
LINE, NAMES = 0.24, 1.6  # inches: a layer in the last panel, and its name
MOST_TILES = 1500  # that matplotlib still draws
CORNER = 0.24  # of a tile, the mark of another winner
CHANGED, CONVERGED = LABELS[1], LABELS[0]


def evolution_figure(evolution: Evolution, *, title: str = "", subtitle: str = "") -> Figure:
    """Draw a block for each layer: rows of feature maps, columns of kept epochs, left to right.

    Each tile is the projection of the map's strongest activation over all images at that epoch,
    scaled around grey by its own largest value. A red corner marks an image that was not the
    winner before, a blue line the epoch from which on half of the layer's measured maps are what
    they are at the end. The last panel holds that for all layers, with quartiles.

    Args:
        evolution: What became of the features.
        title: Which network it is.
        subtitle: Over which images.

    Raises:
        BadInput: There are more tiles than a page can hold.
    """
    count = len(evolution.epochs)
    tiles = sum(len(layer.rows) for layer in evolution.layers) * count
    if tiles > MOST_TILES:
        raise BadInput(f"{tiles} projections in one figure: ask for fewer layers, maps or epochs")
    columns = 2 if count <= NARROW else 1
    width = max(PAGE, columns * (count + 1) * TILE)
    sheet = Sheet(title or "Feature evolution", subtitle, width=width)
    sheet.legend([
        Patch(color=CHANGED, label="another image leads than before"),
        Line2D([], [], color=CONVERGED, linewidth=2,
               label="from here on, half of the measured maps look as at the end"),
    ])  # fmt: skip
    blocks = [_block(evolution, layer) for layer in evolution.layers]
    sheet.grid([*blocks, _convergence(evolution)], columns)
    return sheet.figure()


# ---- a layer ----------------------------------------------------------------------------------


def _block(evolution: Evolution, layer: LayerEvolution) -> Panel:
    settled = layer.convergence.get("projection")
    words = [] if settled is None else [f"settles at {settled.words()}"]
    if layer.dead_at_end:
        words.append(f"{len(layer.dead_at_end)} of {layer.channels} maps dead")
    if layer.not_finite_at_end:
        words.append(f"{len(layer.not_finite_at_end)} of {layer.channels} maps not finite")
    caption = f"{layer.name}: {'; '.join(words)}" if words else layer.name
    if not layer.rows:
        note = Note("No map was above zero in any image.", color=FAINT)
        return Panel(None, caption, [note], lettered=False)
    draw = partial(_draw_layer, epochs=evolution.epochs, rows=layer.rows, settled=settled)
    return Panel(draw, caption, lettered=False, tallest=math.inf)


def _draw_layer(
    axes: Axes, epochs: Sequence[int], rows: Sequence[MapEvolution], settled: Convergence | None
) -> None:
    mosaic = Mosaic(axes, len(rows), len(epochs))
    mosaic.name_columns([_epoch(epoch, column) for column, epoch in enumerate(epochs)], top=True)
    mosaic.name_rows([f"{row.channel}" for row in rows])
    for number, row in enumerate(rows):
        for column, lead in enumerate(row.leads):
            left, top = mosaic.corner(number, column)
            if lead.empty:
                _empty(axes, left, top, "not\nfinite" if lead.not_finite else "dead")
                continue
            mosaic.show(number, column, row.projections[column])
            if lead.changed:
                corner = [(left, top), (left + CORNER, top), (left, top + CORNER)]
                axes.add_patch(Polygon(corner, facecolor=CHANGED, edgecolor="white", lw=0.4))
    if settled is not None:
        at = mosaic.corner(0, epochs.index(settled.median))[0] - mosaic.gap / 2
        axes.axvline(at, color=CONVERGED, linewidth=2, clip_on=False)


def _empty(axes: Axes, left: float, top: float, why: str) -> None:
    axes.add_patch(
        Rectangle((left, top), 1, 1, facecolor="#f3f4f5", edgecolor=RULE, hatch="////", linewidth=0)
    )
    inside(
        axes, left + 0.5, top + 0.5, why, data="xy", ha="center", va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _epoch(epoch: int, column: int) -> str:
    words = "untrained" if epoch == 0 else str(epoch)
    return f"epoch {words}" if column == 0 and epoch else words


# ---- all layers -------------------------------------------------------------------------------


def _convergence(evolution: Evolution) -> Panel:
    names = [layer.name for layer in evolution.layers]
    said = [
        Note(f"By {measure}: {evolution.trends[measure].words()}.", color=FAINT)
        for measure in ("projection", "filter")
    ]
    height = max(LINE, row_height(names, NAMES)) * len(names)
    draw = partial(_draw_convergence, evolution=evolution)
    return Panel(draw, "When the layers settle", said, height=height, lettered=False)


def _draw_convergence(axes: Axes, evolution: Evolution) -> None:
    """Each layer's convergence epoch: quartiles as a bar, the median, every map as a point."""
    chart(axes, "epoch", lines="x")
    name_rows(axes, [layer.name for layer in evolution.layers], NAMES)
    epochs = evolution.epochs
    axes.set_xlim(-0.5, len(epochs) - 0.5)
    axes.set_xticks(range(len(epochs)), [_epoch(epoch, 1) for epoch in epochs])
    for number, layer in enumerate(evolution.layers):
        if "projection" in layer.convergence:
            _settled(axes, epochs, number, layer.convergence["projection"])


def _settled(axes: Axes, epochs: Sequence[int], number: int, settled: Convergence) -> None:
    ends = [epochs.index(epoch) for epoch in (settled.lower, settled.upper)]
    axes.plot(ends, [number] * 2, color=CONVERGED, linewidth=5, alpha=0.3, solid_capstyle="butt")
    found = np.array([epochs.index(epoch) for epoch in settled.epochs])
    for column in np.unique(found):
        share = float((found == column).mean())
        axes.plot(column, number, "o", color=FAINT, markersize=9 * math.sqrt(share), alpha=0.4)
    middle = epochs.index(settled.median)
    axes.plot(middle, number, "|", color=CONVERGED, markersize=11, markeredgewidth=2.2)
