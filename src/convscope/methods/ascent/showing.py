"""From how a network is fed to a canvas, and from optimised pictures to what is shown."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.images.pictures import grey_scaled
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Order
from convscope.methods.ascent.loop import Ascent
from convscope.methods.ascent.parametrisations import Canvas
from convscope.network.graph import Graph

__all__ = ["canvas_of", "shown_pictures"]

CLIP = 0.002
"""The share of a free picture's values, the largest ones, that is cut off where it is shown."""


def canvas_of(network: Graph, preprocess: Preprocess) -> Canvas:
    """The canvas of a network's input, with its colours.

    Args:
        network: The network, on the device that is used.
        preprocess: From pictures to its input.
    """
    low, high = (
        preprocess.fill(colour).to(device=network.device, dtype=network.dtype)
        for colour in ("black", "white")
    )
    return Canvas(low, high, reversed_colours=preprocess.numbers.order is Order.BGR)


def shown_pictures(
    ascent: Ascent, preprocess: Preprocess, *, free: bool
) -> list[NDArray[np.uint8]]:
    """The pictures as they are shown, uint8 (h, w, 3) each.

    Args:
        ascent: The pictures.
        preprocess: From pictures to the network's input.
        free: They know no black and white, so they are shown around grey.
    """
    rgb = preprocess.rgb
    if free:
        return [grey_scaled(rgb(picture.float().cpu()), CLIP) for picture in ascent.picture]
    low, high = ascent.canvas.low, ascent.canvas.high
    shares = rgb((ascent.picture - low) / (high - low)).float().cpu().nan_to_num(0.5).clamp(0, 1)
    return list((255 * shares).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
