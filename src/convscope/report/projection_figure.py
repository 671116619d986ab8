"""Units and their projections as a figure: numbers -> a matplotlib Figure, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.errors import BadInput
from convscope.experiments.number_words import minus
from convscope.geometry.box import Box
from convscope.images.pictures import GREY, crop, grey_scaled, shown_box
from convscope.images.preprocess import Preprocess
from convscope.methods.project import Projections, TargetProjections
from convscope.methods.spotlight import spotlight
from convscope.report.chart import Mosaic
from convscope.report.sheet import PAGE, Note, Panel, Sheet
from convscope.report.style import CLIP, FAINT, color_of, number

__all__ = ["draw_row", "projection_figure", "target_figure"]

Pixels = NDArray[np.uint8]

LEGEND = (
    "From the left: the image, and in it what the unit sees; that alone; the same, lit where its "
    "projection has energy (derived: blurred and cut off); the projection itself."
)
MOST_UNITS = 600  # a page that matplotlib can still draw


def projection_figure(
    projections: Projections,
    pictures: Sequence[Pixels],
    preprocess: Preprocess,
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """Draw for each unit where in its image it looks, what it sees, the spotlight, the projection.

    The spotlight is what it sees, lit by the blurred energy of the projection: derived, and said
    so. All show the unit's receptive field, edges padded with grey and never shifted; along an axis
    where the field is larger than the image, the image. A projection is scaled around grey by its
    own largest absolute value, the largest `CLIP` of its values cut off. Small fields are enlarged
    pixel by pixel.

    Args:
        projections: The projections.
        pictures: The images as the network sees them, one for each row of the trace.
        preprocess: Says in which order the network has its colours.
        names: Words for each picture, such as its file and class.
        title: Which network it is.
        subtitle: Over which images.

    Shape:
        pictures: uint8 RGB (H, W, 3) each.

    Raises:
        BadInput: There is no unit, or more than a page can hold.
    """
    count = len(projections.units)
    if not 1 <= count <= MOST_UNITS:
        raise BadInput(f"{count} units in one figure: give 1 to {MOST_UNITS}")
    columns = min(count, 2)
    sheet = Sheet(title or "Projections", subtitle, width=PAGE if count > 1 else 0.7 * PAGE)
    sheet.notes([Note(LEGEND, color=FAINT)])
    panels = []
    for i in range(count):
        image = int(projections.images[i])
        views = _views(projections, i, pictures[image], preprocess)
        notes = _notes(projections, i, names[image] if names else "")
        field = _field(projections, i)
        draw = partial(_draw_unit, picture=pictures[image], field=field, views=views)
        panels.append(Panel(draw, notes=notes))
    sheet.grid(panels, columns)
    return sheet.figure()


def target_figure(
    projections: TargetProjections,
    pictures: Sequence[Pixels],
    preprocess: Preprocess,
    *,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """Draw for each image the picture, and the projection of a target of the output.

    Args:
        projections: The projections.
        pictures: The images as the network sees them, one for each row of the trace.
        preprocess: Says in which order the network has its colours.
        title: Which network it is.
        subtitle: Over which images.

    Shape:
        pictures: uint8 RGB (H, W, 3) each.

    Raises:
        BadInput: There is no image, or more than a page can hold.
    """
    count = len(projections.images)
    if not 1 <= count <= MOST_UNITS:
        raise BadInput(f"{count} images in one figure: give 1 to {MOST_UNITS}")
    sheet = Sheet(title or "Projections", subtitle, width=PAGE if count > 1 else 0.5 * PAGE)
    name, quantity = projections.target.name, projections.target.quantity
    panels = []
    for row, value, field in zip(
        projections.images.tolist(), projections.value.tolist(), projections.projection, strict=True
    ):
        views = (pictures[row], grey_scaled(preprocess.rgb(field.cpu()), CLIP))
        note = Note(name, f"{quantity} {number(value)}", bold=True)
        panels.append(Panel(partial(draw_row, pictures=views), notes=[note]))
    sheet.grid(panels, min(count, 2))
    return sheet.figure()


def draw_row(axes: Axes, pictures: Sequence[Pixels]) -> None:
    """Pictures beside each other."""
    _row(axes, pictures)


def _row(axes: Axes, pictures: Sequence[Pixels]) -> Mosaic:
    tall = max(pixels.shape[0] / pixels.shape[1] for pixels in pictures)
    mosaic = Mosaic(axes, 1, len(pictures), tall=min(1.0, tall), gap=0.04)
    for column, pixels in enumerate(pictures):
        mosaic.show(0, column, pixels)
    return mosaic


def _draw_unit(axes: Axes, picture: Pixels, field: Box, views: Sequence[Pixels]) -> None:
    """The whole image with the unit's field framed, and beside it the views of the field."""
    pictures = (picture, *views)
    mosaic = _row(axes, pictures)
    mosaic.frame(0, 0, picture.shape[:2], field, color_of(1))


def _field(projections: Projections, i: int) -> Box:
    return Box(*(int(side) for side in projections.box[i]))


def _views(
    projections: Projections, i: int, picture: Pixels, preprocess: Preprocess
) -> tuple[Pixels, Pixels, Pixels]:
    """The unit's patch of the picture, the spotlight on it, and its projection."""
    planes = torch.from_numpy(np.array(picture)).permute(2, 0, 1)  # (3, H, W)
    field = _field(projections, i)
    box = shown_box(field, *picture.shape[:2])
    projection = crop(preprocess.rgb(projections.projection[i].cpu()), box, 0.0)
    patch = crop(planes, box, GREY, within=field).permute(1, 2, 0)
    lit = spotlight(patch[None], projection[None])[0]
    return patch.numpy(), lit.numpy(), grey_scaled(projection, CLIP)


def _notes(projections: Projections, i: int, name: str) -> list[Note]:
    field = _field(projections, i)
    row, column = minus(str(field.top)), minus(str(field.left))
    seen = f"{field.height}×{field.width} px from row {row}, column {column}"
    activation = f"activation {number(float(projections.activation[i]))}"
    notes = [Note(str(projections.units[i]), activation, bold=True), Note(seen, color=FAINT)]
    return [*notes, Note(name, color=FAINT)] if name else notes
