"""Units and their projections as a figure: numbers -> a matplotlib Figure, nothing written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.errors import BadInput
from convscope.experiments.wording import minus
from convscope.geometry.box import Box
from convscope.images.pictures import GREY, crop, grey_scaled, shown_box
from convscope.images.preprocess import Preprocess
from convscope.methods.project import Projections
from convscope.report.style import (
    CLIP,
    FAINT,
    GAP,
    HEADER,
    MARGIN,
    frame,
    head,
    length,
    number,
    place,
    write,
)

__all__ = ["projection_figure"]

Pixels = NDArray[np.uint8]

TILE_GAP, WORDS = 0.06, 0.52  # inches between a unit's two tiles, and below them
SHARP = 48  # pixels: pictures up to this side show their single pixels
MOST_UNITS = 600  # a page that matplotlib can still draw


@dataclass(frozen=True, eq=False)
class _Cell:
    """What one unit's place on the page shows: two pictures, and the words below them."""

    patch: Pixels
    projection: Pixels
    unit: str
    activation: str
    field: str
    name: str


def projection_figure(
    projections: Projections,
    pictures: Sequence[Pixels],
    preprocess: Preprocess,
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """For each unit: what it sees of its image, beside its projection.

    Both show the unit's receptive field, edges padded with grey and never shifted; along an axis
    where the field is larger than the image, the image. A projection is scaled around grey by its
    own largest absolute value, the largest `CLIP` of its values cut off. Small fields are enlarged
    pixel by pixel.
    pictures : uint8 RGB (H, W, 3), as the network sees them, one for each row of the trace
    preprocess : says in which order the network has its colours
    names : words for each picture, such as its file and class
    Raises  BadInput: no unit, or more than a page can hold.
    """
    count = len(projections.units)
    if not 1 <= count <= MOST_UNITS:
        raise BadInput(f"{count} units in one figure: give 1 to {MOST_UNITS}")
    tile = {1: 2.6, 2: 2.0}.get(count, 1.5)
    columns = min(count, 3 if count > 4 else 2)
    wide, tall = 2 * tile + TILE_GAP + GAP, tile + WORDS + GAP / 2
    figure = head(
        columns * wide - GAP + 2 * MARGIN,
        math.ceil(count / columns) * tall,
        title or "Projections",
        subtitle,
    )
    for i in range(count):
        image = int(projections.images[i])
        cell = _cell(projections, i, pictures[image], preprocess, names[image] if names else "")
        _draw(figure, cell, MARGIN + (i % columns) * wide, HEADER + (i // columns) * tall, tile)
    return figure


def _cell(
    projections: Projections, i: int, picture: Pixels, preprocess: Preprocess, name: str
) -> _Cell:
    planes = torch.from_numpy(np.array(picture)).permute(2, 0, 1)  # (3, H, W)
    field = Box(*(int(side) for side in projections.box[i]))
    box = shown_box(field, *picture.shape[:2])
    projection = preprocess.rgb(projections.projection[i].cpu())
    return _Cell(
        patch=crop(planes, box, GREY, within=field).permute(1, 2, 0).numpy(),
        projection=grey_scaled(crop(projection, box, 0.0), CLIP),
        unit=str(projections.units[i]),
        activation=f"activation {number(float(projections.activation[i]))}",
        field=f"{field.height}×{field.width} px from row {minus(str(field.top))}, "
        f"column {minus(str(field.left))}",
        name=name,
    )


def _draw(figure: Figure, cell: _Cell, left: float, top: float, tile: float) -> None:
    _draw_tile(figure, left, top, tile, cell.patch)
    _draw_tile(figure, left + tile + TILE_GAP, top, tile, cell.projection)
    width, below = 2 * tile + TILE_GAP, top + tile
    value = write(figure, left + width, below + 0.07, cell.activation, ha="right")
    room = width - length(value) - 0.1
    write(figure, left, below + 0.07, cell.unit, width=room, weight="bold")
    write(figure, left, below + 0.21, cell.field, "small", width=width, color=FAINT)
    write(figure, left, below + 0.33, cell.name, "small", width=width, color=FAINT)


def _draw_tile(figure: Figure, left: float, top: float, side: float, pixels: Pixels) -> None:
    """A picture, fitted into a square, small ones with their pixels kept sharp."""
    height, width = (side * extent / max(pixels.shape[:2]) for extent in pixels.shape[:2])
    axes = place(figure, left + (side - width) / 2, top + (side - height) / 2, width, height)
    sharp = max(pixels.shape[:2]) <= SHARP
    axes.imshow(pixels, aspect="auto", interpolation="nearest" if sharp else "antialiased")
    frame(axes)
