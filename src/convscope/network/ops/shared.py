"""Pieces that several entries of the op table share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from convscope.geometry.window import IDENTITY, Field, Window
from convscope.network.node import Node, Saved, SavedWindows, patch_size

aten = torch.ops.aten


def pair(value: Any) -> tuple[int, int]:
    """A setting given once for both axes, or once per axis."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def sliding(node: Node, index: int) -> Field:
    if index > 0:
        return Field()
    s = node.settings
    return Field(
        *(
            Window.sliding(s["kernel"][a], s["stride"][a], s["padding"][a], s["dilation"][a])
            for a in (0, 1)
        )
    )


def whole(node: Node, index: int) -> Field:
    return Field.whole(node.below[index])


def broadcast(node: Node, index: int) -> Field:
    """Element by element, with axes of length 1 (a gate, an attention map) spread out."""
    below, above = node.below[index], node.shape
    if len(below) < 2 or len(above) < 2:
        return Field() if below == above else whole(node, index)
    return Field(
        *(
            IDENTITY if below[axis] == above[axis] else Window.whole(below[axis])
            for axis in (-2, -1)
        )
    )


def grid_axis(node: Node, axis: int, index: int = 0) -> int | None:
    """Which axis of the grid an axis of an input is, the batch counted: 0 rows, 1 columns, or
    None: channels, or whatever else comes before the rows."""
    rank = len(node.below[index]) + 1
    place = axis % rank - (rank - 2)
    return place if place >= 0 and rank > 2 else None


def across(node: Node, index: int, axes: Iterable[int]) -> Field:
    """All of some axes of an input, the batch counted; along the others, the same position."""
    mixed = {grid_axis(node, axis, index) for axis in axes} - {None}
    if mixed and len(node.shape) < len(node.below[index]):  # no grid is left
        return whole(node, index)
    reach = whole(node, index)
    return Field(*(reach.axes[a] if a in mixed else IDENTITY for a in (0, 1)))


def across_axis(node: Node, index: int) -> Field:
    """All of the axis that the node's settings name."""
    return across(node, index, (node.settings["axis"],))


def differentiate(
    node: Node, signal: Tensor, at: Tensor, run: Callable[..., Tensor] | None = None
) -> tuple[Tensor]:
    """The derivative of a single-input operation at the point `at`, applied to the signal.

    run : what to differentiate, by default the node's `forward`
    """
    with torch.inference_mode(False), torch.enable_grad():
        signal, at = (t.clone() if t.is_inference() else t for t in (signal, at))
        at = at.detach().requires_grad_()
        (below,) = torch.autograd.grad((run or node.forward)(at), at, signal)
    return (below,)


def linear_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The adjoint of an operation that is linear in its single input, whatever the point."""
    return differentiate(node, signal, signal.new_zeros((signal.shape[0], *node.below[0])))


def linear_adjoint_on_window(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    """The same in windows, by the operation's `on_window`."""
    size = patch_size(node, signal.shape)
    at = signal.new_zeros((signal.shape[0], node.below[0][0], *size))
    return differentiate(node, signal, at, node.forward_on_window)


def same(node: Node, value: Tensor) -> Tensor:
    return value


def same_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (signal,)
