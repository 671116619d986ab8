"""One feature map of an atlas as a figure: its strongest patches, spotlights, projections."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.atlas.entries import AtlasUnit
from convscope.errors import BadInput
from convscope.report.chart import picture
from convscope.report.sheet import PAGE, Note, Panel, Sheet
from convscope.report.style import FAINT, number, tiled

__all__ = ["atlas_unit_figure"]

KINDS = {
    "patch": "What excites it most",
    "spotlight": "The same, lit where it excites",
    "projection": "Its projections",
}
SHOWN = 9  # images at most
SEAM = 3  # pixels of white between two pictures


def atlas_unit_figure(unit: AtlasUnit) -> Figure:
    """Draw the strongest patches of a feature map, their spotlights, and their projections.

    Args:
        unit: Of an atlas.

    Raises:
        BadInput: The map is above zero in no image, or NaN or infinite in all.
    """
    values = unit.values[:SHOWN]
    if not values:
        raise BadInput(f"{unit} has no picture: it is {unit.why_empty}")
    about = unit.atlas.manifest
    whole = (
        f"{about.model.title or about.model.spec} · {about.data.count} images, {about.data.spec}"
    )
    sheet = Sheet(str(unit), whole, width=PAGE)
    panels = []
    for kind, words in KINDS.items():
        if kind in unit.atlas.kinds:
            block = tiled(
                [np.asarray(getattr(unit, kind)(rank)) for rank in range(len(values))], SEAM
            )
            panels.append(Panel(partial(_draw, pixels=block), words))
    sheet.row(panels)
    sheet.notes(_notes(unit, values))
    return sheet.figure()


def _draw(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    picture(axes, pixels)


def _notes(unit: AtlasUnit, values: tuple[float, ...]) -> list[Note]:
    trust, told = unit.trust, unit.told_class
    strengths = f"Activations {number(values[0])} down to {number(values[-1])}"
    notes = [Note(strengths if len(values) > 1 else f"Activation {number(values[0])}", bold=True)]
    if told is not None:
        notes.append(Note(f"Tells {told} from the other classes better than chance"))
    if trust is not None:
        notes.append(Note(f"Its strongest picture: {trust.sentence}", color=FAINT))
    return notes
