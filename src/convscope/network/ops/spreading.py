"""Op table: operations that spread values over a finer grid.

Transposed convolution, pixel shuffles, and unpooling by the switches of a max pool. On windows they
are run on the whole of the patches that a window needs, and the window is cut out of that: where it
begins in it differs from window to window.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.geometry.table import Reach, Table
from convscope.geometry.window import Field, Window
from convscope.network.node import Node, Op, Saved, SavedWindows
from convscope.network.ops.pooling import max_pool_switches, read_pool
from convscope.network.ops.shared import aten, pair
from convscope.network.place import Corner, Place, rewindow

# --- transposed convolution -----------------------------------------------------------------------


def _read_transposed(bound: dict[str, Any]) -> dict[str, Any]:
    return {
        "kernel": tuple(bound["weight"].shape[-2:]),
        **{name: pair(bound[name]) for name in ("stride", "padding", "output_padding", "dilation")},
        "groups": bound["groups"],
    }


def _transposed(node: Node, value: Tensor) -> Tensor:
    s = node.settings
    return F.conv_transpose2d(
        value, node.tensors["weight"], node.tensors.get("bias"), s["stride"], s["padding"],
        s["output_padding"], s["groups"], s["dilation"],
    )  # fmt: skip


def _transposed_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The filters laid over the signal: a convolution."""
    s = node.settings
    found = F.conv2d(
        signal, node.tensors["weight"], None, s["stride"], s["padding"], s["dilation"], s["groups"]
    )
    rows, columns = node.below[0][-2:]
    return (found[..., :rows, :columns],)


def _transposed_table(node: Node, axis: int) -> Table:
    """Output o reads the inputs i with o = i * stride - padding + k * dilation, 0 <= k < kernel."""
    s, below = node.settings, node.below[0][axis - 2]
    stride, padding, dilation = (s[name][axis] for name in ("stride", "padding", "dilation"))
    places = torch.arange(node.shape[axis - 2])[:, None] + padding
    places = places - dilation * torch.arange(s["kernel"][axis])
    inputs = places // stride
    reads = (places % stride == 0) & (inputs >= 0) & (inputs < below)
    first = torch.where(reads, inputs, below).amin(1)
    last = torch.where(reads, inputs + 1, 0).amax(1)
    return Table(first.numpy(), last.numpy(), below)


def _transposed_reach(node: Node, index: int) -> tuple[Reach, Reach]:
    return _transposed_table(node, 0), _transposed_table(node, 1)


def _transposed_field(node: Node, index: int) -> Field:
    strides = (Fraction(1, n) for n in node.settings["stride"])
    tables = (_transposed_table(node, axis) for axis in (0, 1))
    return Field(*(table.window(step) for table, step in zip(tables, strides, strict=True)))


def _painted(node: Node, place: Place) -> tuple[Corner, tuple[int, int]]:
    """Where what the patches paint begins in the map above, and its size."""
    s = node.settings
    corner = [place.below[0][a] * s["stride"][a] - s["padding"][a] for a in (0, 1)]
    height, width = (
        (place.sizes[0][a] - 1) * s["stride"][a] + s["dilation"][a] * (s["kernel"][a] - 1) + 1
        for a in (0, 1)
    )
    return (corner[0], corner[1]), (height, width)


def _transposed_on_window(node: Node, place: Place, patch: Tensor) -> Tensor:
    s, bias = node.settings, node.tensors.get("bias")
    painted = F.conv_transpose2d(
        patch, node.tensors["weight"], None, s["stride"], 0, 0, s["groups"], s["dilation"]
    )
    value = rewindow(painted, _painted(node, place)[0], place.above, place.size)
    return value if bias is None else value + bias.view(-1, 1, 1)


