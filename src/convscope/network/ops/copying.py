"""Op table: values handed on as they are: copies, other types of numbers, spread out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import (
    aten,
    broadcast,
    elementwise_first,
    same,
    same_adjoint,
    sum_to,
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


COPYING: tuple[Op, ...] = (
    Op("identity", (aten.contiguous.default, aten.clone.default, aten.alias.default), same,
       same_adjoint, passes_through=True, identity=True, pointwise=True, elementwise=True,
       channels_first=elementwise_first),
    Op("detach", (aten.detach.default, aten.detach_.default), same, passes_through=True,
       pointwise=True, elementwise=True, channels_first=elementwise_first),
    Op("cast", (aten.to.dtype, aten.to.device, aten.to.other, aten.to.dtype_layout,
                aten._to_copy.default, aten.type_as.default), _cast, _cast_adjoint,
       read=_read_cast, casts=True, spells=True, pointwise=True, elementwise=True,
       channels_first=elementwise_first),
    Op("expand", (aten.expand.default, aten.expand_as.default, aten.broadcast_to.default,
                   aten.broadcast_tensors.default),
       _expand, _expand_adjoint, broadcast, _read_expand, spreads=True, pointwise=True,
       channels_first=elementwise_first),
)  # fmt: skip

COPY = next(op for op in COPYING if op.identity)
