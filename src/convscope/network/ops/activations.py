"""Op table: activations that have modules of their own. At most of them a method has to decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.network.node import Node, Op
from convscope.network.ops.shared import (
    across_axis,
    aten,
    axes_first,
    derivative,
    elementwise_first,
)


def _read_hardtanh(bound: dict[str, Any]) -> dict[str, Any]:
    return {"low": bound.get("min_val", 0.0), "high": bound.get("max_val", 6.0)}


def _hardtanh(node: Node, value: Tensor) -> Tensor:
    return F.hardtanh(value, node.settings["low"], node.settings["high"])


def _silu(node: Node, value: Tensor) -> Tensor:
    """x * sigmoid(beta * x); beta is 1 unless it was written out."""
    beta = node.settings.get("beta", 1)
    return F.silu(value) if beta == 1 else value * torch.sigmoid(value * beta)


def _read_softmax(bound: dict[str, Any]) -> dict[str, Any]:
    axis = bound["dim"] % bound["self"].meta["val"].dim()
    if axis == 0:
        raise NotImplementedError("mixes the images of a batch")
    return {"axis": axis}


def _softmax(node: Node, value: Tensor) -> Tensor:
    return torch.softmax(value, node.settings["axis"])


ACTIVATIONS: tuple[Op, ...] = tuple(
    replace(op, pointwise=True, elementwise=op.field is not across_axis, activation=True,
            channels_first=axes_first if op.field is across_axis else elementwise_first)
    for op in (
    Op("relu", (aten.relu.default, aten.relu_.default), lambda node, value: F.relu(value),
       rectifies=lambda node: True, in_place=lambda node, value: value.relu_()),
    Op("hardtanh", (aten.hardtanh.default, aten.hardtanh_.default, aten.relu6.default,
                    aten.relu6_.default), _hardtanh, read=_read_hardtanh,
       rectifies=lambda node: bool(node.settings["low"] == 0)),
    Op("leaky_relu", (aten.leaky_relu.default, aten.leaky_relu_.default),
       lambda node, value: F.leaky_relu(value, node.settings["slope"]),
       read=lambda bound: {"slope": bound["negative_slope"]}),
    Op("silu", (aten.silu.default, aten.silu_.default), _silu),
    Op("mish", (aten.mish.default, aten.mish_.default), lambda node, value: F.mish(value)),
    Op("gelu", (aten.gelu.default, aten.gelu_.default),
       lambda node, value: F.gelu(value, approximate=node.settings["approximate"]),
       read=lambda bound: {"approximate": bound["approximate"]}),
    Op("elu", (aten.elu.default, aten.elu_.default),
       lambda node, value: F.elu(value, node.settings["alpha"]),
       read=lambda bound: {"alpha": bound["alpha"]}),
    Op("hardswish", (aten.hardswish.default, aten.hardswish_.default),
       lambda node, value: F.hardswish(value)),
    Op("sigmoid", (aten.sigmoid.default, aten.sigmoid_.default, aten.special_expit.default),
       lambda node, value: torch.sigmoid(value), probabilities=True),
    Op("hardsigmoid", (aten.hardsigmoid.default, aten.hardsigmoid_.default),
       lambda node, value: F.hardsigmoid(value), probabilities=True),
    Op("tanh", (aten.tanh.default, aten.tanh_.default), lambda node, value: torch.tanh(value)),
    Op("softmax", (aten.softmax.int,), _softmax, field=across_axis, read=_read_softmax,
       probabilities=True),
    Op("log_softmax", (aten.log_softmax.int,),
       lambda node, value: torch.log_softmax(value, node.settings["axis"]),
       field=across_axis, read=_read_softmax, log_probabilities=True),
    Op("glu", (aten.glu.default,), lambda node, value: F.glu(value, node.settings["axis"]),
       derivative, across_axis, _read_softmax, adjoint_looks=lambda node: True),
))  # fmt: skip
