"""Op table: branches that meet (sum, product, concatenation), and arithmetic with constants.

The network's value comes first: `bias - x` is read as the sum of -1 * x and 1 * bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convscope.geometry.table import Reach
from convscope.geometry.window import Field
from convscope.network.axis_map import AxisMap
from convscope.network.node import Node, Op, Saved, SavedWindows
from convscope.network.ops.by_axes import axes_field, axes_reach, resample, resample_back
from convscope.network.ops.shared import (
    across_axis,
    aten,
    axes_first,
    broadcast,
    derivative,
    elementwise_first,
    grid_axis,
    is_value,
    same_everywhere,
    sum_to,
)


def _constant(bound: dict[str, Any]) -> int | float | None:
    other = bound["other"]
    return other if isinstance(other, (int, float)) else None


def _value_first(bound: dict[str, Any]) -> bool:
    """Put the network's value before a stored tensor. Whether they had to change places."""
    swap = isinstance(bound["self"], Tensor)
    if swap:
        bound["self"], bound["other"] = bound["other"], bound["self"]
    return swap


def _read_sum(
    first: int, second: int, *, alpha_on_first: bool = False
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Read `first * self + second * other`, one of them also times the call's own alpha."""

    def read(bound: dict[str, Any]) -> dict[str, Any]:
        alpha = bound.get("alpha", 1)
        scales = (first * alpha, second) if alpha_on_first else (first, second * alpha)
        if _value_first(bound):
            scales = (scales[1], scales[0])
        return {"scales": scales, "constant": _constant(bound)}

    return read


def _add(node: Node, value: Tensor, *others: Tensor) -> Tensor:
    first, second = node.settings["scales"]
    value = value if first == 1 else value * first
    return torch.add(value, _other(node, others), alpha=second)


def _add_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    scales = node.settings["scales"]
    return tuple(
        sum_to(node, i, signal if scale == 1 else signal * scale)
        for i, (scale, _) in enumerate(zip(scales, node.below, strict=False))
    )


def _read_mul(bound: dict[str, Any]) -> dict[str, Any]:
    _value_first(bound)
    return {"constant": _constant(bound)}


def _other(node: Node, others: tuple[Tensor, ...]) -> Any:
    """The second operand: a node's value, a stored tensor, or a number."""
    if others:
        return others[0]
    return node.tensors["other"] if "other" in node.tensors else node.settings["constant"]


def _mul(node: Node, value: Tensor, *others: Tensor) -> Tensor:
    return value * _other(node, others)


def _mul_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The product rule: each factor gets the signal times the other factor."""
    if len(node.inputs) == 1:
        return (sum_to(node, 0, signal * _other(node, ())),)
    first, second = saved.input(0), saved.input(1)
    return sum_to(node, 0, signal * second), sum_to(node, 1, signal * first)


def _read_div(bound: dict[str, Any]) -> dict[str, Any]:
    inverted = _value_first(bound)
    return {"constant": _constant(bound), **({"inverted": True} if inverted else {})}


def _div(node: Node, value: Tensor, *others: Tensor) -> Tensor:
    other = _other(node, others)
    return other / value if node.settings.get("inverted") else value / other


def _div_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The quotient rule where the image is below the line; else by what is there."""
    if _divides(node):
        return derivative(node, signal, saved)
    return (sum_to(node, 0, signal / _other(node, ())),)


def _divides(node: Node) -> bool:
    """Whether it divides by a value that depends on the image."""
    return len(node.inputs) == 2 or "inverted" in node.settings


def _read_cat(bound: dict[str, Any]) -> dict[str, Any]:
    """values : where the network's values stand, if stored tensors stand between them"""
    values = tuple(i for i, item in enumerate(bound["tensors"]) if is_value(item))
    stored = len(values) < len(bound["tensors"])
    return {"axis": bound["dim"], **({"values": values} if stored else {})}


def _cat(node: Node, *values: Tensor) -> Tensor:
    axis, places = node.settings["axis"], node.settings.get("values")
    if places is None:
        return torch.cat(values, axis)
    given = dict(zip(places, values, strict=True))
    count = len(values) + len(node.tensors)
    pieces = (given[i] if i in given else node.tensors[f"tensors.{i}"] for i in range(count))
    return torch.cat([_beside(piece, values[0], axis) for piece in pieces], axis)


def _beside(piece: Tensor, value: Tensor, axis: int) -> Tensor:
    """A stored tensor as large as a value, but along the axis; on a window, where it is alike."""
    shape = list(value.shape)
    shape[axis] = piece.shape[axis]
    if list(piece.shape[1:]) != shape[1:]:
        piece = piece[..., :1, :1]
    return piece.expand(shape)


def _cat_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    axis, places = node.settings["axis"], node.settings.get("values")
    below = axis - 1 if axis > 0 else axis
    sizes = [shape[below] for shape in node.below]
    if places is None:
        return tuple(signal.split(sizes, axis))
    given = dict(zip(places, sizes, strict=True))
    count = len(sizes) + len(node.tensors)
    every = [given.get(i) or node.tensors[f"tensors.{i}"].shape[axis] for i in range(count)]
    pieces = signal.split(every, axis)
    return tuple(pieces[i] for i in places)


def _cat_axes(node: Node, index: int) -> tuple[AxisMap | None, AxisMap | None]:
    """Where an input lies in what is put one after the other along rows or columns."""
    axis = grid_axis(node, node.settings["axis"])
    if axis is None:
        return None, None
    extents = [below[axis - 2] for below in node.below]
    places = torch.arange(node.shape[axis - 2]) - sum(extents[:index])
    inside = (places >= 0) & (places < extents[index])
    along = AxisMap.picking(torch.where(inside, places, -1), extents[index])
    return (along, None) if axis == 0 else (None, along)


def _cat_reach(node: Node, index: int) -> tuple[Reach, Reach]:
    """All of the axis where stored tensors are put between the values: on whole maps then."""
    return across_axis(node, index).axes if node.tensors else axes_reach(node, index)


def _cat_field(node: Node, index: int) -> Field:
    moves = grid_axis(node, node.settings["axis"]) is not None and len(node.shape) == 3
    return axes_field(node, index) if moves and not node.tensors else across_axis(node, index)


def _cat_back(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    return resample_back(node, signal, saved) if node.placed else _cat_adjoint(node, signal, saved)


def _cat_first(node: Node) -> Node | None:
    return None if node.tensors else axes_first(node)


JOINING: tuple[Op, ...] = (
    *(replace(op, pointwise=True, elementwise=True, windowable=same_everywhere, arithmetic=True,
              channels_first=elementwise_first)
      for op in (
        Op("add", (aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar, aten.add_.Scalar),
           _add, _add_adjoint, broadcast, _read_sum(1, 1)),
        Op("sub", (aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar, aten.sub_.Scalar,
                   aten.subtract.Tensor, aten.subtract_.Tensor),
           _add, _add_adjoint, broadcast, _read_sum(1, -1)),
        Op("sub", (aten.rsub.Scalar, aten.rsub.Tensor),
           _add, _add_adjoint, broadcast, _read_sum(-1, 1, alpha_on_first=True)),
        Op("mul", (aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar, aten.mul_.Scalar,
                   aten.multiply.Tensor, aten.multiply_.Tensor),
           _mul, _mul_adjoint, broadcast, _read_mul,
           adjoint_looks=lambda node: len(node.inputs) == 2),
        Op("div", (aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar, aten.div_.Scalar,
                   aten.divide.Tensor, aten.divide_.Tensor, aten.true_divide.Tensor,
                   aten.true_divide_.Tensor),
           _div, _div_adjoint, broadcast, _read_div, adjoint_looks=_divides),
    )),
    Op("cat", (aten.cat.default, aten.concat.default, aten.concatenate.default),
       _cat, _cat_adjoint, _cat_field, _read_cat, pointwise=True, concatenates=True,
       windowable=same_everywhere, channels_first=_cat_first, axes=_cat_axes, reach=_cat_reach,
       on_window_at=resample, adjoint_on_window=_cat_back),
)  # fmt: skip
