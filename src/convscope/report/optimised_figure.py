"""Optimised pictures as a figure: numbers -> a matplotlib Figure, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.errors import BadInput
from convscope.experiments.visualizing import OptimisedPicture
from convscope.report.chart import picture
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import FAINT, number

__all__ = ["optimised_figure"]

MOST = 600  # pictures that matplotlib can still draw on a page


def optimised_figure(
    found: Sequence[OptimisedPicture], *, title: str = "", subtitle: str = ""
) -> Figure:
    """Draw optimised pictures with what excites each unit by how much.

    Args:
        found: The pictures.
        title: Which network it is.
        subtitle: How they were made.

    Raises:
        BadInput: There is none, or more than a page can hold.
    """
    if not 1 <= len(found) <= MOST:
        raise BadInput(f"{len(found)} pictures in one figure: give 1 to {MOST}")
    columns = min(max(2, len(found)), 4 if len(found) <= 16 else 6 if len(found) <= 60 else 10)
    sheet = Sheet(title or "Optimised pictures", subtitle)
    panels = [Panel(partial(_draw, one=one), notes=_notes(one, columns)) for one in found]
    sheet.grid(panels, columns)
    return sheet.figure()


def _draw(axes: Axes, one: OptimisedPicture) -> None:
    picture(axes, one.rgb)


def _notes(one: OptimisedPicture, columns: int) -> list[Note]:
    if columns > 6:
        return [Note(one.target.name, color=FAINT, size="small")]
    best = one.best_image_activation
    beside = "" if best is None else f"; best image {number(best)}"
    reached = f"activation {number(one.activation)}{beside}"
    return [Note(one.target.name, bold=True), Note(reached, color=FAINT)]
