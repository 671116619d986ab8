"""Op table: pooling and averaging."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.geometry.window import Field
from convscope.network.node import Node, Op, Saved, SavedWindows, patch_size
from convscope.network.ops.by_axes import along_each, by_axes, resample_back
from convscope.network.ops.shared import (
    across,
    aten,
    axes_first,
    below_like,
    linear_adjoint,
    linear_adjoint_on_window,
    pair,
    sliding,
)


def read_pool(bound: dict[str, Any]) -> dict[str, Any]:
    kernel = pair(bound["kernel_size"])
    return {
        "kernel": kernel,
        "stride": pair(bound["stride"]) if bound["stride"] else kernel,
        "padding": pair(bound["padding"]),
        "dilation": pair(bound.get("dilation", 1)),
        "ceil_mode": bound["ceil_mode"],
        "count_include_pad": bound.get("count_include_pad", True),
        "divisor_override": bound.get("divisor_override"),
    }


def _max_pool(node: Node, value: Tensor) -> Tensor:
    s = node.settings
    return F.max_pool2d(
        value, s["kernel"], s["stride"], s["padding"], s["dilation"], s["ceil_mode"]
    )


def _max_pool_on_window(node: Node, patch: Tensor) -> Tensor:
    s = node.settings
    return F.max_pool2d(patch, s["kernel"], s["stride"], 0, s["dilation"])


def max_pool_switches(node: Node, value: Tensor, *, on_window: bool = False) -> Tensor:
    """Where each pooled maximum came from: flat index into rows x columns below, (N, C, H, W).

    on_window : the value is a patch that holds the border already
    """
    s = node.settings
    if "kernel" not in s:
        size = (node.shape[-2], node.shape[-1])
        return F.adaptive_max_pool2d(value, size, return_indices=True)[1]
    padding, ceil_mode = ((0, 0), False) if on_window else (s["padding"], s["ceil_mode"])
    return F.max_pool2d(
        value, s["kernel"], s["stride"], padding, s["dilation"], ceil_mode, return_indices=True
    )[1]


def switch_places(
    node: Node, switches: Tensor, columns: int, padding: tuple[int, int] = (0, 0)
) -> Tensor:
    """Flat switches, in maps of so many columns -> place in the pooling region, by rows, uint8."""
    s = node.settings
    (sh, sw), (dh, dw), (_, kw) = s["stride"], s["dilation"], s["kernel"]
    h, w = switches.shape[-2:]
    top = torch.arange(h, device=switches.device)[:, None] * sh - padding[0]
    left = torch.arange(w, device=switches.device)[None, :] * sw - padding[1]
    row = (switches // columns - top) // dh
    column = (switches % columns - left) // dw
    return (row * kw + column).to(torch.uint8)


def unpool(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Put each value at its switch. Overlapping pools may share a switch: their values add."""
    s, below = node.settings, below_like(node, signal)
    if "kernel" not in s:
        return (aten.adaptive_max_pool2d_backward(signal, below, saved.switches()),)
    return (
        aten.max_pool2d_with_indices_backward(
            signal, below, s["kernel"], s["stride"], s["padding"], s["dilation"], s["ceil_mode"],
            saved.switches(),
        ),
    )  # fmt: skip


