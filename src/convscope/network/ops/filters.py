"""Op table: convolution and dense layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.network.node import Node, Op, Saved, SavedWindows
from convscope.network.ops.fused import fused_convolution, fused_dense
from convscope.network.ops.shared import (
    aten,
    below_like,
    first_shape,
    laid_out,
    linear_adjoint,
    pair,
    sliding,
    whole,
)


def _read_conv(bound: dict[str, Any]) -> dict[str, Any]:
    kernel = tuple(bound["weight"].shape[-2:])
    dilation, padding = pair(bound["dilation"]), bound["padding"]
    trailing: tuple[int, int]
    if isinstance(padding, str):
        total = [
            d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)
        ]
        leading = (total[0] // 2, total[1] // 2)
        trailing = (total[0] - leading[0], total[1] - leading[1])
    else:
        leading = trailing = pair(padding)
    return {
        "kernel": kernel,
        "stride": pair(bound["stride"]),
        "padding": leading,
        "trailing": trailing,
        "dilation": dilation,
        "groups": bound["groups"],
    }


def _conv(node: Node, value: Tensor) -> Tensor:
    s = node.settings
    padding = s["padding"]
    if padding != s["trailing"]:
        (top, left), (bottom, right) = padding, s["trailing"]
        value, padding = F.pad(value, (left, right, top, bottom)), (0, 0)
    innermost = value.is_contiguous(memory_format=torch.channels_last)
    weight = node.tensors["weight"]
    if innermost and not value.is_contiguous():
        weight = laid_out(node)
    return F.conv2d(
        value,
        weight,
        node.tensors.get("bias"),
        s["stride"],
        padding,
        s["dilation"],
        s["groups"],
    )


def _conv_on_window(node: Node, patch: Tensor) -> Tensor:
    s, t = node.settings, node.tensors
    return F.conv2d(patch, t["weight"], t.get("bias"), s["stride"], 0, s["dilation"], s["groups"])


def _conv_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Transposed filters: each value paints its filter, flipped, into the layer below."""
    s = node.settings
    if s["padding"] != s["trailing"]:
        return linear_adjoint(node, signal, saved)
    back = aten.convolution_backward(
        signal, below_like(node, signal), laid_out(node), None, s["stride"], s["padding"],
        s["dilation"], False, (0, 0), s["groups"], (True, False, False),
    )  # fmt: skip
    return (back[0],)


def _conv_adjoint_on_window(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    """The first step down of a unit is a look-up of its filter, not a convolution."""
    if saved.channels is not None and _is_plain(node):
        filters = node.tensors["weight"].detach()[saved.channels]
        filters = filters.contiguous(memory_format=torch.channels_last)
        each = torch.arange(len(signal), device=signal.device)
        return (filters * signal[each, saved.channels, 0, 0][:, None, None, None],)
    return (node.derived("transposed", transposed_convolution)(signal),)


def _is_plain(node: Node) -> bool:
    """Whether the weight holds each unit's filter as it is painted."""
    return node.settings["groups"] == 1 and node.settings["dilation"] == (1, 1)


def transposed_convolution(node: Node) -> Callable[[Tensor], Tensor]:
    """The fastest way to paint flipped filters, for this convolution: onto the whole patch."""
    s, weight = node.settings, node.tensors["weight"].detach()
    stride, kernel = s["stride"], s["kernel"]
    if _is_plain(node) and stride == (1, 1):
        flipped = weight.transpose(0, 1).flip(2, 3)
        flipped = flipped.contiguous(memory_format=torch.channels_last)
        padding = (kernel[0] - 1, kernel[1] - 1)
        return lambda signal: F.conv2d(signal, flipped, padding=padding)
    if _is_plain(node) and stride[0] == stride[1] and weight.shape[1] <= 4:
        return _by_phases(weight, stride[0])
    weight = weight.contiguous(memory_format=torch.channels_last)
    return lambda signal: F.conv_transpose2d(
        signal, weight, None, stride, 0, 0, s["groups"], s["dilation"]
    )


def _by_phases(weight: Tensor, stride: int) -> Callable[[Tensor], Tensor]:
    """A strided transpose onto few channels, as one convolution per phase of the stride.

    out[s*m + a] = sum_j signal[m - j] w[s*j + a]: the s*s phases are channels of one ordinary
    convolution, and `pixel_shuffle` interleaves them. 2.5 times as fast as the plain transpose for
    7x7 stride 2 onto three channels.
    """
    o, c, kh, kw = weight.shape
    taps = (-(-kh // stride), -(-kw // stride))
    padded = F.pad(weight, (0, taps[1] * stride - kw, 0, taps[0] * stride - kh))
    phases = padded.view(o, c, taps[0], stride, taps[1], stride).permute(1, 3, 5, 0, 2, 4)
    phases = phases.reshape(c * stride * stride, o, *taps).flip(2, 3)
    phases = phases.contiguous(memory_format=torch.channels_last)

    def transpose(signal: Tensor) -> Tensor:
        h, w = signal.shape[-2:]
        full = F.pixel_shuffle(F.conv2d(signal, phases, padding=(taps[0] - 1, taps[1] - 1)), stride)
        return full[..., : (h - 1) * stride + kh, : (w - 1) * stride + kw]

    return transpose


def _linear_layer(node: Node, value: Tensor) -> Tensor:
    return F.linear(value, node.tensors["weight"], node.tensors.get("bias"))


def _linear_layer_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (signal @ node.tensors["weight"],)


def _multiply_adds(node: Node) -> int:
    return node.tensors["weight"].numel()


def _as_convolution(node: Node) -> Node | None:
    """A dense layer of the channels of each position is a convolution by 1x1 filters."""
    if len(node.shape) != 3 or "weight" not in node.tensors:
        return None
    one, none = (1, 1), (0, 0)
    return replace(
        node,
        op=next(op for op in FILTERS if op.convolves),
        shape=first_shape(node.shape),
        below=(first_shape(node.below[0]),),
        settings={"kernel": one, "stride": one, "padding": none, "trailing": none,
                  "dilation": one, "groups": 1},
        tensors={**node.tensors, "weight": node.tensors["weight"][:, :, None, None]},
    )  # fmt: skip


FILTERS: tuple[Op, ...] = (
    Op("conv", (aten.conv2d.default, aten.conv2d.padding), _conv, _conv_adjoint, sliding,
       _read_conv, on_window=_conv_on_window, adjoint_on_window=_conv_adjoint_on_window,
       cost=_multiply_adds, fused=fused_convolution, new_memory=True, convolves=True),
    Op("linear", (aten.linear.default,), _linear_layer, _linear_layer_adjoint, whole,
       cost=_multiply_adds, fused=fused_dense, dense=True, channels_first=_as_convolution),
)  # fmt: skip
