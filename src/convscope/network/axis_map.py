"""What an operation does along one axis, where it does the same in every row and every column.

Up-sampling, padding, cropping, mirroring, averaging over unequal regions: each output along an axis
is a weighted sum of inputs along it, and the operation is this sum along rows, then along columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from convscope.geometry.table import Table

__all__ = ["AxisMap"]


@dataclass(frozen=True, eq=False)
class AxisMap:
    """A linear map along one axis.

    Attributes:
        matrix: (outputs, inputs), the weight of each input in each output.
        stride: Inputs from an output to the next one, as the operation means it.
    """

    matrix: Tensor
    stride: Fraction = Fraction(1)

    @classmethod
    def picking(
        cls, index: Sequence[int] | Tensor, extent: int, stride: Fraction | int = 1
    ) -> AxisMap:
        """Return the map that puts one input at each place.

        Args:
            index: Which input each output is; -1 for none: zero.
            extent: How many inputs there are.
            stride: Inputs from an output to the next one.
        """
        index = torch.as_tensor(index, dtype=torch.int64).cpu()
        matrix = (index[:, None] == torch.arange(extent)).double()
        return cls(matrix, Fraction(stride))

    @cached_property
    def table(self) -> Table:
        """Which inputs each output reads."""
        reads = self.matrix != 0
        some, extent = reads.any(1), reads.shape[1]
        first = torch.where(some, reads.int().argmax(1), 0)
        last = torch.where(some, extent - reads.flip(1).int().argmax(1), 0)
        return Table(first.numpy(), last.numpy(), extent)

    @cached_property
    def index(self) -> Tensor | None:
        """Which input each output is, -1 for none; None where some are sums or scaled."""
        reads = self.matrix != 0
        if (reads.sum(1) > 1).any() or (self.matrix[reads] != 1).any():
            return None
        return torch.where(reads.any(1), reads.int().argmax(1), -1)

    @cached_property
    def _cast(self) -> dict[tuple[torch.device, torch.dtype], Tensor]:
        return {}

    def of(self, like: Tensor) -> Tensor:
        """The matrix on a tensor's device, and of its type."""
        key = like.device, like.dtype
        if key not in self._cast:
            self._cast[key] = self.matrix.to(*key)
        return self._cast[key]

    def between(
        self, above: Tensor, outputs: int, below: Tensor, inputs: int, like: Tensor
    ) -> Tensor:
        """The matrix between windows: (P, outputs, inputs), zero where either is outside.

        Args:
            above: The first output of each window.
            outputs: How many outputs each has.
            below: The first input of each patch.
            inputs: How many inputs each has.
            like: Its device and type are taken.
        """
        matrix = self.of(like)
        rows, columns = (
            first.to(like.device)[:, None] + torch.arange(n, device=like.device)
            for first, n in ((above, outputs), (below, inputs))
        )
        inside = [
            (index >= 0) & (index < n)
            for index, n in zip((rows, columns), matrix.shape, strict=True)
        ]
        rows, columns = (
            index.clamp(0, n - 1) for index, n in zip((rows, columns), matrix.shape, strict=True)
        )
        found = matrix[rows[:, :, None], columns[:, None, :]]
        return torch.where(inside[0][:, :, None] & inside[1][:, None, :], found, 0)
