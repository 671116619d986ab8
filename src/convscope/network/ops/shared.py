"""Pieces that several entries of the op table share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convscope.geometry.window import IDENTITY, Field, Window
from convscope.network.node import Node, Saved

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
    below = node.below[index]
    if len(below) < 3:
        return Field(Window.whole(1), Window.whole(1))
    return Field(Window.whole(below[-2]), Window.whole(below[-1]))


def broadcast(node: Node, index: int) -> Field:
    """Element by element, with axes of length 1 (a gate, an attention map) spread out."""
    below, above = node.below[index], node.shape
    if len(below) < 3 or len(above) < 3:
        return Field() if below == above else whole(node, index)
    return Field(
        *(
            IDENTITY if below[axis] == above[axis] else Window.whole(below[axis])
            for axis in (-2, -1)
        )
    )


def channel_field(node: Node, index: int) -> Field:
    """Along channels, rows and columns are left alone; along another axis it is not followed."""
    axis = node.settings["axis"] % (len(node.below[index]) + 1)
    return Field() if axis == 1 else whole(node, index)


def differentiate(
    node: Node, signal: Tensor, at: Tensor, *, on_window: bool = False
) -> tuple[Tensor]:
    """The derivative of a single-input operation at the point `at`, applied to the signal."""
    with torch.inference_mode(False), torch.enable_grad():
        signal, at = (t.clone() if t.is_inference() else t for t in (signal, at))
        at = at.detach().requires_grad_()
        run = node.op.on_window if on_window else None
        value = node.forward(at) if run is None else run(node, at)
        (below,) = torch.autograd.grad(value, at, signal)
    return (below,)


def linear_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The adjoint of an operation that is linear in its single input, whatever the point."""
    return differentiate(node, signal, signal.new_zeros((signal.shape[0], *node.below[0])))