def _unpool_on_window(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    """`unpool`, written over what an earlier group of units left where that is large enough."""
    s = node.settings
    (kh, kw), (sh, sw), (dh, dw) = s["kernel"], s["stride"], s["dilation"]
    units, channels, h, w = signal.shape
    height, width = patch_size(node, signal.shape)
    device = signal.device
    corner = torch.arange(h, device=device)[:, None] * (sh * width)
    corner = (corner + torch.arange(w, device=device) * sw)[..., None] * channels
    corner = corner + torch.arange(channels, device=device)  # (h, w, C): channels last throughout
    offset = torch.arange(kh, device=device)[:, None] * (dh * width)
    offset = ((offset + torch.arange(kw, device=device) * dw) * channels).flatten()
    places = saved.switches().permute(0, 2, 3, 1)
    index = offset.index_select(0, places.int().flatten()).view(places.shape).add_(corner)
    size = height * width * channels
    memory = saved.scratch.get(node.name)
    if memory is None or memory.shape[0] < units:
        below = signal.new_zeros(units, size)
    else:
        below = memory[:units].zero_()
    below.scatter_add_(1, index.flatten(1), signal.permute(0, 2, 3, 1).flatten(1))
    saved.scratch[node.name] = below
    return (below.view(units, height, width, channels).permute(0, 3, 1, 2),)


def _covers(node: Node) -> bool:
    """Whether every position below lies in some pooling region."""
    s = node.settings
    return all(
        dilation == 1 and kernel >= stride and (above - 1) * stride - padding + kernel >= below
        for kernel, stride, padding, dilation, above, below in zip(
            s["kernel"],
            s["stride"],
            s["padding"],
            s["dilation"],
            node.shape[-2:],
            node.below[0][-2:],
            strict=True,
        )
    )


def _avg_pool(node: Node, value: Tensor) -> Tensor:
    s = node.settings
    return F.avg_pool2d(
        value,
        s["kernel"],
        s["stride"],
        s["padding"],
        s["ceil_mode"],
        s["count_include_pad"],
        s["divisor_override"],
    )


def _avg_pool_on_window(node: Node, patch: Tensor) -> Tensor:
    s = node.settings
    return F.avg_pool2d(patch, s["kernel"], s["stride"], divisor_override=s["divisor_override"])


def _avg_pool_along(node: Node, maps: Tensor, axis: int) -> Tensor:
    s = node.settings
    kernel, stride, padding = s["kernel"][axis], s["stride"][axis], s["padding"][axis]
    ceil_mode, counted = s["ceil_mode"], s["count_include_pad"]
    return F.avg_pool2d(maps, (kernel, 1), (stride, 1), (padding, 0), ceil_mode, counted)


def _avg_pool_back(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    return (resample_back if node.placed else linear_adjoint_on_window)(node, signal, saved)


def _constant_divisor(node: Node) -> bool:
    """Whether every output is divided by the same number, at the border too."""
    s = node.settings
    inside = all(
        (above - 1) * s["stride"][a] + s["kernel"][a] <= below + 2 * s["padding"][a]
        for a, (below, above) in enumerate(zip(node.below[0][-2:], node.shape[-2:], strict=True))
    )
    no_pad = s["padding"] == (0, 0) or s["count_include_pad"]
    return (inside and no_pad) or s["divisor_override"] is not None


def _read_mean(bound: dict[str, Any]) -> dict[str, Any]:
    return {"axes": tuple(sorted(bound["dim"])), "keepdim": bound["keepdim"]}


def _mean(node: Node, value: Tensor) -> Tensor:
    return value.mean(node.settings["axes"], keepdim=node.settings["keepdim"])


def _mean_field(node: Node, index: int) -> Field:
    return across(node, index, node.settings["axes"])


POOLING: tuple[Op, ...] = (
    Op("max_pool", (aten.max_pool2d.default, aten.max_pool2d_with_indices.default), _max_pool,
       unpool, sliding, read_pool, on_window=_max_pool_on_window, border=-math.inf,
       adjoint_on_window=_unpool_on_window, stays_inside=True, adjoint_looks=lambda node: True,
       pools=True, switches=True, keeps_maxima=_covers),
    by_axes("avg_pool", (aten.avg_pool2d.default,), _avg_pool,
            along_each(_avg_pool_along, lambda node, axis: Fraction(node.settings["stride"][axis])),
            field=sliding, read=read_pool, on_window=_avg_pool_on_window,
            adjoint_on_window=_avg_pool_back, stays_inside=False,
            windowable=_constant_divisor, pools=True),
    Op("mean", (aten.mean.dim,), _mean, linear_adjoint, _mean_field, _read_mean,
       on_window=_mean, adjoint_on_window=linear_adjoint_on_window, stays_inside=True,
       windowable=lambda node: _mean_field(node, 0) == Field(), pools=True,
       channels_first=axes_first),
)  # fmt: skip
