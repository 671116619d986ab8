"""Pieces of the rows that are linear along each axis: windows follow from what they do there."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from convscope.geometry.table import Reach
from convscope.geometry.window import IDENTITY, Field, Window
from convscope.network.axis_map import AxisMap
from convscope.network.node import Node, Op, SavedWindows
from convscope.network.ops.shared import linear_adjoint
from convscope.network.place import Place

__all__ = ["along_each", "axes_field", "axes_reach", "by_axes", "resample", "resample_back"]


def by_axes(
    kind: str,
    aten: tuple[Any, ...],
    forward: Callable[..., Tensor],
    axes: Callable[[Node, int], tuple[AxisMap | None, AxisMap | None]],
    **more: Any,
) -> Op:
    """A row of an operation that is linear along rows and along columns.

    axes : (node, input) -> what it does along either; None where it leaves the axis alone
    """
    settings: dict[str, Any] = {
        "adjoint": linear_adjoint,
        "field": axes_field,
        "reach": axes_reach,
        "on_window_at": resample,
        "adjoint_on_window": resample_back,
        "stays_inside": True,
    }
    return Op(kind, aten, forward, axes=axes, **{**settings, **more})


def along_each(
    run: Callable[[Node, Tensor, int], Tensor], step: Callable[[Node, int], Fraction]
) -> Callable[[Node, int], tuple[AxisMap | None, AxisMap | None]]:
    """The maps along both axes of an operation, by running it on the unit matrix.

    run : (node, map (1, 1, n, n), axis) -> (1, 1, outputs, n): it, along that axis, laid along
        the rows of this map
    step : (node, axis) -> inputs from an output to the next one
    """

    def axes(node: Node, index: int) -> tuple[AxisMap | None, AxisMap | None]:
        rows, columns = (_along(node, axis) for axis in (0, 1))
        return rows, columns

    def _along(node: Node, axis: int) -> AxisMap | None:
        extent = node.below[0][axis - 2]
        ones = torch.eye(extent, dtype=torch.float64)
        matrix = run(node, ones[None, None], axis)[0, 0]
        kept = matrix.shape[0] == extent and torch.equal(matrix, ones)
        return None if kept else AxisMap(matrix, step(node, axis))

    return axes


def axes_field(node: Node, index: int) -> Field:
    return Field(*(_window(axis) for axis in node.axis_maps[index]))


def _window(axis: AxisMap | None) -> Window:
    return IDENTITY if axis is None else axis.table.window(axis.stride)


def axes_reach(node: Node, index: int) -> tuple[Reach, Reach]:
    rows, columns = (IDENTITY if m is None else m.table for m in node.axis_maps[index])
    return rows, columns


def resample(node: Node, place: Place, *patches: Tensor) -> Tensor:
    """The sum along rows, then along columns, of each input; added up."""
    parts = (_resampled(node, place, i, patch) for i, patch in enumerate(patches))
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def _resampled(node: Node, place: Place, index: int, patch: Tensor) -> Tensor:
    maps = node.axis_maps[index]
    if all(axis is None or axis.index is not None for axis in maps):
        return _picked(maps, place, index, patch)
    value = patch.permute(0, 2, 3, 1)  # (P, h, w, C)
    rows, columns = _matrices(node, place, index, patch)
    if rows is not None:
        value = torch.bmm(rows, value.flatten(2)).unflatten(2, value.shape[2:])
    if columns is not None:
        value = columns[:, None] @ value
    return value.permute(0, 3, 1, 2)


def _matrices(
    node: Node, place: Place, index: int, like: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    rows, columns = (
        None
        if axis is None
        else axis.between(place.above[a], place.size[a], place.below[index][a],
                          place.sizes[index][a], like)
        for a, axis in enumerate(node.axis_maps[index])
    )  # fmt: skip
    return rows, columns


def _picked(
    maps: tuple[AxisMap | None, AxisMap | None], place: Place, index: int, patch: Tensor
) -> Tensor:
    """Each output is one input, or none: a look-up instead of a product."""
    at, inside = [], []
    for a, axis in enumerate(maps):
        outputs = place.above[a].to(patch.device)[:, None]
        outputs = outputs + torch.arange(place.size[a], device=patch.device)
        below = place.below[index][a].to(patch.device)[:, None]
        if axis is None or axis.index is None:
            picked, some = outputs - below, torch.ones_like(outputs, dtype=torch.bool)
        else:
            inputs = axis.index.to(patch.device)
            some = (outputs >= 0) & (outputs < len(inputs))
            picked = inputs[outputs.clamp(0, len(inputs) - 1)]
            some, picked = some & (picked >= 0), picked - below
        at.append(picked.clamp(0, patch.shape[2 + a] - 1))
        inside.append(some)
    each = torch.arange(len(patch), device=patch.device)[:, None, None]
    value = patch.permute(0, 2, 3, 1)[each, at[0][:, :, None], at[1][:, None, :]]
    mask = inside[0][:, :, None] & inside[1][:, None, :]
    value = value if bool(mask.all()) else value.masked_fill(~mask[..., None], 0)
    return value.permute(0, 3, 1, 2)


def resample_back(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    """The adjoint: the transposed sums."""
    parts = []
    for index in range(len(node.inputs)):
        value = signal.permute(0, 2, 3, 1)
        rows, columns = _matrices(node, saved.place, index, signal)
        if rows is not None:
            value = torch.bmm(rows.mT, value.flatten(2)).unflatten(2, value.shape[2:])
        if columns is not None:
            value = columns.mT[:, None] @ value
        parts.append(value.permute(0, 3, 1, 2))
    return tuple(parts)
