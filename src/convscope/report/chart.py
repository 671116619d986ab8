"""Axes with numbers on them, for the figures that hold curves or intervals."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.wording import minus
from convscope.report.style import FAINT, RULE, SIZES, families, place

__all__ = ["chart", "ticks"]


def chart(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes with a left and a lower edge, at a place in inches from the figure's top left."""
    axes = place(figure, left, top, width, height)
    for side in ("left", "bottom"):
        axes.spines[side].set(visible=True, color=RULE, linewidth=0.8)
    axes.tick_params(length=2.5, width=0.6, color=RULE, pad=2, left=True, bottom=True)
    return axes


def ticks(axes: Axes, *, x: list[float] | None = None, y: list[float] | None = None) -> None:
    """Numbers along an axis; minus signs are minus signs. Other limits stay as they are."""
    for axis, values in ((axes.xaxis, x), (axes.yaxis, y)):
        if values is None:
            continue
        axis.set_ticks(values)
        names = [minus(f"{value:g}") for value in values]
        axis.set_ticklabels(names, fontsize=SIZES["small"], color=FAINT, family=families())
