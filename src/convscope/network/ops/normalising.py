"""Op table: batch normalisation and local response normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import aten


def _read_batch_norm(bound: dict[str, Any]) -> dict[str, Any]:
    if bound["training"] or bound["running_mean"] is None:
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


NORMALISING: tuple[Op, ...] = (
    Op("batch_norm", (aten.batch_norm.default,), _batch_norm, _batch_norm_adjoint,
       read=_read_batch_norm, pointwise=True, elementwise=True, new_memory=True,
       scale_shift=batch_norm_scale_shift),
    Op("lrn", (), _lrn, pointwise=True),
)  # fmt: skip

LRN = next(op for op in NORMALISING if op.kind == "lrn")
