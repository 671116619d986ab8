"""Op table: linear operations that windows do not follow: run over whole maps, and as right.

Signals along one axis, such as pooled channels in a row, and maps turned or cut into columns.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import aten, differentiate, linear_adjoint


def _adjoint_there(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The derivative where the network is: linear, once it is known which maxima were taken."""
    return differentiate(node, signal, saved.input())


def _whole(kind: str, overload: Any, *settings: str, **more: Any) -> Op:
    """A row of an operation of one value, some settings, and the tensors that it is given."""

    def forward(node: Node, value: Tensor) -> Tensor:
        given = {name: node.settings[name] for name in settings}
        result: Tensor = overload(value, **node.tensors, **given)
        return result

    def read(bound: dict[str, Any]) -> dict[str, Any]:
        if 0 in bound.get("dims", ()):
            raise NotImplementedError("mixes the images of a batch")
        return {name: bound[name] for name in settings}

    return Op(kind, (overload,), forward, read=read, **{"adjoint": linear_adjoint, **more})


_FILTER = ("stride", "padding", "dilation", "groups")
_REGION = ("kernel_size", "dilation", "padding", "stride")

WHOLE_MAPS: tuple[Op, ...] = (
    _whole("conv1d", aten.conv1d.default, *_FILTER, cost=lambda node: _taps(node), new_memory=True),
    _whole("conv1d", aten.conv1d.padding, *_FILTER, cost=lambda node: _taps(node), new_memory=True),
    _whole("conv1d_transposed", aten.conv_transpose1d.default, "stride", "padding",
           "output_padding", "groups", "dilation", cost=lambda node: _taps(node)),
    _whole("max_pool1d", aten.max_pool1d.default, "kernel_size", "stride", "padding", "dilation",
           "ceil_mode", adjoint=_adjoint_there, adjoint_looks=lambda node: True, pools=True),
    _whole("avg_pool1d", aten.avg_pool1d.default, "kernel_size", "stride", "padding", "ceil_mode",
           "count_include_pad", pools=True),
    _whole("adaptive_avg_pool1d", aten.adaptive_avg_pool1d.default, "output_size", pools=True),
    _whole("upsample1d", aten.upsample_nearest1d.vec, "output_size", "scale_factors"),
    _whole("upsample1d", aten.upsample_linear1d.vec, "output_size", "align_corners",
           "scale_factors"),
    _whole("rot90", aten.rot90.default, "k", "dims"),
    _whole("unfold", aten.im2col.default, *_REGION),
    _whole("unfold", aten.unfold.default, "dimension", "size", "step"),
    _whole("fold", aten.col2im.default, "output_size", *_REGION),
)  # fmt: skip


def _taps(node: Node) -> int:
    """Multiply-adds of all positions in a row: a vector has one position on the grid."""
    return node.tensors["weight"].numel() * node.shape[-1]
