"""Op table: attention, and what is computed on values that do not list the images first.

Attention is not linear, and no rectifier: every method takes its derivative.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from convscope.network.axes import Grid
from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import aten, derivative, differentiate, linear_adjoint, whole

__all__ = ["ATTENTION", "feature_maps", "passage_op"]


def _read_attention(bound: dict[str, Any]) -> dict[str, Any]:
    if bound["dropout_p"]:
        raise NotImplementedError("drops at random at test time too (give dropout_p=0.0)")
    return {
        "causal": bound["is_causal"],
        "scale": bound["scale"],
        "grouped": bound["enable_gqa"],
    }


def _attention(
    node: Node, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    s = node.settings
    mask = node.tensors.get("attn_mask") if mask is None else mask
    return F.scaled_dot_product_attention(
        query, key, value, mask, 0.0, s["causal"], scale=s["scale"], enable_gqa=s["grouped"]
    )


def _run(node: Node, *values: Tensor) -> Tensor:
    result: Tensor = node.settings["passage"](node.tensors, *values)
    return result


def _linear_back(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The adjoint of a passage that is linear in all that it reads, whatever the point."""
    images = signal.shape[0]
    return differentiate(node, signal, *(signal.new_zeros((images, *b)) for b in node.below))


_PASSAGES = {
    "rearrange": Op("rearrange", (), _run, _linear_back, whole, permutes=True),
    "linear": Op("linear", (), _run, _linear_back, whole),
    "attention": Op("attention", (), _run, derivative, whole, adjoint_looks=lambda node: True),
}


def passage_op(passage: Any) -> Op:
    """The row of a piece of the graph that is run as it stands."""
    if passage.moves:
        return _PASSAGES["rearrange"]
    return _PASSAGES["linear" if passage.linear else "attention"]


def _maps(node: Node, value: Tensor) -> Tensor:
    """Tokens, or maps with their channels last, as feature maps (N, C, rows, columns)."""
    grid = node.settings["grid"]
    value = value.permute(0, *grid.order)
    if value.dim() == 3:
        tokens = grid.rows * grid.columns
        value = value[:, :, grid.before : grid.before + tokens]
    return value.reshape(*value.shape[:2], grid.rows, grid.columns)


_MAPS = Op("maps", (), _maps, linear_adjoint, whole)


def feature_maps(tokens: Node, name: str, grid: Grid) -> Node:
    """A layer's tokens laid out on their grid: what people look at. Nothing reads it."""
    channels = tokens.shape[grid.order[0] - 1]
    return Node(
        name=name,
        op=_MAPS,
        inputs=(tokens.name,),
        shape=(channels, grid.rows, grid.columns),
        below=(tokens.shape,),
        settings={"grid": grid},
        tensors={},
        module=tokens.module,
    )


ATTENTION: tuple[Op, ...] = (
    Op("attention", (aten.scaled_dot_product_attention.default,), _attention, derivative, whole,
       _read_attention, adjoint_looks=lambda node: True),
)  # fmt: skip
