"""What layers keep of an image as a figure: numbers -> a matplotlib Figure, nothing written."""

from __future__ import annotations

from functools import partial

import torch
from matplotlib.figure import Figure

from convscope.errors import BadInput
from convscope.experiments.number_words import minus, percent
from convscope.methods.inversion import Inversion, InvertedLayer
from convscope.report.chart import picture
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import FAINT

__all__ = ["inversion_figure"]

MOST = 300  # layers that matplotlib can still draw on a page


def inversion_figure(found: Inversion, *, title: str = "", subtitle: str = "") -> Figure:
    """Draw an image beside the pictures that layers answer to as they do to it.

    Args:
        found: The pictures.
        title: Which image it is.
        subtitle: Which network, and how they were made.

    Raises:
        BadInput: There are more layers than a page can hold.
    """
    if len(found.layers) > MOST:
        raise BadInput(f"{len(found.layers)} layers in one figure: give at most {MOST}")
    every = torch.stack([found.image, *(one.picture for one in found.layers)])
    image, *pictures = found.legend.pictures(every)
    panels = [Panel(partial(picture, pixels=image), notes=[Note("The image", bold=True)])]
    panels += [
        Panel(partial(picture, pixels=pixels), notes=_notes(one))
        for one, pixels in zip(found.layers, pictures, strict=True)
    ]
    sheet = Sheet(title or "Inversion", subtitle)
    sheet.grid(panels, _columns(len(panels)))
    sheet.text(
        "Each picture is one that the layer answers to nearly as it does to the image: what "
        "differs is what the layer does not keep, or what keeping the picture smooth has cost. "
        f"Error: the distance of the features as a share of {found.unit}. r: of the pixels.",
        color=FAINT,
    )
    return sheet.figure()


def _columns(panels: int) -> int:
    """As many as fill the rows, three to five of them; up to five pictures stand in one row."""
    if panels <= 5:
        return max(2, panels)
    return min((3, 4, 5) if panels < 10 else (4, 5), key=lambda each: (-panels % each, -each))


def _notes(one: InvertedLayer) -> list[Note]:
    return [
        Note(one.layer, bold=True),
        Note("error", percent(one.error), color=FAINT),
        Note("r with the image", minus(f"{one.correlation:.2f}"), color=FAINT),
    ]
