"""Op table: convolution, dense layers, and the normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import aten, linear_adjoint, pair, sliding, whole


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
    return F.conv2d(
        value,
        node.tensors["weight"],
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
    left_over = [
        below - ((above - 1) * s["stride"][a] - 2 * s["padding"][a] + _span(s, a))
        for a, (below, above) in enumerate(zip(node.below[0][-2:], node.shape[-2:], strict=True))
    ]
    return (
        F.conv_transpose2d(
            signal,
            node.tensors["weight"],
            None,
            s["stride"],
            s["padding"],
            left_over,
            s["groups"],
            s["dilation"],
        ),
    )


def _span(settings: Mapping[str, Any], axis: int) -> int:
    return int(settings["dilation"][axis] * (settings["kernel"][axis] - 1) + 1)


def _linear_layer(node: Node, value: Tensor) -> Tensor:
    return F.linear(value, node.tensors["weight"], node.tensors.get("bias"))


def _linear_layer_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (signal @ node.tensors["weight"],)


def batch_norm_scale_shift(node: Node) -> tuple[Tensor, Tensor]:
    """Batch normalisation at test time is y = scale * x + shift, per channel."""
    t = node.tensors
    scale = torch.rsqrt(t["running_var"] + node.settings["eps"])
    if "weight" in t:
        scale = scale * t["weight"]
    shift = -t["running_mean"] * scale
    if "bias" in t:
        shift = shift + t["bias"]
    return scale, shift


def _batch_norm(node: Node, value: Tensor) -> Tensor:
    t = node.tensors
    return F.batch_norm(
        value,
        t["running_mean"],
        t["running_var"],
        t.get("weight"),
        t.get("bias"),
        training=False,
        eps=node.settings["eps"],
    )


def _batch_norm_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    scale, _ = batch_norm_scale_shift(node)
    return (signal * scale.view(-1, *[1] * (signal.dim() - 2)),)


def _lrn(node: Node, value: Tensor) -> Tensor:
    s = node.settings
    return value * _lrn_denominator(s, value).pow(-s["beta"])


def _lrn_denominator(settings: Mapping[str, Any], value: Tensor) -> Tensor:
    """k + alpha / n * (sum of squares over n neighbouring channels)."""
    return settings["k"] + settings["alpha"] / settings["size"] * _band_sum(
        value * value, settings["size"] // 2, (settings["size"] - 1) // 2
    )


def _band_sum(value: Tensor, before: int, after: int) -> Tensor:
    """Sum over channels c - before .. c + after, by running sums over a padded channel axis."""
    padded = F.pad(value.movedim(1, -1), (before, after))
    return padded.unfold(-1, before + after + 1, 1).sum(-1).movedim(-1, 1)


def lrn_gradient(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """d/dx of x * D(x)^-beta, D = k + alpha/n * band sum of x^2."""
    s, value = node.settings, saved.input()
    denominator = _lrn_denominator(s, value)
    power = denominator.pow(-s["beta"])
    cross = _band_sum(signal * value * power / denominator, (s["size"] - 1) // 2, s["size"] // 2)
    return (signal * power - 2 * s["beta"] * s["alpha"] / s["size"] * value * cross,)


FILTERS: tuple[Op, ...] = (
    Op("conv", (aten.conv2d.default, aten.conv2d.padding), _conv, _conv_adjoint, sliding,
       _read_conv, on_window=_conv_on_window),
    Op("linear", (aten.linear.default,), _linear_layer, _linear_layer_adjoint, whole),
    Op("batch_norm", (aten.batch_norm.default,), _batch_norm, _batch_norm_adjoint,
       read=lambda bound: {"eps": bound["eps"]}, pointwise=True),
    Op("lrn", (), _lrn, pointwise=True),
)  # fmt: skip

LRN = next(op for op in FILTERS if op.kind == "lrn")
