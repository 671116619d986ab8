"""Transforms: each step looks at the pictures a little moved, turned and scaled.

Without them a unit is driven highest by noise that no image holds, so a picture is never judged by
its score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["STILL", "Transforms"]


@dataclass(frozen=True)
class Transforms:
    """How far a picture is moved at random; one resampling does it all.

    Attributes:
        jitters: pixels that it moves by at most, up or down and left or right, half to either
            side; of several the moves add up.
        scale: it grows or shrinks by at most this share.
        degrees: it turns by at most this angle.
    """

    jitters: tuple[float, ...] = (8, 4)
    scale: float = 0.1
    degrees: float = 5

    def __call__(
        self, pictures: Tensor, grey: Tensor, size: tuple[int, int], generator: torch.Generator
    ) -> Tensor:
        """Show pictures in a frame, all moved alike at random; around them it is grey.

        Args:
            pictures: On their canvas.
            grey: What lies around them, in the same units.
            size: (rows, columns) of the frame. A picture lies in its middle, at its own size.
            generator: For the draws, on the CPU.

        Shape:
            pictures: (U, C, h, w). grey: (C, h, w). The result: (U, C, rows, columns).
        """
        height, width = pictures.shape[-2:]
        if self == STILL and size == (height, width):
            return pictures

        def drawn(reach: float) -> float:
            return float(2 * torch.rand((), generator=generator) - 1) * reach

        angle, growth = drawn(math.radians(self.degrees)), 1 + drawn(self.scale)
        down, across = (sum(drawn(jitter / 2) for jitter in self.jitters) for _ in range(2))
        cosine, sine = math.cos(angle) / growth, math.sin(angle) / growth
        rows, columns = size
        theta = [  # from the frame's coordinates, -1 to 1, to the canvas's
            [cosine * columns / width, -sine * rows / width, 2 * across / width],
            [sine * columns / height, cosine * rows / height, 2 * down / height],
        ]
        shape = [1, 1, rows, columns]
        grid = functional.affine_grid(pictures.new_tensor([theta]), shape, align_corners=False)
        grid = grid.expand(len(pictures), -1, -1, -1)
        moved = functional.grid_sample(pictures - grey, grid, align_corners=False)
        if size != (height, width):
            grey = functional.interpolate(grey[None], size, mode="nearest")
        return moved + grey


STILL = Transforms(jitters=(), scale=0.0, degrees=0.0)
"""The pictures as they are."""
