"""Numbers to pixels to look at: projections around grey, and the part of a picture a unit sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from convscope.geometry.box import Box

__all__ = ["GREY", "around_grey", "crop", "grey_scaled", "shown_box", "square"]

GREY = 128
"""The byte that stands for nothing: zero in a projection, and all that lies outside a picture."""


def around_grey(values: Tensor, clip: float = 0.0) -> Tensor:
    """Scale values to bytes around grey: 0 becomes 128, the largest absolute value 1 or 255.

    NaN and infinity become 128.

    Args:
        values: Any numbers.
        clip: The share of the values, the largest, that is cut off before: a few strong pixels
            else leave the rest of a picture grey.

    Returns:
        uint8, of the shape of `values`.
    """
    values = values.float().nan_to_num(0.0, 0.0, 0.0)
    sizes = values.abs().flatten()
    allowed = int(clip * len(sizes))  # of the values may lie beyond the scale
    largest = sizes.kthvalue(len(sizes) - allowed).values if allowed else sizes.max()
    largest = largest if largest > 0 else sizes.max()
    scaled = (values / largest).clip(-1, 1) if largest > 0 else values
    return (GREY + 127 * scaled).round().to(torch.uint8)


def grey_scaled(projection: Tensor, clip: float = 0.0) -> NDArray[np.uint8]:
    """Scale a projection around grey, as `around_grey` does, to a picture.

    Shape:
        projection: float (3, H, W), RGB planes. The result: uint8 (H, W, 3).
    """
    pixels = around_grey(projection.detach().cpu(), clip).permute(1, 2, 0)  # (H, W, 3)
    return np.ascontiguousarray(pixels.numpy())


def shown_box(field: Box, height: int, width: int) -> Box:
    """Return the box that a picture of a unit shows, given its receptive field in an image.

    It is the field, also where it reaches past the edge; along an axis where the field is at least
    as large as the image, the whole image, so that a deep unit's picture is not mostly padding.

    Args:
        field: The receptive field, in image pixels.
        height: Of the image, pixels.
        width: Of the image, pixels.
    """
    rows = (0, height) if field.height >= height else (field.top, field.bottom)
    columns = (0, width) if field.width >= width else (field.left, field.right)
    return Box(rows[0], columns[0], rows[1], columns[1])


def crop(picture: Tensor, box: Box, fill: Any = GREY, *, within: Box | None = None) -> Tensor:
    """Cut a box out of a picture, never shifted.

    Args:
        picture: The picture.
        box: What to cut out; it may reach beyond the picture.
        fill: What stands outside the picture and outside `within`.
        within: A box outside which nothing of the picture is shown; None is the whole picture.

    Shape:
        picture: (C, H, W). The result: (C, box.height, box.width).
    """
    seen = box.clip(*picture.shape[-2:])
    seen = seen if within is None else seen.intersect(within)
    out = picture.new_full((picture.shape[0], box.height, box.width), fill)
    if not seen.empty:
        rows = slice(seen.top - box.top, seen.bottom - box.top)
        columns = slice(seen.left - box.left, seen.right - box.left)
        out[:, rows, columns] = picture[:, seen.top : seen.bottom, seen.left : seen.right]
    return out


def square(picture: Image.Image, side: int) -> Image.Image:
    """Cut the largest square out of the middle of a picture, and resize it.

    Args:
        picture: RGB.
        side: Of the result, in pixels.
    """
    shorter = min(picture.size)
    left, top = (picture.width - shorter) // 2, (picture.height - shorter) // 2
    cut = picture.crop((left, top, left + shorter, top + shorter))
    return cut.resize((side, side), Image.Resampling.BILINEAR)
