"""Op table: pooling, averaging, resampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.geometry.window import IDENTITY, Field, Status, Window
from convscope.network.node import Node, Op, Saved, SavedWindows, patch_size
from convscope.network.ops.shared import (
    across,
    aten,
    linear_adjoint,
    linear_adjoint_on_window,
    pair,
    same,
    same_adjoint,
    sliding,
)


def _read_pool(bound: dict[str, Any]) -> dict[str, Any]:
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
    rows, columns = node.below[0][-2:]
    below = signal.new_zeros((*signal.shape[:-2], rows * columns))
    below.scatter_add_(-1, saved.switches().flatten(-2), signal.flatten(-2))
    return (below.unflatten(-1, (rows, columns)),)


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


def _constant_divisor(node: Node) -> bool:
    """Whether every output is divided by the same number, at the border too."""
    s = node.settings
    inside = all(
        (above - 1) * s["stride"][a] + s["kernel"][a] <= below + 2 * s["padding"][a]
        for a, (below, above) in enumerate(zip(node.below[0][-2:], node.shape[-2:], strict=True))
    )
    no_pad = s["padding"] == (0, 0) or s["count_include_pad"]
    return (inside and no_pad) or s["divisor_override"] is not None


def _adaptive_field(node: Node, index: int) -> Field:
    return Field(
        *(
            _adaptive_window(below, above)
            for below, above in zip(node.below[0][-2:], node.shape[-2:], strict=True)
        )
    )


def _adaptive_window(below: int, above: int) -> Window:
    if above == 1:
        return Window.whole(below) if below > 1 else IDENTITY
    first = [i * below // above for i in range(above)]
    last = [-((-(i + 1) * below) // above) for i in range(above)]
    sizes = {b - a for a, b in zip(first, last, strict=True)}
    status = Status.EXACT if len(sizes) == 1 else Status.UPPER_BOUND
    return Window(max(sizes), Fraction(below, above), Fraction(0), status)


def _adaptive_avg_pool(node: Node, value: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(value, (node.shape[-2], node.shape[-1]))


def _read_mean(bound: dict[str, Any]) -> dict[str, Any]:
    return {"axes": tuple(sorted(bound["dim"])), "keepdim": bound["keepdim"]}


def _mean(node: Node, value: Tensor) -> Tensor:
    return value.mean(node.settings["axes"], keepdim=node.settings["keepdim"])


def _mean_field(node: Node, index: int) -> Field:
    return across(node, index, node.settings["axes"])


def _read_upsample(bound: dict[str, Any]) -> dict[str, Any]:
    """scales : per axis, or None where the size was given: 5 x 1.5 rounds to 7, but steps by 1/1.5.

    align_corners : of bilinear up-sampling only
    """
    scales = bound.get("scale_factors") or (bound.get("scales_h"), bound.get("scales_w"))
    return {
        "scales": tuple(scales) if all(scales) else None,
        "align_corners": bound.get("align_corners"),
    }


def _steps(node: Node) -> tuple[Fraction, Fraction]:
    """Rows and columns below per row and column above."""
    if node.settings["scales"] is not None:
        rows, columns = (1 / Fraction(s).limit_denominator(1000) for s in node.settings["scales"])
    else:
        rows, columns = (Fraction(node.below[0][a], node.shape[a]) for a in (-2, -1))
    return rows, columns


def _nearest_field(node: Node, index: int) -> Field:
    return Field(*map(_nearest_window, _steps(node)))


def _nearest_window(step: Fraction) -> Window:
    """PyTorch works out floor(i * step) in float32: exactly so for factors up to 40."""
    if step.numerator == 1 and step.denominator <= 40:
        return Window(1, step)
    return Window(3, step, Fraction(-1), Status.UPPER_BOUND)


def _upsample(mode: str) -> Callable[[Node, Tensor], Tensor]:
    def forward(node: Node, value: Tensor) -> Tensor:
        scales, size = node.settings["scales"], node.shape[-2:]
        return F.interpolate(
            value,
            size=None if scales else size,
            scale_factor=scales,
            mode=mode,
            align_corners=node.settings["align_corners"],
        )

    return forward


def _bilinear_field(node: Node, index: int) -> Field:
    """Two neighbours per axis; at the border one of them is clamped, hence the room to spare."""
    windows = []
    for a, stride in zip((-2, -1), _steps(node), strict=True):
        if node.settings["align_corners"]:
            stride = Fraction(node.below[0][a] - 1, max(node.shape[a] - 1, 1))
            windows.append(Window(3, stride, -Fraction(1, 2), Status.UPPER_BOUND))
        else:
            start = stride / 2 - Fraction(1, 2)
            windows.append(Window(4, stride, start - 1, Status.UPPER_BOUND))
    return Field(*windows)


POOLING: tuple[Op, ...] = (
    Op("max_pool", (aten.max_pool2d.default,), _max_pool, unpool, sliding, _read_pool,
       on_window=_max_pool_on_window, border=-math.inf, adjoint_on_window=_unpool_on_window,
       stays_inside=True, adjoint_looks=lambda node: True, pools=True, switches=True,
       keeps_maxima=_covers),
    Op("avg_pool", (aten.avg_pool2d.default,), _avg_pool, linear_adjoint, sliding, _read_pool,
       on_window=_avg_pool_on_window, adjoint_on_window=linear_adjoint_on_window,
       windowable=_constant_divisor, pools=True),
    Op("adaptive_avg_pool", (aten.adaptive_avg_pool2d.default,), _adaptive_avg_pool,
       linear_adjoint, _adaptive_field, on_window=same, adjoint_on_window=same_adjoint,
       stays_inside=True, windowable=lambda node: node.below[0] == node.shape, pools=True),
    Op("mean", (aten.mean.dim,), _mean, linear_adjoint, _mean_field, _read_mean,
       on_window=_mean, adjoint_on_window=linear_adjoint_on_window, stays_inside=True,
       windowable=lambda node: _mean_field(node, 0) == Field(), pools=True),
    Op("upsample", (aten.upsample_nearest2d.vec, aten.upsample_nearest2d.default),
       _upsample("nearest"), linear_adjoint, _nearest_field, _read_upsample),
    Op("upsample_bilinear", (aten.upsample_bilinear2d.vec, aten.upsample_bilinear2d.default),
       _upsample("bilinear"), linear_adjoint, _bilinear_field, _read_upsample),
)  # fmt: skip
