"""Op table: values handed on as they are: copies, other types of numbers, repetitions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convscope.geometry.window import IDENTITY, Field
from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import (
    across_axis,
    arguments,
    aten,
    broadcast,
    calling,
    linear_adjoint,
    linear_adjoint_on_window,
    same,
    same_adjoint,
    sum_to,
    whole,
)

__all__ = ["COPY", "COPYING"]


def _read_cast(bound: dict[str, Any]) -> dict[str, Any]:
    """Two empty tensors stand for the types of numbers, so that they change as the network's does.

    counts : one of the types holds no fractions: a mask, or whole numbers
    """
    below, other = _dtype(bound["self"]), bound.pop("other", None)
    above = _dtype(other) if other is not None else bound.get("dtype") or below
    bound["below"], bound["above"] = torch.empty(0, dtype=below), torch.empty(0, dtype=above)
    return {"counts": not (below.is_floating_point and above.is_floating_point)}


def _dtype(given: Any) -> torch.dtype:
    dtype = (given if isinstance(given, Tensor) else given.meta["val"]).dtype
    assert isinstance(dtype, torch.dtype)
    return dtype


def _cast(node: Node, value: Tensor) -> Tensor:
    return value.to(node.tensors["above"].dtype)


def _cast_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Nothing goes down to whole numbers, and nothing comes from them."""
    if node.settings["counts"]:
        return (torch.zeros_like(signal),)
    return (signal.to(node.tensors["below"].dtype),)


def _read_expand(bound: dict[str, Any]) -> dict[str, Any]:
    for key in ("size", "other"):
        bound.pop(key, None)
    if "tensors" in bound:  # broadcast_tensors
        bound["self"] = bound.pop("tensors")[bound["item"]]
    return {}


def _expand(node: Node, value: Tensor) -> Tensor:
    sizes = zip(node.below[0], node.shape, strict=True)
    return value.expand(-1, *(-1 if below == above else above for below, above in sizes))


def _expand_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (sum_to(node, 0, signal),)


def _read_repeat(bound: dict[str, Any]) -> dict[str, Any]:
    if len(bound["repeats"]) != bound["self"].meta["val"].dim():
        raise NotImplementedError("repeats along new axes")
    return arguments(bound)


def _repeat_field(node: Node, index: int) -> Field:
    reach = whole(node, index)
    same_size = [below == above for below, above in zip(node.below[0], node.shape, strict=True)]
    if len(same_size) < 2:
        return reach
    return Field(*(IDENTITY if same_size[a] else reach.axes[a] for a in (-2, -1)))


def _read_repeat_interleave(bound: dict[str, Any]) -> dict[str, Any]:
    if bound["dim"] is None:
        raise NotImplementedError("mixes the images of a batch")
    return {**arguments(bound), "axis": bound["dim"]}


def _keeps_grid(node: Node) -> bool:
    return node.op.field(node, 0) == Field()


_repeat = calling(aten.repeat.default)
_repeat_interleave = calling(aten.repeat_interleave.self_int)

COPYING: tuple[Op, ...] = (
    Op("identity", (aten.contiguous.default, aten.clone.default, aten.alias.default), same,
       same_adjoint, passes_through=True, identity=True, pointwise=True, elementwise=True),
    Op("detach", (aten.detach.default, aten.detach_.default), same, passes_through=True,
       pointwise=True, elementwise=True),
    Op("cast", (aten.to.dtype, aten.to.device, aten.to.other, aten.to.dtype_layout,
                aten._to_copy.default, aten.type_as.default), _cast, _cast_adjoint,
       read=_read_cast, casts=True, spells=True, pointwise=True, elementwise=True),
    Op("expand", (aten.expand.default, aten.expand_as.default, aten.broadcast_tensors.default),
       _expand, _expand_adjoint, broadcast, _read_expand, spreads=True, pointwise=True),
    Op("repeat", (aten.repeat.default,), _repeat, linear_adjoint, _repeat_field, _read_repeat,
       on_window=_repeat, adjoint_on_window=linear_adjoint_on_window, stays_inside=True,
       windowable=_keeps_grid),
    Op("repeat", (aten.repeat_interleave.self_int,), _repeat_interleave, linear_adjoint,
       across_axis, _read_repeat_interleave, on_window=_repeat_interleave,
       adjoint_on_window=linear_adjoint_on_window, stays_inside=True, windowable=_keeps_grid),
)  # fmt: skip

COPY = next(op for op in COPYING if op.identity)
