"""Where windows lie, for operations that tell one position from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Corner", "Place", "rewindow"]

Corner = tuple[Tensor, Tensor]
"""First row and first column of each window, (P,) int64."""


@dataclass(frozen=True, eq=False)
class Place:
    """Windows of a node's map, and the patches of each input that they need.

    Attributes:
        above: The corners of the windows.
        size: (rows, columns) of all of them.
        below: For each input, the corners of its patches.
        sizes: For each input, (rows, columns) of all of its patches.
    """

    above: Corner
    size: tuple[int, int]
    below: tuple[Corner, ...]
    sizes: tuple[tuple[int, int], ...]


def rewindow(values: Tensor, at: Corner, to: Corner, size: Sequence[int]) -> Tensor:
    """Other windows of the same maps: (P, C, h, w) at some corners -> those at others, of a size.

    What the windows that are given do not hold is zero.
    """
    shifts = [new - old for old, new in zip(at, to, strict=True)]
    if all(bool((shift == shift[0]).all()) for shift in shifts):
        return _shifted(values, [int(shift[0]) for shift in shifts], size)
    rows, columns = (
        shift.to(values.device)[:, None] + torch.arange(n, device=values.device)
        for shift, n in zip(shifts, size, strict=True)
    )
    inside = [
        (index >= 0) & (index < n)
        for index, n in zip((rows, columns), values.shape[-2:], strict=True)
    ]
    each = torch.arange(len(values), device=values.device)[:, None, None]
    rows, columns = rows.clamp(0, values.shape[-2] - 1), columns.clamp(0, values.shape[-1] - 1)
    found = values.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    mask = (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
    return found.masked_fill(~mask, 0).permute(0, 3, 1, 2)


def _shifted(values: Tensor, shift: Sequence[int], size: Sequence[int]) -> Tensor:
    """All windows moved alike: a cut, or a border of zeros."""
    (top, left), (height, width) = shift, size
    bottom, right = top + height - values.shape[-2], left + width - values.shape[-1]
    if (top, left, bottom, right) == (0, 0, 0, 0):
        return values
    if top >= 0 and left >= 0 and bottom <= 0 and right <= 0:
        return values[..., top : top + height, left : left + width]
    below = values.new_zeros((*values.shape[:2], height, width))
    low, high = (
        [max(top, 0), max(left, 0)],
        [min(top + height, values.shape[-2]), min(left + width, values.shape[-1])],
    )
    if high[0] > low[0] and high[1] > low[1]:
        target = below[..., low[0] - top : high[0] - top, low[1] - left : high[1] - left]
        target.copy_(values[..., low[0] : high[0], low[1] : high[1]])
    return below
