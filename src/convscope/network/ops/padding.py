"""Op table: padding, by a number or by the map itself; padding by less than nothing crops."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from convscope.geometry.window import Field, Window
from convscope.network.axis_map import AxisMap
from convscope.network.node import Node, Op, Saved, SavedWindows
from convscope.network.ops.by_axes import along_each, axes_field, by_axes, resample, resample_back
from convscope.network.ops.shared import aten, linear_adjoint
from convscope.network.place import Place


def _read_pad(bound: dict[str, Any]) -> dict[str, Any]:
    """pads : (left, right, top, bottom), and (first, last) of the channels if they are padded

    mode : left out where the border is filled with a number
    """
    pads = [*bound["pad"], 0, 0, 0, 0][: max(4, len(bound["pad"]))]
    rank = bound["self"].meta["val"].dim()
    if any(pads[2 * rank - 2 :]):
        raise NotImplementedError("pads the batch")
    while len(pads) > 4 and not any(pads[-2:]):
        pads = pads[:-2]
    mode = bound.get("mode", "constant")
    settings = {"pads": tuple(pads), "fill": bound.get("value") or 0.0}
    return settings if mode == "constant" else {**settings, "mode": mode}


def _mode(node: Node) -> str:
    return str(node.settings.get("mode", "constant"))


def _pad(node: Node, value: Tensor) -> Tensor:
    pads = node.settings["pads"]
    if _mode(node) != "constant":
        return F.pad(value, pads[: 2 * (value.dim() - 2)], _mode(node))
    return F.pad(value, pads, value=node.settings["fill"])


def _pad_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    if _mode(node) != "constant":
        return linear_adjoint(node, signal, saved)
    return (F.pad(signal, [-p for p in node.settings["pads"]]),)


def _pad_along(node: Node, maps: Tensor, axis: int) -> Tensor:
    left, right, top, bottom = node.settings["pads"][:4]
    pads = (0, 0, top, bottom) if axis == 0 else (0, 0, left, right)
    return F.pad(maps, pads) if _mode(node) == "constant" else F.pad(maps, pads, _mode(node))


def _pad_axes(node: Node, index: int) -> tuple[AxisMap | None, AxisMap | None]:
    return along_each(_pad_along, lambda node, axis: Fraction(1))(node, index)


def _pad_field(node: Node, index: int) -> Field:
    if _mode(node) != "constant":
        return axes_field(node, index)
    left, _, top, _ = node.settings["pads"][:4]
    return Field(Window.sliding(1, padding=top), Window.sliding(1, padding=left))


def _channels(node: Node) -> tuple[int, ...]:
    """As F.pad takes them: what is put before the first channel and after the last."""
    return (0, 0, 0, 0, *node.settings["pads"][4:6])


def _pad_channels(node: Node, patch: Tensor) -> Tensor:
    """On a patch that holds its border of zeros already."""
    return F.pad(patch, _channels(node), value=node.settings["fill"])


def _pad_on_window(node: Node, place: Place, patch: Tensor) -> Tensor:
    """Where the border is filled with a number, that is put where no input is."""
    value, fill = resample(node, place, patch), node.settings["fill"]
    if fill:
        covered = resample(node, place, patch.new_ones(len(patch), 1, *patch.shape[2:]))
        value = value.masked_fill(covered == 0, fill)
    return _pad_channels(node, value)


def _pad_back(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    signal = F.pad(signal, [-p for p in _channels(node)]) if any(_channels(node)) else signal
    return resample_back(node, signal, saved) if node.placed else (signal,)


PADDING: tuple[Op, ...] = (
    by_axes("pad", (aten.pad.default, aten.constant_pad_nd.default), _pad, _pad_axes,
            adjoint=_pad_adjoint, field=_pad_field, read=_read_pad, on_window=_pad_channels,
            on_window_at=_pad_on_window, adjoint_on_window=_pad_back, stays_inside=False,
            windowable=lambda node: _mode(node) == "constant" and node.settings["fill"] == 0),
)  # fmt: skip
