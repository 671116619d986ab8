"""Occluders: boxes of pixels on a grid, and images with such a box covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import BadOption
from convscope.geometry.box import Box
from convscope.network.local.grouping import BoxGrid

__all__ = ["Fill", "Occluder", "covered", "fill_planes"]

Fill = float | Tensor
"""What an occluder shows, in preprocessed units: a number, (C,), or (C, H, W) cut by its box."""


@dataclass(frozen=True)
class Occluder:
    """A box that slides over an image: its size and its step, (rows, columns) in image pixels.

    Attributes:
        size: Height and width of the box. One number stands for both.
        stride: How far the box moves from one position to the next, down and across.

    Raises:
        BadOption: A size or stride is below 1.

    Example:
        >>> occluder = Occluder(32, 8)
        >>> len(occluder.boxes(224, 224))
        784
    """

    size: tuple[int, int]
    stride: tuple[int, int]

    def __init__(self, size: int | tuple[int, int], stride: int | tuple[int, int]) -> None:
        object.__setattr__(self, "size", _pair("occluder size", size))
        object.__setattr__(self, "stride", _pair("occluder stride", stride))

    @classmethod
    def fitting(
        cls,
        height: int,
        width: int,
        size: int | tuple[int, int] | None = None,
        stride: int | tuple[int, int] | None = None,
    ) -> Occluder:
        """Choose an occluder for an image: a seventh of its side, moved by a quarter of itself.

        For 224 x 224 that is 32/8. The paper does not state its own; this choice is ours.

        Args:
            height: Of the image, in pixels.
            width: Of the image, in pixels.
            size: A size that is kept, instead of the default.
            stride: A stride that is kept, instead of the default.

        Example:
            >>> str(Occluder.fitting(224, 224))
            '32×32 px, stride 8'
        """
        size = (height // 7 or 1, width // 7 or 1) if size is None else _pair("occluder size", size)
        return cls(size, (size[0] // 4 or 1, size[1] // 4 or 1) if stride is None else stride)

    def grid(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Compute the top-left corners of all positions, in image pixels.

        They start at 0 and step by the stride while they lie inside the image.

        Args:
            height: Of the image, in pixels.
            width: Of the image, in pixels.

        Shape:
            The result: rows (R,) and columns (C,), int64.
        """
        return torch.arange(0, height, self.stride[0]), torch.arange(0, width, self.stride[1])

    def intervals(self, height: int, width: int) -> BoxGrid:
        """The pixels it covers along each axis, cut by the edge of the image."""
        sides = [
            tuple((int(first), min(int(first) + size, extent)) for first in starts)
            for starts, size, extent in zip(
                self.grid(height, width), self.size, (height, width), strict=True
            )
        ]
        return BoxGrid(*sides)

    def box(self, i: int, j: int) -> Box:
        """The occluder at grid position (i, j), in image pixels; it may cross the image's edge."""
        top, left = i * self.stride[0], j * self.stride[1]
        return Box(top, left, top + self.size[0], left + self.size[1])

    def boxes(self, height: int, width: int) -> list[Box]:
        """Every occluder of the grid in reading order, cut by the edge of the image."""
        rows, columns = self.grid(height, width)
        return [
            self.box(i, j).clip(height, width)
            for i in range(len(rows))
            for j in range(len(columns))
        ]

    def __str__(self) -> str:
        (height, width), (down, across) = self.size, self.stride
        return f"{height}×{width} px, stride {down}" + ("" if down == across else f"×{across}")


def covered(image: Tensor, boxes: Sequence[Box], fill: Fill) -> Tensor:
    """Cover each of several boxes of one image, a copy of the image for each.

    Args:
        image: The image.
        boxes: The boxes, in image pixels; they may cross its edge.
        fill: What a box shows instead of the image.

    Shape:
        image: (C, H, W). The result: (len(boxes), C, H, W).

    Example:
        >>> boxes = Occluder(8, 8).boxes(32, 32)
        >>> covered(image, boxes, fill=0.0).shape
        torch.Size([16, 3, 32, 32])
    """
    planes = fill_planes(fill, image)
    images = image.repeat(len(boxes), 1, 1, 1)
    for one, box in zip(images, boxes, strict=True):
        seen = box.clip(*image.shape[-2:])
        rows, columns = slice(seen.top, seen.bottom), slice(seen.left, seen.right)
        one[:, rows, columns] = planes[:, rows, columns]
    return images


def fill_planes(fill: Fill, image: Tensor) -> Tensor:
    """Bring a fill into the shape of an image.

    Args:
        fill: One number, a number for each channel, or planes as large as the image.
        image: The image, for its shape, dtype and device.

    Shape:
        image, and the result: (C, H, W).

    Raises:
        BadOption: The fill has another shape, or it holds NaN or infinity.

    Example:
        >>> fill_planes(torch.tensor([1.0, 2.0, 3.0]), image).shape
        torch.Size([3, 32, 32])
    """
    planes = torch.as_tensor(fill, dtype=image.dtype, device=image.device)
    if planes.dim() == 1:
        planes = planes[:, None, None]
    allowed = ((), (image.shape[0], 1, 1), tuple(image.shape))
    if tuple(planes.shape) not in allowed or not bool(torch.isfinite(planes).all()):
        channels, height, width = image.shape
        raise BadOption(
            f"the fill has shape {tuple(torch.as_tensor(fill).shape)}: give one finite number, "
            f"{channels} of them, or planes {channels}x{height}x{width}, in preprocessed units"
        )
    return planes.expand_as(image)


def _pair(what: str, value: int | tuple[int, int]) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(int(n) for n in value)
    if len(pair) != 2 or min(pair) < 1:
        raise BadOption(f"{what} {value}: give 1 or more pixels, or (rows, columns)")
    return pair[0], pair[1]