def _transposed_back(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    s, place = node.settings, saved.place
    signal = rewindow(signal, place.above, *_painted(node, place))
    return (
        F.conv2d(signal, node.tensors["weight"], None, s["stride"], 0, s["dilation"], s["groups"]),
    )


def _transposed_cost(node: Node) -> int:
    """Multiply-adds for one position above: each of those below paints a whole filter."""
    below, above = (torch.Size(shape[-2:]).numel() for shape in (node.below[0], node.shape))
    return node.tensors["weight"].numel() * below // above


# --- pixel shuffles -------------------------------------------------------------------------------


def _read_factor(name: str) -> Any:
    return lambda bound: {"factor": bound[name]}


def _shuffle(node: Node, value: Tensor) -> Tensor:
    return F.pixel_shuffle(value, node.settings["factor"])


def _unshuffle(node: Node, value: Tensor) -> Tensor:
    return F.pixel_unshuffle(value, node.settings["factor"])


def _shuffle_back(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (_unshuffle(node, signal),)


def _unshuffle_back(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (_shuffle(node, signal),)


def _squares(node: Node, index: int) -> Field:
    factor = node.settings["factor"]
    return Field(Window.sliding(factor, factor), Window.sliding(factor, factor))


def _finer(node: Node, index: int) -> Field:
    rows, columns = _finer_reach(node, index)
    step = 1 / Fraction(node.settings["factor"])
    return Field(rows.window(step), columns.window(step))


def _finer_reach(node: Node, index: int) -> tuple[Table, Table]:
    factor = node.settings["factor"]
    inputs = [torch.arange(n).numpy() // factor for n in node.shape[-2:]]
    rows, columns = (Table(i, i + 1, n) for i, n in zip(inputs, node.below[0][-2:], strict=True))
    return rows, columns


def _scaled(place: Place, factor: int) -> tuple[Corner, tuple[int, int]]:
    rows, columns = place.below[0]
    height, width = place.sizes[0]
    return (rows * factor, columns * factor), (height * factor, width * factor)


def _shuffle_on_window(node: Node, place: Place, patch: Tensor) -> Tensor:
    corner, _ = _scaled(place, node.settings["factor"])
    return rewindow(_shuffle(node, patch), corner, place.above, place.size)


def _shuffle_back_on_window(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    squares = _scaled(saved.place, node.settings["factor"])
    return (_unshuffle(node, rewindow(signal, saved.place.above, *squares)),)


# --- unpooling ------------------------------------------------------------------------------------


def _read_unpool(bound: dict[str, Any]) -> dict[str, Any]:
    settings = read_pool(bound)
    regions = zip(*(settings[name] for name in ("kernel", "stride", "dilation")), strict=True)
    if any((kernel - 1) * dilation >= stride for kernel, stride, dilation in regions):
        raise NotImplementedError("unpools regions that overlap, of which any value may be kept")
    return settings


def _unpool(node: Node, value: Tensor, pooled: Tensor) -> Tensor:
    """Each value where the maximum of its region was; nothing overlaps where regions do not."""
    switches = max_pool_switches(node, pooled)
    unpooled: Tensor = aten.max_unpool2d(value, switches, node.shape[-2:])
    return unpooled


def _unpool_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Values come back from where they were put; nothing goes to the map the switches are of."""
    switches = max_pool_switches(node, saved.input(1))
    back = signal.flatten(-2).gather(-1, switches.flatten(-2))
    return back.unflatten(-1, switches.shape[-2:]), torch.zeros_like(saved.input(1))


SPREADING: tuple[Op, ...] = (
    Op("conv_transposed", (aten.conv_transpose2d.input,), _transposed, _transposed_adjoint,
       _transposed_field, _read_transposed, reach=_transposed_reach,
       on_window_at=_transposed_on_window, adjoint_on_window=_transposed_back, stays_inside=True,
       cost=_transposed_cost, new_memory=True),
    Op("pixel_shuffle", (aten.pixel_shuffle.default,), _shuffle, _shuffle_back, _finer,
       _read_factor("upscale_factor"), reach=_finer_reach, on_window_at=_shuffle_on_window,
       adjoint_on_window=_shuffle_back_on_window, stays_inside=True),
    Op("pixel_unshuffle", (aten.pixel_unshuffle.default,), _unshuffle, _unshuffle_back, _squares,
       _read_factor("downscale_factor"), on_window=_unshuffle, adjoint_on_window=_unshuffle_back,
       stays_inside=True),
    Op("max_unpool", (aten.max_unpool2d.default,), _unpool, _unpool_adjoint,
       read=_read_unpool, adjoint_looks=lambda node: True),
)  # fmt: skip
