"""What the maps of a learned layer stand for: their strongest codes, each carried down alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.experiments.adaptive.reading import ReadImages
from convscope.store.results import Arrays
from convscope.training.deconvolution.layerwise import Encoded
from convscope.training.deconvolution.reconstruction import (
    DeconvolutionLayer,
    Reconstruction,
    footprint,
)

__all__ = ["grey_pixels", "pictures_of"]

TOP = 9  # codes of a map
GREY, WHITE = 128, 255


def pictures_of(
    layers: Sequence[DeconvolutionLayer], found: Sequence[Encoded], images: ReadImages, rebuilt: int
) -> Arrays:
    """Draw the last of some layers.

    Args:
        layers: From the pixels up.
        found: What each says of the images.
        images: The images.
        rebuilt: How many images are drawn as the codes reconstruct them.

    Returns:
        `values`, `patches`, `projections` and `rebuilt`, as `result.LayerMaps` has them.
    """
    codes = found[-1].codes
    count, maps, _, width = codes.shape
    strength, places = codes.abs().flatten(2).max(2)  # (N, K): of each image the largest
    values, which = strength.topk(min(TOP, count), dim=0)
    patches, projections = [], []
    for k in range(maps):
        rows = which[:, k]
        where = [divmod(int(places[n, k]), width) for n in rows]
        alone = torch.zeros_like(codes[rows])
        for i, (n, (row, column)) in enumerate(zip(rows.tolist(), where, strict=True)):
            alone[i, k, row, column] = codes[n, k, row, column]
        below = [each.switches[rows] for each in found[:-1]]
        down = Reconstruction(layers, below).down(alone)
        boxes = [footprint(layers, place) for place in where]
        projections.append(np.stack([
            _cut(picture, box, GREY)
            for picture, box in zip(grey_pixels(down), boxes, strict=True)
        ]))  # fmt: skip
        patches.append(np.stack([
            _cut(images.shown[n], box, WHITE) for n, box in zip(rows.tolist(), boxes, strict=True)
        ]))  # fmt: skip
    again = images.pixels[:rebuilt] + found[-1].error[:rebuilt]
    return {
        "values": values.T.cpu().numpy(),
        "patches": np.stack(patches),
        "projections": np.stack(projections),
        "rebuilt": grey_pixels(again, like=images.pixels[:rebuilt]),
    }


def _cut(
    pixels: NDArray[np.uint8], box: tuple[int, int, int, int], beyond: int
) -> NDArray[np.uint8]:
    """A part (h, w, 3) of a picture (H, W, 3), which may reach beyond it."""
    top, left, bottom, right = box
    height, width = pixels.shape[:2]
    part = np.full((bottom - top, right - left, *pixels.shape[2:]), beyond, pixels.dtype)
    rows = slice(max(top, 0), min(bottom, height))
    columns = slice(max(left, 0), min(right, width))
    into = part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    into[...] = pixels[rows, columns]
    return part


def grey_pixels(signals: Tensor, like: Tensor | None = None) -> NDArray[np.uint8]:
    """Signed pictures as grey ones: grey is 0, white and black the largest magnitude of each.

    Args:
        signals: The pictures.
        like: Pictures whose largest magnitudes count instead.

    Shape:
        signals, like: (N, 1, H, W). The result: uint8 (N, H, W, 3).
    """
    most = (signals if like is None else like).abs().flatten(1).amax(1).clamp(min=1e-9)
    shares = (signals[:, 0] / most[:, None, None]).clamp(-1, 1)
    grey = (GREY + 127 * shares).round().to(torch.uint8).cpu().numpy()
    return np.repeat(grey[..., None], 3, axis=-1)
