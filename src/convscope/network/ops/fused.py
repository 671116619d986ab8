"""The fastest way to run a convolution or a dense layer, with what follows it folded in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.network.node import Node, Run
from convscope.network.ops.shared import laid_out

SMALL = 4096
"""Positions of a patch up to which it pays to keep packed filters."""


def fused_convolution(node: Node, after: Sequence[Node]) -> tuple[Run, Sequence[Node]]:
    """A batch norm folded into the filters, and a rectifier; the padding is in the patch."""
    weight, bias = node.tensors["weight"], node.tensors.get("bias")
    after = list(after)
    if after and (scale_shift := after[0].op.scale_shift) is not None:
        scale, shift = scale_shift(after.pop(0))
        weight = weight * scale.view(-1, 1, 1, 1)
        bias = shift if bias is None else bias * scale + shift
    rectify = bool(after) and after[0].kind == "relu"
    return _convolution(node, weight, bias, rectify), after[rectify:]


def fused_dense(node: Node, after: Sequence[Node]) -> tuple[Run, Sequence[Node]]:
    weight, bias = node.tensors["weight"].detach(), node.tensors.get("bias")
    return lambda value: dense(value, weight, bias), after


def _convolution(
    node: Node, weight: Tensor, bias: Tensor | None, rectify: bool
) -> Callable[[Tensor], Tensor]:
    """A valid convolution, its rectifier fused where oneDNN offers it."""
    stride, dilation, groups = (node.settings[k] for k in ("stride", "dilation", "groups"))
    if weight is node.tensors["weight"]:
        weight = laid_out(node)
    else:
        weight = weight.detach().contiguous(memory_format=torch.channels_last)
    if on_onednn(weight):
        fused = torch.ops.mkldnn._convolution_pointwise
        what = "relu" if rectify else "none"
        none = [0, 0]
        how = (list(stride), list(dilation), groups)
        packed = _Packed(weight, how)

        def convolve(patch: Tensor) -> Tensor:
            return fused(patch, packed.towards(patch), bias, none, *how, what, [], "")

        return convolve

    def plain(patch: Tensor) -> Tensor:
        value = F.conv2d(patch, weight, bias, stride, 0, dilation, groups)
        return value.relu_() if rectify else value

    return plain


class _Packed:
    """Filters as oneDNN wants them for patches of one size, which it else works out at every call.

    That is a large part of the time of a small patch and many filters. They are packed when a size
    comes the second time in a row: what runs over a grid of boxes has new sizes again and again.

    Args:
        weight: The filters, channels last.
        how: Stride, dilation and groups.
    """

    def __init__(self, weight: Tensor, how: tuple[list[int], list[int], int]) -> None:
        self._weight, self._how = weight, how
        self._shape: tuple[int, ...] | None = None
        self._packed: Tensor | None = None

    def towards(self, patch: Tensor) -> Tensor:
        """The filters to run on a patch (P, C, h, w)."""
        shape = tuple(patch.shape)
        if shape[0] * shape[2] * shape[3] > SMALL or patch.dtype != torch.float32:
            return self._weight
        if shape != self._shape:
            self._shape, self._packed = shape, None
            return self._weight
        if self._packed is None:
            pack = torch.ops.mkldnn._reorder_convolution_weight
            self._packed = pack(self._weight, [0, 0], *self._how, list(shape))
        return self._packed


def dense(value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """value (..., K) times weight (O, K), transposed or not in memory, plus bias.

    oneDNN's product runs at twice the speed of the BLAS behind F.linear on some processors.
    """
    packed = weight.is_contiguous() or weight.t().is_contiguous()  # else oneDNN crawls
    if on_onednn(weight) and value.dim() == 2 and packed:
        return torch.ops.mkldnn._linear_pointwise(value, weight, bias, "none", [], "")
    return F.linear(value, weight, bias)


def on_onednn(tensor: Tensor) -> bool:
    """Whether oneDNN's fused operations can run on this tensor: on a CPU, float32 or bfloat16."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )
