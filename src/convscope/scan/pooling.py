"""How a layer's value becomes a vector of features.

flatten     the whole layer, as in the paper's feature analysis
mean, max   a number per feature map;   mean+max  both, side by side
grid2       the mean over each cell of a 2×2 grid laid over the map (any number)
auto        flatten up to LIMIT values, beyond that the finest grid that stays below it: the
            place of a feature in the image still counts, and memory stays bounded
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
    """A pooling by its name; the module's docstring has them. Raises  BadOption: another name."""

    name: str = "auto"

    def __post_init__(self) -> None:
        parts = self.name.split("+")
        summaries = all(part in _SUMMARIES for part in parts) and len(set(parts)) == len(parts)
        alone = self.name in ("auto", "flatten") or re.fullmatch(r"grid[1-9]\d?", self.name)
        if not (summaries or alone):
            raise BadOption(f"pooling {self.name!r}: it is {NAMES}")

    def settle(self, shape: tuple[int, ...]) -> Pooling:
        """`auto` decided for a layer of that shape; a layer without a grid is taken as it is."""
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
        """How many features an image has, from a layer of that shape."""
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
        """(N, features) of a layer's value (N, C, H, W), or (N, C) or (N,) without a grid."""
        settled = self.settle(tuple(value.shape[1:])).name
        if settled == "flatten":
            return value.reshape(len(value), -1)
        if settled.startswith("grid"):
            return F.adaptive_avg_pool2d(value, int(settled.removeprefix("grid"))).flatten(1)
        summaries = [_SUMMARIES[part](value) for part in settled.split("+")]
        return torch.cat(summaries, 1)
