"""Op table: maps of another size: interpolation, adaptive pooling, and means with unequal divisors.

What these do along an axis is read off PyTorch itself (`along_each`), so that windows follow the
last of its rules for rounding positions.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.geometry.table import Reach
from convscope.geometry.window import Field
from convscope.network.axis_map import AxisMap
from convscope.network.node import Node, Op
from convscope.network.ops.by_axes import along_each, by_axes
from convscope.network.ops.pooling import unpool
from convscope.network.ops.shared import aten, same
from convscope.network.place import Place


def _ratio(node: Node, axis: int) -> Fraction:
    return Fraction(node.below[0][axis - 2], node.shape[axis - 2])


# --- interpolation --------------------------------------------------------------------------------


def _read_upsample(bound: dict[str, Any]) -> dict[str, Any]:
    """scales : per axis, or None where the size was given: 5 x 1.5 rounds to 7, but steps by 1/1.5.

    align_corners : of bilinear and bicubic interpolation only
    """
    scales = bound.get("scale_factors") or (bound.get("scales_h"), bound.get("scales_w"))
    return {
        "scales": tuple(scales) if all(scales) else None,
        "align_corners": bound.get("align_corners"),
    }


def _step(node: Node, axis: int) -> Fraction:
    """Rows or columns below per one above."""
    if node.settings["align_corners"]:
        return Fraction(node.below[0][axis - 2] - 1, max(node.shape[axis - 2] - 1, 1)) or _ratio(
            node, axis
        )
    if node.settings["scales"] is not None:
        return 1 / Fraction(node.settings["scales"][axis]).limit_denominator(1000)
    return _ratio(node, axis)


def _interpolation(kind: str, mode: str, *overloads: Any, antialias: bool = False) -> Op:
    def resize(node: Node, value: Tensor, size: tuple[int, ...], scales: Any) -> Tensor:
        return F.interpolate(
            value,
            size=None if scales else size,
            scale_factor=scales,
            mode=mode,
            align_corners=node.settings["align_corners"],
            antialias=antialias,
        )

    def forward(node: Node, value: Tensor) -> Tensor:
        return resize(node, value, node.shape[-2:], node.settings["scales"])

    def along(node: Node, maps: Tensor, axis: int) -> Tensor:
        scales = node.settings["scales"]
        size = (node.shape[axis - 2], maps.shape[-1])
        return resize(node, maps, size, scales and (scales[axis], 1.0))

    return by_axes(kind, overloads, forward, along_each(along, _step), read=_read_upsample)


# --- pooling over unequal regions -----------------------------------------------------------------


def _adaptive_avg_pool(node: Node, value: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(value, (node.shape[-2], node.shape[-1]))


def _adaptive_along(node: Node, maps: Tensor, axis: int) -> Tensor:
    return F.adaptive_avg_pool2d(maps, (node.shape[axis - 2], maps.shape[-1]))


def _adaptive_max_pool(node: Node, value: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(value, (node.shape[-2], node.shape[-1]))


_adaptive_axes = along_each(_adaptive_along, _ratio)


def _adaptive_reach(node: Node, index: int) -> tuple[Reach, Reach]:
    rows, columns = (_all_of(node, axis) for axis in (0, 1))
    return rows.table, columns.table


def _adaptive_field(node: Node, index: int) -> Field:
    return Field(*(_all_of(node, a).table.window(_ratio(node, a)) for a in (0, 1)))


def _all_of(node: Node, axis: int) -> AxisMap:
    found = node.axis_maps[0][axis]
    return found or AxisMap(torch.eye(node.below[0][axis - 2]).double())


def _adaptive_max_on_window(node: Node, place: Place, patch: Tensor) -> Tensor:
    """The largest of each region along rows, then along columns."""
    value = patch
    for axis in (0, 1):
        found = _all_of(node, axis)
        reads = found.between(
            place.above[axis], place.size[axis], place.below[0][axis], place.sizes[0][axis], patch
        )
        value = value.movedim(2 + axis, -1)  # (P, C, other, h)
        lowest = value.new_zeros(()).fill_(-torch.inf)
        regions = torch.where((reads > 0)[:, None, None], value[..., None, :], lowest)
        value = regions.amax(-1).movedim(-1, 2 + axis)
    return value


RESAMPLING: tuple[Op, ...] = (
    by_axes("adaptive_avg_pool", (aten.adaptive_avg_pool2d.default,), _adaptive_avg_pool,
            _adaptive_axes, on_window=same,
            windowable=lambda node: node.below[0] == node.shape, pools=True),
    Op("adaptive_max_pool", (aten.adaptive_max_pool2d.default,), _adaptive_max_pool, unpool,
       _adaptive_field, axes=_adaptive_axes, reach=_adaptive_reach,
       on_window_at=_adaptive_max_on_window, adjoint_looks=lambda node: True, pools=True,
       switches=True, keeps_maxima=lambda node: True),
    _interpolation("upsample", "nearest", aten.upsample_nearest2d.vec,
                   aten.upsample_nearest2d.default),
    _interpolation("upsample_nearest_exact", "nearest-exact",
                   aten._upsample_nearest_exact2d.vec, aten._upsample_nearest_exact2d.default),
    _interpolation("upsample_bilinear", "bilinear", aten.upsample_bilinear2d.vec,
                   aten.upsample_bilinear2d.default),
    _interpolation("upsample_bicubic", "bicubic", aten.upsample_bicubic2d.vec,
                   aten.upsample_bicubic2d.default),
    _interpolation("upsample_bilinear_antialiased", "bilinear",
                   aten._upsample_bilinear2d_aa.vec, aten._upsample_bilinear2d_aa.default,
                   antialias=True),
    _interpolation("upsample_bicubic_antialiased", "bicubic", aten._upsample_bicubic2d_aa.vec,
                   aten._upsample_bicubic2d_aa.default, antialias=True),
)  # fmt: skip
