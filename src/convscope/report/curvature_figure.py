"""How units bend around a picture as a figure: numbers -> a matplotlib Figure, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.errors import BadInput
from convscope.experiments.curving import CurvedUnit
from convscope.experiments.number_words import minus
from convscope.methods.curvature import CurvedDirection
from convscope.report.chart import Mosaic
from convscope.report.sheet import LANDSCAPE, Note, Panel, Sheet
from convscope.report.style import FAINT, FONT, INK, RULE, SIZES, number

__all__ = ["curvature_figure"]

MOST = 24  # units that matplotlib can still draw on a page


def curvature_figure(units: Sequence[CurvedUnit], *, title: str = "", subtitle: str = "") -> Figure:
    """Draw for each unit its picture and the walks along the most and the least curved directions.

    Args:
        units: The units.
        title: What it is.
        subtitle: Which network, and how it was measured.

    Raises:
        BadInput: There is none, or more than a page can hold.
    """
    if not 1 <= len(units) <= MOST:
        raise BadInput(f"{len(units)} units in one figure: give 1 to {MOST}")
    sheet = Sheet(title or "Curvature at a step", subtitle, width=LANDSCAPE)
    for unit in units:
        directions = list(zip(unit.found.directions, unit.strips, strict=True))
        most = [each for each in directions if each[0].most]
        least = [each for each in directions if not each[0].most]
        sheet.notes([_about(unit)])
        for rank in range(max(len(most), len(least))):
            sheet.row([
                Panel(partial(_draw_strip, strip=strip, direction=one), _caption(one, rank, side),
                      lettered=False)
                for side, part in (("most", most), ("least", least[::-1]))
                for one, strip in part[rank : rank + 1]
            ])  # fmt: skip
    sheet.text(
        "Left: the changes that the unit's value bends along most. Right: those that it bends "
        "along least, the least first. They are ordered by all samples; the number of each was "
        "measured on other samples than those that found it. Each strip walks through the "
        "picture, its middle, by three times a typical change to either side; below each frame "
        "stands the unit's activation. "
        "The curvature is that of the value before the rectifier, averaged over changes of the "
        "step's size, by the squared norm of the change, with its 95 % interval. Halves agree: the "
        "cosine between the directions that two halves of the samples give; noise gives "
        f"{units[0].found.chance:.2f}. Where they do not, the direction is one of many alike.",
        color=FAINT,
    )
    return sheet.figure()


def _about(unit: CurvedUnit) -> Note:
    found = unit.found
    where = "its optimised picture" if unit.image is None else unit.image
    height, width = unit.start.shape[:2]
    return Note(
        f"{found.unit}: activation {number(found.activation)} in {where}, {height}×{width} px",
        bold=True, size="panel",
    )  # fmt: skip


def _caption(one: CurvedDirection, rank: int, side: str) -> str:
    ends = f"{number(one.low)} to {number(one.high)}"
    return minus(
        f"{side.capitalize()} curved, {rank + 1}: {number(one.curvature)} ({ends}); "
        f"halves agree {one.split_half:.2f}"
    )


def _draw_strip(axes: Axes, strip: NDArray[np.uint8], direction: CurvedDirection) -> None:
    height, width = strip.shape[1:3]
    mosaic = Mosaic(axes, 1, len(strip), height / width)
    for column, pixels in enumerate(strip):
        edge, weight = (INK, 1.2) if column == len(strip) // 2 else (RULE, 0.4)
        mosaic.show(0, column, pixels, edge, weight)
    mosaic.name_columns([number(float(value)) for value in direction.activations])
    for label in axes.get_xticklabels():
        label.set(fontsize=SIZES["small"], family=FONT, color=FAINT)
