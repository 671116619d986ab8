"""Op table: values put elsewhere along an axis, or repeated: mirrors, rolls, lists of indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.geometry.window import Field
from convscope.network.axis_map import AxisMap
from convscope.network.node import Node, Op, Saved, SavedWindows
from convscope.network.ops.by_axes import axes_field, by_axes, resample, resample_back
from convscope.network.ops.shared import aten, grid_axis, whole
from convscope.network.place import Place

Picks = dict[int, Sequence[int]]
"""Axis, the batch counted -> which input each output along it is."""


def _shape_of(bound: Mapping[str, Any]) -> list[Any]:
    return list(bound["self"].meta["val"].shape)


def _picks(bound: Mapping[str, Any], picks: Picks) -> dict[str, Any]:
    """The settings: sorted by axis, counted from the first."""
    shape = _shape_of(bound)
    found = {axis % len(shape): tuple(int(i) for i in index) for axis, index in picks.items()}
    if 0 in found:
        raise NotImplementedError("mixes the images of a batch")
    return {
        "picks": tuple(
            (axis, tuple(i % shape[axis] for i in index)) for axis, index in sorted(found.items())
        )
    }


def _read_flip(bound: dict[str, Any]) -> dict[str, Any]:
    shape = _shape_of(bound)
    axes = [axis % len(shape) for axis in bound["dims"]]
    return _picks(bound, {axis: range(shape[axis])[::-1] if axis else () for axis in axes})


def _read_roll(bound: dict[str, Any]) -> dict[str, Any]:
    shape = _shape_of(bound)
    if not bound["dims"]:
        raise NotImplementedError("mixes the images of a batch (a roll without dims)")
    total: dict[int, int] = {}
    for shift, axis in zip(bound["shifts"], bound["dims"], strict=True):
        total[axis % len(shape)] = total.get(axis % len(shape), 0) + shift
    return _picks(
        bound,
        {axis: [i - n for i in range(shape[axis])] if axis else () for axis, n in total.items()},
    )


def _read_index(bound: dict[str, Any]) -> dict[str, Any]:
    given = [(axis, index) for axis, index in enumerate(bound["indices"]) if index is not None]
    if any(not isinstance(index, Tensor) for _, index in given):
        raise NotImplementedError("takes indices that depend on the image")
    if len(given) != 1 or given[0][1].dim() != 1:
        raise NotImplementedError("takes more than one list of indices at once")
    return _picks(bound, {axis: _positions(index) for axis, index in given})


def _read_index_select(bound: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(bound["index"], Tensor):
        raise NotImplementedError("takes indices that depend on the image")
    return _picks(bound, {bound["dim"]: _positions(bound["index"].reshape(-1))})


def _positions(index: Tensor) -> list[int]:
    if index.dtype is torch.bool:
        raise NotImplementedError("takes a mask: give the positions, mask.nonzero()")
    return [int(i) for i in index.tolist()]


def _read_repeat(bound: dict[str, Any]) -> dict[str, Any]:
    shape = _shape_of(bound)
    counts = list(bound.get("repeats") or bound["dims"])
    counts = [1] * (len(shape) - len(counts)) + counts
    if len(counts) > len(shape):
        raise NotImplementedError("repeats along new axes")
    return _picks(
        bound,
        {a: [*range(shape[a])] * n if a else () for a, n in enumerate(counts) if n != 1},
    )


def _read_repeat_interleave(bound: dict[str, Any]) -> dict[str, Any]:
    shape, axis, count = _shape_of(bound), bound["dim"], bound["repeats"]
    if count == 1 and axis is not None:
        return _picks(bound, {})
    if axis is None or axis % len(shape) == 0:
        raise NotImplementedError("mixes the images of a batch")
    return _picks(bound, {axis: [i // count for i in range(count * shape[axis])]})


def _index(node: Node, index: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(index, device=like.device)


def _pick(node: Node, value: Tensor) -> Tensor:
    for axis, index in node.settings["picks"]:
        value = value.index_select(axis, _index(node, index, value))
    return value


def _pick_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (_put_back(node, signal, [axis for axis, _ in node.settings["picks"]]),)


def _put_back(node: Node, signal: Tensor, axes: Sequence[int]) -> Tensor:
    """Along each axis, what was taken several times adds up."""
    for axis, index in node.settings["picks"]:
        if axis in axes:
            shape = [*signal.shape]
            shape[axis] = node.below[0][axis - 1]
            below = signal.new_zeros(shape)
            signal = below.index_add(axis, _index(node, index, signal), signal)
    return signal


def _pick_axes(node: Node, index: int) -> tuple[AxisMap | None, AxisMap | None]:
    found: list[AxisMap | None] = [None, None]
    for axis, picked in node.settings["picks"]:
        place = grid_axis(node, axis)
        if place is not None:
            found[place] = AxisMap.picking(picked, node.below[0][axis - 1], _stride(picked))
    return found[0], found[1]


def _stride(index: Sequence[int]) -> Fraction:
    """Inputs from an output to the next one, as far as there is such a number."""
    steps = {b - a for a, b in pairwise(index)}
    if len(steps) == 1 and steps != {0}:
        return Fraction(steps.pop())
    times = index.count(index[0])
    alike = all(i - index[0] == k // times for k, i in enumerate(index))
    return Fraction(1, times) if alike else Fraction(1)


def _pick_field(node: Node, index: int) -> Field:
    return axes_field(node, index) if len(node.below[0]) > 1 else whole(node, index)


def _pick_on_window(node: Node, place: Place, patch: Tensor) -> Tensor:
    value = resample(node, place, patch)
    for axis, index in node.settings["picks"]:
        if axis == 1:
            value = value.index_select(1, _index(node, index, value))
    return value


def _pick_back(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    return resample_back(node, _put_back(node, signal, [1]), saved)


def _picking(kind: str, overloads: tuple[Any, ...], read: Callable[..., dict[str, Any]]) -> Op:
    return by_axes(
        kind, overloads, _pick, _pick_axes, read=read, adjoint=_pick_adjoint, field=_pick_field,
        on_window_at=_pick_on_window, adjoint_on_window=_pick_back, pointwise=True,
    )  # fmt: skip


# --- side by side along an axis of their own ------------------------------------------------------


def _stack(node: Node, *values: Tensor) -> Tensor:
    return torch.stack(values, node.settings["axis"])


def _stack_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    axis = node.settings["axis"]
    return signal.unbind(axis % (len(node.shape) + 1))


def _stack_field(node: Node, index: int) -> Field:
    rank = len(node.shape) + 1
    keeps_grid = rank > 3 and node.settings["axis"] % rank < rank - 2
    return Field() if keeps_grid else whole(node, index)


# --- channels in another order --------------------------------------------------------------------


def _channel_shuffle(node: Node, value: Tensor) -> Tensor:
    return F.channel_shuffle(value, node.settings["groups"])


def _shuffle_channels_back(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (F.channel_shuffle(signal, node.shape[0] // node.settings["groups"]),)


PICKING: tuple[Op, ...] = (
    _picking("flip", (aten.flip.default,), _read_flip),
    _picking("roll", (aten.roll.default,), _read_roll),
    _picking("index", (aten.index.Tensor,), _read_index),
    _picking("index", (aten.index_select.default,), _read_index_select),
    _picking("repeat", (aten.repeat.default, aten.tile.default), _read_repeat),
    _picking("repeat_interleave", (aten.repeat_interleave.self_int,), _read_repeat_interleave),
    Op("stack", (aten.stack.default,), _stack, _stack_adjoint, _stack_field,
       lambda bound: {"axis": bound["dim"]}),
    Op("channel_shuffle", (aten.channel_shuffle.default,), _channel_shuffle,
       _shuffle_channels_back, read=lambda bound: {"groups": bound["groups"]}, pointwise=True),
)  # fmt: skip
