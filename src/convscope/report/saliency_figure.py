"""A saliency map as a figure: numbers -> a matplotlib Figure, nothing written or displayed."""

from __future__ import annotations

from functools import partial

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.methods.saliency import Saliency, SaliencyMethod
from convscope.report.chart import picture, scale
from convscope.report.sheet import PAGE, Note, Panel, Sheet
from convscope.report.style import FAINT, MAP, SIGNED, number

__all__ = ["saliency_figure"]

CLIP = 0.01
"""Share of the pixels, the largest, that are drawn as one: a few would hide all others."""
DIM = 0.55
"""How much of the grey picture is left under the map."""

NAMES = {
    SaliencyMethod.GRADIENT: "Gradient",
    SaliencyMethod.SMOOTH: "SmoothGrad",
    SaliencyMethod.INTEGRATED: "Integrated gradients",
    SaliencyMethod.GRAD_CAM: "Grad-CAM",
}
WORDS = {
    SaliencyMethod.GRADIENT: "How much the score answers to a change of each pixel: the largest "
    "absolute derivative over the channels.",
    SaliencyMethod.SMOOTH: "How much the score answers to a change of each pixel: the largest "
    "absolute value over the channels of the mean derivative over noisy copies of the image.",
    SaliencyMethod.INTEGRATED: "Each pixel's share of what the score gains from an image of zeros "
    "to this one. Red speaks for it, blue against it.",
    SaliencyMethod.GRAD_CAM: "Where the maps of a layer that speak for the score are active, from "
    "that layer's grid enlarged to the image.",
}
SCALES = {
    SaliencyMethod.GRADIENT: "derivative of the {}",
    SaliencyMethod.SMOOTH: "mean derivative of the {}",
    SaliencyMethod.INTEGRATED: "share of the {}",
    SaliencyMethod.GRAD_CAM: "maps, weighted by the {}",
}


def saliency_figure(found: Saliency, *, title: str = "", subtitle: str = "") -> Figure:
    """Draw the image, the map, and the map over the image.

    Args:
        found: The map.
        title: Which image it is.
        subtitle: Which network.
    """
    [pixels] = found.legend.pictures(found.image[None])
    values, most = found.map.numpy(), _most(found)
    sheet = Sheet(title or "Saliency", subtitle, width=PAGE)
    about = [Note(found.target.name, f"{found.target.quantity} {number(found.value)}", bold=True)]
    if found.layer is not None:
        about.append(Note("Layer", found.layer))
    if found.gap is not None:
        about.append(Note("Shares miss the gain by", number(found.gap)))
    sheet.row([
        Panel(partial(picture, pixels=pixels), "The image", about),
        Panel(partial(_draw_map, found=found, values=values, most=most), NAMES[found.method]),
        Panel(partial(_draw_over, found=found, pixels=pixels, most=most), "Over the image"),
    ])  # fmt: skip
    sheet.text(WORDS[found.method], color=FAINT)
    return sheet.figure()


def _most(found: Saliency) -> float:
    """The end of the scale."""
    sizes = found.map.abs().flatten()
    kept = max(1, len(sizes) - int(CLIP * len(sizes)))
    most = float(sizes.kthvalue(kept).values) or float(sizes.max())
    return most or 1.0


def _signed(found: Saliency) -> bool:
    return found.method is SaliencyMethod.INTEGRATED


def _draw_map(axes: Axes, found: Saliency, values: NDArray[np.floating], most: float) -> None:
    low, colors = (-most, SIGNED) if _signed(found) else (0.0, MAP)
    picture(axes, values, cmap=colors, vmin=low, vmax=most)
    scale(axes, low, most, 0.0, SCALES[found.method].format(found.target.quantity), colors)


def _draw_over(axes: Axes, found: Saliency, pixels: NDArray[np.uint8], most: float) -> None:
    """The picture in grey, coloured as far as the map differs from 0."""
    share = (found.map.numpy() / most).clip(-1, 1)
    place = (share + 1) / 2 if _signed(found) else share
    colors = mpl.colormaps[SIGNED if _signed(found) else MAP](place)[..., :3] * 255
    below = 255 - DIM * (255 - pixels.astype(np.float64).mean(2, keepdims=True))
    opaque = 0.85 * np.sqrt(np.abs(share))[..., None]
    picture(axes, np.rint(below + opaque * (colors - below)).astype(np.uint8))
