"""Op table: normalisation, by stored statistics or by those of the image itself.

A layer norm over channels works position by position; what takes its statistics from rows and
columns looks at all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.geometry.window import Field
from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import across, aten, axes_first, whole


def _read_batch_norm(bound: dict[str, Any]) -> dict[str, Any]:
    if bound.get("training") or bound["running_mean"] is None:
        raise NotImplementedError(
            "normalises with the batch's own statistics, so that one image's activations depend on "
            "the others"
        )
    return {"eps": bound["eps"]}


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


def _read_over_axes(bound: dict[str, Any]) -> dict[str, Any]:
    """axes : those whose values are normalised together, the batch counted."""
    rank = bound["input"].meta["val"].dim()
    axes = tuple(range(rank - len(bound["normalized_shape"]), rank))
    return {"axes": axes, "eps": bound["eps"]}


def _over_axes(
    norm: Callable[..., Tensor], tensors: Sequence[str]
) -> Callable[[Node, Tensor], Tensor]:
    """The forward that moves the axes to the end, where torch expects them, and back."""

    def forward(node: Node, value: Tensor) -> Tensor:
        axes = node.settings["axes"]
        ends = tuple(range(-len(axes), 0))
        moved = value.movedim(axes, ends)
        stored = (node.tensors.get(key) for key in tensors)
        result = norm(moved, moved.shape[-len(axes) :], *stored, node.settings["eps"])
        return result.movedim(ends, axes)

    return forward


def _axes_field(node: Node, index: int) -> Field:
    return across(node, index, node.settings["axes"])


def _layer_norm_scale(node: Node, value: Tensor) -> Tensor:
    axes = node.settings["axes"]
    return _weighted(node, value.var(axes, correction=0, keepdim=True), axes)


def _rms_norm_scale(node: Node, value: Tensor) -> Tensor:
    axes = node.settings["axes"]
    return _weighted(node, value.square().mean(axes, keepdim=True), axes)


def _weighted(node: Node, variance: Tensor, axes: Sequence[int]) -> Tensor:
    """weight / standard deviation, the weight's own axes being those."""
    eps, weight = node.settings["eps"], node.tensors.get("weight")
    scale = torch.rsqrt(variance + (torch.finfo(variance.dtype).eps if eps is None else eps))
    if weight is None:
        return scale
    sizes = iter(weight.shape)
    return scale * weight.reshape([next(sizes) if a in axes else 1 for a in range(variance.dim())])


def _read_group_norm(bound: dict[str, Any]) -> dict[str, Any]:
    return {"groups": bound["num_groups"], "eps": bound["eps"]}


def _group_norm(node: Node, value: Tensor) -> Tensor:
    s, t = node.settings, node.tensors
    return F.group_norm(value, s["groups"], t.get("weight"), t.get("bias"), s["eps"])


def _group_norm_scale(node: Node, value: Tensor) -> Tensor:
    groups = value.unflatten(1, (node.settings["groups"], -1)).flatten(2)
    variance = groups.var(2, correction=0).repeat_interleave(value.shape[1] // groups.shape[1], 1)
    return _weighted(node, variance[(...,) + (None,) * (value.dim() - 2)], (1,))


def _read_instance_norm(bound: dict[str, Any]) -> dict[str, Any]:
    return {"eps": bound["eps"], "stored": not bound["use_input_stats"]}


def _instance_norm(node: Node, value: Tensor) -> Tensor:
    """By what equals it: torch's instance_norm takes a wrong derivative of one image whose
    channels lie innermost (seen with 2.13)."""
    t, eps = node.tensors, node.settings["eps"]
    weight, bias = t.get("weight"), t.get("bias")
    if node.settings["stored"]:
        return F.batch_norm(value, t["running_mean"], t["running_var"], weight, bias, eps=eps)
    return F.group_norm(value, value.shape[1], weight, bias, eps)


def _instance_field(node: Node, index: int) -> Field:
    return Field() if node.settings["stored"] else whole(node, index)


def _instance_norm_scale(node: Node, value: Tensor) -> Tensor:
    axes = tuple(range(2, value.dim()))
    if node.settings["stored"]:
        variance = node.tensors["running_var"].view(1, -1, *[1] * len(axes))
    else:
        variance = value.var(axes, correction=0, keepdim=True)
    return _weighted(node, variance, (1,))


NORMALISING: tuple[Op, ...] = (
    Op("batch_norm", (aten.batch_norm.default,
                      aten._native_batch_norm_legit_no_training.default),
       _batch_norm, _batch_norm_adjoint, read=_read_batch_norm, pointwise=True, elementwise=True,
       new_memory=True, scale_shift=batch_norm_scale_shift),
    Op("lrn", (), _lrn, pointwise=True),
    Op("layer_norm", (aten.layer_norm.default,), _over_axes(F.layer_norm, ("weight", "bias")),
       field=_axes_field, read=_read_over_axes, pointwise=True, own_scale=_layer_norm_scale,
       windowable=lambda node: node.settings["axes"] == (1,), channels_first=axes_first),
    Op("rms_norm", (aten.rms_norm.default,), _over_axes(F.rms_norm, ("weight",)),
       field=_axes_field, read=_read_over_axes, pointwise=True, own_scale=_rms_norm_scale,
       windowable=lambda node: node.settings["axes"] == (1,), channels_first=axes_first),
    Op("group_norm", (aten.group_norm.default,), _group_norm, field=whole, read=_read_group_norm,
       own_scale=_group_norm_scale),
    Op("instance_norm", (aten.instance_norm.default,), _instance_norm, field=_instance_field,
       read=_read_instance_norm, pointwise=True, elementwise=True,
       own_scale=_instance_norm_scale),
)  # fmt: skip

LRN = next(op for op in NORMALISING if op.kind == "lrn")
