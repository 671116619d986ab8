"""Op table: branches that meet (sum, product, concatenation), and arithmetic with constants.

The network's value comes first: `bias - x` is read as the sum of -1 * x and 1 * bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import across_axis, aten, broadcast


def _sum_to(node: Node, index: int, signal: Tensor) -> Tensor:
    """Undo broadcasting: sum the signal over the axes along which an input was spread out."""
    sizes = zip(node.below[index], node.shape, strict=True)
    axes = [a + 1 for a, (below, above) in enumerate(sizes) if below == 1 != above]
    return signal.sum(axes, keepdim=True) if axes else signal


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
        _sum_to(node, i, signal if scale == 1 else signal * scale)
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
        return (_sum_to(node, 0, signal * _other(node, ())),)
    first, second = saved.input(0), saved.input(1)
    return _sum_to(node, 0, signal * second), _sum_to(node, 1, signal * first)


def _read_div(bound: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(bound["other"], (int, float, Tensor)):
        raise NotImplementedError("divides by a value that depends on the image")
    return {"constant": _constant(bound)}


def _div(node: Node, value: Tensor) -> Tensor:
    return value / _other(node, ())


def _div_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (_sum_to(node, 0, signal / _other(node, ())),)


def _same_everywhere(node: Node) -> bool:
    """Whether a stored operand is the same at each position: a number, or one per channel."""
    other = node.tensors.get("other")
    return other is None or all(n == 1 for n in other.shape[-2:])


def _read_cat(bound: dict[str, Any]) -> dict[str, Any]:
    return {"axis": bound["dim"]}


def _cat(node: Node, *values: Tensor) -> Tensor:
    return torch.cat(values, node.settings["axis"])


def _cat_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    axis = node.settings["axis"]
    axis_below = axis - 1 if axis > 0 else axis
    return tuple(signal.split([below[axis_below] for below in node.below], axis))


JOINING: tuple[Op, ...] = (
    *(replace(op, pointwise=True, elementwise=True, windowable=_same_everywhere, arithmetic=True)
      for op in (
        Op("add", (aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar),
           _add, _add_adjoint, broadcast, _read_sum(1, 1)),
        Op("sub", (aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar, aten.subtract.Tensor),
           _add, _add_adjoint, broadcast, _read_sum(1, -1)),
        Op("sub", (aten.rsub.Scalar, aten.rsub.Tensor),
           _add, _add_adjoint, broadcast, _read_sum(-1, 1, alpha_on_first=True)),
        Op("mul", (aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar, aten.multiply.Tensor),
           _mul, _mul_adjoint, broadcast, _read_mul,
           adjoint_looks=lambda node: len(node.inputs) == 2),
        Op("div", (aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar, aten.divide.Tensor,
                   aten.true_divide.Tensor),
           _div, _div_adjoint, broadcast, _read_div),
    )),
    Op("cat", (aten.cat.default, aten.concat.default, aten.concatenate.default),
       _cat, _cat_adjoint, across_axis, _read_cat, pointwise=True, concatenates=True),
)  # fmt: skip
