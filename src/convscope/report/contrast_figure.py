"""Contrastive occlusion as a figure: numbers -> a matplotlib Figure, nothing written."""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from convscope.experiments.number_words import percent
from convscope.methods.contrastive import ContrastiveMap
from convscope.report.chart import picture, scale
from convscope.report.sheet import LANDSCAPE, Note, Panel, Sheet
from convscope.report.style import FAINT, INK, SIGNED, number

__all__ = ["contrast_figure"]

DIM = 0.55
"""How far the patch keeps its colour away from grey below the overlay."""
OWN = "Most is its own at the box in (a)"
NOTHING = "Nothing is its own: its neighbours lose as much everywhere"
STRONGEST = 0.85
"""How much of a pixel the overlay takes where the contrast is largest."""


def contrast_figure(
    found: ContrastiveMap, pixels: NDArray[np.uint8], *, title: str = "", subtitle: str = ""
) -> Figure:
    """Draw which part of what a unit sees is its own, beside what it and its neighbours lose.

    (a) what the unit sees, the box drawn where most is its own; (b) the same, lit red where the
    unit loses more than its neighbours, and blue where they lose more; (c) the share of its
    activation that the unit loses; (d) the same for its neighbours, on average. A pixel shows the
    mean over the boxes that cover it.

    Args:
        found: The maps.
        pixels: The image, as a person sees it.
        title: Which image it is.
        subtitle: Which network.

    Shape:
        pixels: uint8 (H, W, 3).
    """
    patch = pixels[found.seen.top : found.seen.bottom, found.seen.left : found.seen.right]
    drops = [found.over_pixels(values) for values in (found.drop, found.neighbours_drop)]
    most = max(float(one.abs().max()) for one in drops)
    loss = "share of the activation that is lost"
    sheet = Sheet(title or "Contrastive occlusion", subtitle, width=LANDSCAPE)
    sheet.row([
        Panel(partial(_draw_patch, found=found, patch=patch),
              "What the unit sees of the image", _about(found)),
        Panel(partial(_draw_overlay, found=found, patch=patch),
              "What is the unit's own: c less d", _own(found)),
        Panel(partial(_draw_drop, values=drops[0], most=most, words=loss),
              "What the unit loses under the box", [_deepest(found.drop)]),
        Panel(partial(_draw_drop, values=drops[1], most=most, words=loss),
              f"What {len(found.neighbours)} other strong units here lose", _others(found)),
    ])  # fmt: skip
    sheet.text(
        "A box is moved over what the unit sees. Red: the unit loses more than the strongest other "
        "units of the same position, so it answers to this place in particular. Blue: they lose "
        "more. White or clear: all lose alike, or nothing.",
        color=FAINT,
    )
    return sheet.figure()


def _draw_patch(axes: Axes, found: ContrastiveMap, patch: NDArray[np.uint8]) -> None:
    """The patch, with the box where most is the unit's own, if anything is."""
    picture(axes, patch)
    if found.twin is not None:
        return
    box = found.box(*found.strongest)
    corner = (box.left - found.seen.left, box.top - found.seen.top)
    for color, weight in ((INK, 1.8), ("white", 0.8)):
        axes.add_patch(
            Rectangle(corner, box.width, box.height, fill=False, edgecolor=color, linewidth=weight)
        )


def _draw_overlay(axes: Axes, found: ContrastiveMap, patch: NDArray[np.uint8]) -> None:
    """The patch in grey, coloured by the contrast as far as it differs from 0."""
    contrast = found.over_pixels(found.contrast * (found.twin is None)).numpy()
    most = float(np.abs(contrast).max())
    share = contrast / most if most > 0 else contrast
    colors = mpl.colormaps[SIGNED]((share + 1) / 2)[..., :3] * 255
    grey = patch.astype(np.float64).mean(2, keepdims=True)
    below = 255 - DIM * (255 - grey)
    opaque = STRONGEST * np.sqrt(np.abs(share))[..., None]
    picture(axes, np.rint(below + opaque * (colors - below)).astype(np.uint8))
    most = most or 1.0
    scale(axes, 0.0 - most, most, 0.0, "unit's loss less its neighbours'", SIGNED)


def _draw_drop(axes: Axes, values: Tensor, most: float, words: str) -> None:
    picture(axes, values.numpy(), cmap=SIGNED, vmin=-most, vmax=most, interpolation="nearest")
    scale(axes, -most, most, 0.0, words, SIGNED)


def _about(found: ContrastiveMap) -> list[Note]:
    seen = found.seen
    return [
        Note(str(found.unit), bold=True),
        Note("Activation", number(found.activation)),
        Note("Seen of the image", f"{seen.height}×{seen.width} px"),
        Note("From row, column", f"{seen.top}, {seen.left}"),
        Note(f"Box {found.occluder}", color=FAINT),
    ]


def _own(found: ContrastiveMap) -> list[Note]:
    i, j = found.strongest
    if found.twin is not None:
        return [Note(f"Nothing is its own: {found.twin} loses as much everywhere", bold=True)]
    return [
        Note(OWN if float(found.contrast[i, j]) > 0 else NOTHING, bold=True),
        Note("The unit loses", percent(float(found.drop[i, j]))),
        Note("Its neighbours lose", percent(float(found.neighbours_drop[i, j]))),
        Note("Row, column", f"{int(found.rows[i])}, {int(found.columns[j])}", color=FAINT),
    ]


def _others(found: ContrastiveMap) -> list[Note]:
    names = ", ".join(str(unit.channel) for unit in found.neighbours)
    return [
        _deepest(found.neighbours_drop),
        Note(f"Feature maps {names} of {found.unit.layer}", color=FAINT),
    ]


def _deepest(values: Tensor) -> Note:
    return Note("At most", percent(float(values.max())))
