"""Where the points of a picture lie in the network's input: the geometry of a Fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.images.fitting import CROP_SHARE, Fit
from convscope.images.preprocess import Preprocess

__all__ = ["Placing", "placing"]


@dataclass(frozen=True)
class Placing:
    """How a picture is resized, and where the network's input is cut out of it.

    Attributes:
        source: (height, width) of the picture, pixels.
        resized: (height, width) of the resized picture, pixels.
        size: (height, width) of the network's input, pixels.
        top: Of the input in the resized picture, pixels.
        left: Of the input in the resized picture, pixels.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    size: tuple[int, int]
    top: int = 0
    left: int = 0

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the input for a pixel of the picture, (down, across)."""
        return self.resized[0] / self.source[0], self.resized[1] / self.source[1]

    def point(self, row: float, column: float) -> tuple[float, float]:
        """Map a point of the picture to the input; pixel (r, c) covers r..r+1, c..c+1 in both."""
        down, across = self.scale
        return row * down - self.top, column * across - self.left

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Map a mask of the picture to the input, by what the centre of each pixel shows.

        Shape:
            mask: bool (h, w). The result: bool (H, W).
        """
        down, across = self.scale
        rows = (np.arange(self.size[0]) + self.top + 0.5) / down
        columns = (np.arange(self.size[1]) + self.left + 0.5) / across
        rows = rows.astype(np.int64).clip(0, self.source[0] - 1)
        columns = columns.astype(np.int64).clip(0, self.source[1] - 1)
        return mask[rows[:, None], columns]


def placing(preprocess: Preprocess, height: int, width: int) -> Placing:
    """Compute how `preprocess.picture` places a picture of that many pixels.

    A picture that fit none would refuse is placed as if it were stretched.

    Args:
        preprocess: Says how pictures are fitted.
        height: Of the picture, pixels.
        width: Of the picture, pixels.
    """
    rows, columns = preprocess.size
    if not preprocess.crops or (preprocess.fit is Fit.AUTO and (height, width) == (rows, columns)):
        return Placing((height, width), (rows, columns), (rows, columns))
    down, across = (round(side / CROP_SHARE) for side in (rows, columns))
    if width * down <= height * across:  # the width is what binds
        resized = (int(across * height / width), across)
    else:
        resized = (down, int(down * width / height))
    top, left = round((resized[0] - rows) / 2), round((resized[1] - columns) / 2)
    return Placing((height, width), resized, (rows, columns), top, left)
