"""Op table: reshaping, cutting, and operations that change nothing at test time."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from torch import Tensor

from convscope.geometry.window import IDENTITY, Field, Window
from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import (
    across_axis,
    aten,
    axes_first,
    elementwise_first,
    grid_axis,
    linear_adjoint,
    linear_adjoint_on_window,
    same,
    same_adjoint,
    whole,
)


def _reshape_field(node: Node, index: int) -> Field:
    """Identity where a reshape leaves rows and columns alone, global otherwise."""
    below, above = node.below[index], node.shape
    if len(below) == len(above) == 1:
        return Field()
    keeps_grid = len(below) > 1 and len(above) > 1 and below[-2:] == above[-2:]
    return Field() if keeps_grid else whole(node, index)


def _reshape(node: Node, value: Tensor) -> Tensor:
    return value.reshape(value.shape[0], *node.shape)


def _read_view(bound: dict[str, Any]) -> dict[str, Any]:
    bound.pop("other", None)  # lends nothing but its shape
    return {}


def _reshape_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (signal.reshape(signal.shape[0], *node.below[0]),)


def _read_slice(bound: dict[str, Any]) -> dict[str, Any]:
    return {"axis": bound["dim"], "range": (bound["start"], bound["end"], bound["step"])}


def _read_narrow(bound: dict[str, Any]) -> dict[str, Any]:
    start = bound["start"] % bound["self"].meta["val"].shape[bound["dim"]]
    return {"axis": bound["dim"], "range": (start, start + bound["length"], 1)}


def _slice(node: Node, value: Tensor) -> Tensor:
    cut = [slice(None)] * value.dim()
    cut[node.settings["axis"]] = slice(*node.settings["range"])
    return value[tuple(cut)]


def _slice_field(node: Node, index: int) -> Field:
    """Along channels the same position; along rows and columns by steps, from the first that is
    taken."""
    windows = [IDENTITY, IDENTITY]
    axis = grid_axis(node, node.settings["axis"])
    if axis is not None:
        start, _, step = slice(*node.settings["range"]).indices(node.below[0][axis - 2])
        windows[axis] = Window(1, Fraction(step), Fraction(start))
    return Field(*windows)


def _slice_on_window(node: Node, patch: Tensor) -> Tensor:
    """A patch begins with the first row and column that is taken."""
    axis = grid_axis(node, node.settings["axis"])
    if axis is None:
        return _slice(node, patch)
    cut = [slice(None)] * 4
    cut[axis + 2] = slice(None, None, node.settings["range"][2])
    return patch[tuple(cut)]


def _slice_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Back to its place, zero elsewhere."""
    below = signal.new_zeros((signal.shape[0], *node.below[0]))
    _slice(node, below).copy_(signal)
    return (below,)


def _read_select(bound: dict[str, Any]) -> dict[str, Any]:
    return {"axis": bound["dim"], "index": bound["index"]}


def _select(node: Node, value: Tensor) -> Tensor:
    return value.select(node.settings["axis"], node.settings["index"])


def _read_permute(bound: dict[str, Any]) -> dict[str, Any]:
    return {"axes": tuple(bound["dims"])}


def _read_movedim(bound: dict[str, Any]) -> dict[str, Any]:
    rank = bound["self"].meta["val"].dim()
    source, target = (
        [axis % rank for axis in (given if isinstance(given, (list, tuple)) else [given])]
        for given in (bound["source"], bound["destination"])
    )
    moved = dict(zip(target, source, strict=True))
    others = iter(axis for axis in range(rank) if axis not in source)
    return {"axes": tuple(moved[i] if i in moved else next(others) for i in range(rank))}


def _permute(node: Node, value: Tensor) -> Tensor:
    return value.permute(node.settings["axes"])


def _read_transpose(bound: dict[str, Any]) -> dict[str, Any]:
    first, second = (bound.get(f"dim{i}", bound.get(f"axis{i}", i - 2)) for i in (0, 1))
    return {"axes": (first, second)}


def _transpose(node: Node, value: Tensor) -> Tensor:
    return value.transpose(*node.settings["axes"])


def _axes_field(node: Node, index: int) -> Field:
    """Swapping channel axes (a channel shuffle) leaves rows and columns alone."""
    rank, axes = len(node.shape) + 1, node.settings["axes"]
    if node.kind == "permute":
        keeps_grid = tuple(a % rank for a in axes[-2:]) == (rank - 2, rank - 1)
    else:
        keeps_grid = all(0 < a % rank < rank - 2 for a in axes)
    return Field() if keeps_grid else whole(node, index)


def _read_dropout(bound: dict[str, Any]) -> dict[str, Any]:
    if bound["train"] and bound["p"] > 0:
        raise NotImplementedError("drops at random at test time too (say training=self.training)")
    return {}


SHAPING: tuple[Op, ...] = (
    Op("flatten", (aten.flatten.using_ints,), _reshape, _reshape_adjoint, _reshape_field,
       reshapes=True, flattens=True),
    Op("view", (aten.view.default, aten.reshape.default, aten.squeeze.dim, aten.squeeze.dims,
                aten.squeeze.default, aten.unsqueeze.default, aten.unflatten.int,
                aten._unsafe_view.default, aten.view_as.default, aten.reshape_as.default),
       _reshape, _reshape_adjoint, _reshape_field,
       read=_read_view, reshapes=True),
    Op("slice", (aten.slice.Tensor, aten.chunk.default, aten.split.Tensor,
                 aten.split_with_sizes.default, aten.tensor_split.sections,
                 aten.tensor_split.indices),
       _slice, _slice_adjoint, _slice_field, _read_slice, cuts=True, on_window=_slice_on_window,
       adjoint_on_window=linear_adjoint_on_window, stays_inside=True,
       channels_first=axes_first),
    Op("slice", (aten.narrow.default,), _slice, _slice_adjoint, _slice_field, _read_narrow,
       cuts=True, on_window=_slice_on_window, adjoint_on_window=linear_adjoint_on_window,
       stays_inside=True, channels_first=axes_first),
    Op("select", (aten.select.int, aten.unbind.int), _select, linear_adjoint, across_axis,
       _read_select, cuts=True),
    Op("permute", (aten.permute.default,), _permute, linear_adjoint, _axes_field, _read_permute,
       permutes=True),
    Op("permute", (aten.movedim.int, aten.movedim.intlist, aten.moveaxis.int,
                   aten.moveaxis.intlist),
       _permute, linear_adjoint, _axes_field, _read_movedim, permutes=True),
    Op("transpose", (aten.transpose.int, aten.swapaxes.default, aten.swapdims.default,
                     aten.mT.default), _transpose, linear_adjoint, _axes_field,
       _read_transpose, permutes=True),
    Op("dropout", (aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default,
                   aten.feature_dropout_.default, aten.alpha_dropout.default), same,
       same_adjoint, read=_read_dropout, passes_through=True, pointwise=True, elementwise=True,
       channels_first=elementwise_first),
)  # fmt: skip
