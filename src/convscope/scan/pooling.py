"""How a layer's value becomes a vector of features.

- flatten: the whole layer, as in the paper's feature analysis.
- mean, max: a number per feature map; mean+max: both, side by side.
- grid2: the mean over each cell of a 2×2 grid laid over the map (any number).
- auto: flatten up to LIMIT values, beyond that the finest grid that stays below it: the place of a
  feature in the image still counts, and memory stays bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import BadOption

__all__ = ["GRID_LIMIT", "LIMIT", "Pooling"]

LIMIT = 20_000  # values per image: 80 MB in float32 per thousand images
GRID_LIMIT = 5_000  # 3×3 for 512 maps: finer grids cost more, and told no better (docs/results.md)
NAMES = "auto, flatten, mean, max, mean+max, or grid2 (any number)"

_SUMMARIES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.mean((2, 3)),
    "max": lambda maps: maps.amax((2, 3)),
}


@dataclass(frozen=True)
class Pooling:
    """How a layer's value becomes a vector: a function with a name.

    Attributes:
        name: auto, flatten, mean, max, mean+max, or grid2 (any number).

    Raises:
        BadOption: another name.

    Shape:
        (N, C, H, W), (N, C) or (N,) -> (N, features).

    Example:
        >>> Pooling("mean+max")(torch.zeros(8, 64, 13, 13)).shape
        torch.Size([8, 128])
    """

    name: str = "auto"

    def __post_init__(self) -> None:
        parts = self.name.split("+")
        summaries = all(part in _SUMMARIES for part in parts) and len(set(parts)) == len(parts)
        alone = self.name in ("auto", "flatten") or re.fullmatch(r"grid[1-9]\d?", self.name)
        if not (summaries or alone):
            raise BadOption(f"pooling {self.name!r}: it is {NAMES}")

    def settle(self, shape: tuple[int, ...]) -> Pooling:
        """The pooling that a layer gets: `auto` is decided, a layer without a grid is flattened.

        Args:
            shape: of the layer's value, without the batch.
        """
        if len(shape) != 3:
            return Pooling("flatten")
        if self.name != "auto":
            return self
        channels, rows, columns = shape
        if channels * rows * columns <= LIMIT:
            return Pooling("flatten")
        finest = min(int((GRID_LIMIT / channels) ** 0.5), rows, columns)
        return Pooling(f"grid{max(finest, 1)}")

    def length(self, shape: tuple[int, ...]) -> int:
        """How many features an image has.

        Args:
            shape: of the layer's value, without the batch.
        """
        settled = self.settle(shape).name
        if settled.startswith("grid"):
            return shape[0] * int(settled.removeprefix("grid")) ** 2
        if settled != "flatten":
            return shape[0] * len(settled.split("+"))
        length = 1
        for side in shape:
            length *= side
        return length

    def __call__(self, value: Tensor) -> Tensor:
        """Pool a layer's value; without a grid it is (N, C) or (N,)."""
        settled = self.settle(tuple(value.shape[1:])).name
        if settled == "flatten":
            return value.reshape(len(value), -1)
        if settled.startswith("grid"):
            return F.adaptive_avg_pool2d(value, int(settled.removeprefix("grid"))).flatten(1)
        summaries = [_SUMMARIES[part](value) for part in settled.split("+")]
        return torch.cat(summaries, 1)
