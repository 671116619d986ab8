"""Objectives: what a picture is optimised for. Values of layers -> a number for each picture.

They add and scale, and keep a readable description:

    unit("conv5", [3, 7]) + 0.5 * diversity("conv5", groups=1) - small(1e-4)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.network.from_export import INPUT
from convscope.network.graph import Graph

__all__ = [
    "Objective",
    "Values",
    "after_activation",
    "before_activation",
    "diversity",
    "small",
    "units",
]

Values = Mapping[str, Tensor]
"""Layer -> (U, C, h, w) or (U, C); the pictures themselves under `INPUT`."""


@dataclass(frozen=True)
class Objective:
    """A number for each of U pictures, to be made large.

    Attributes:
        description: what it is, in words.
        layers: whose values it reads.
        value: from those values to (U,).
    """

    description: str
    layers: tuple[str, ...]
    value: Callable[[Values], Tensor]

    def __add__(self, other: Objective) -> Objective:
        return Objective(
            f"{self.description} + {other.description}",
            tuple(dict.fromkeys((*self.layers, *other.layers))),
            lambda values: self.value(values) + other.value(values),
        )

    def __mul__(self, factor: float) -> Objective:
        return Objective(
            f"{factor:g} × ({self.description})",
            self.layers,
            lambda values: factor * self.value(values),
        )

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return self * -1.0

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def __str__(self) -> str:
        return self.description


def units(layer: str, channels: Sequence[int]) -> Objective:
    """The value of one channel for each picture, at the centre of the layer's grid.

    Args:
        layer: The layer.
        channels: One for each of the U pictures.
    """
    wanted = torch.tensor(list(channels))

    def value(values: Values) -> Tensor:
        maps = values[layer]
        rows = torch.arange(len(maps), device=maps.device)
        own = maps[rows, wanted.to(maps.device)]
        return own if own.dim() == 1 else own[:, own.shape[1] // 2, own.shape[2] // 2]

    some = ", ".join(map(str, channels[:4])) + (", ..." if len(channels) > 4 else "")
    return Objective(f"{layer}/{some}", (layer,), value)


def small(weight: float) -> Objective:
    """The squared norm of each picture in preprocessed units, times a weight.

    Source:
        Simonyan et al. 2013, "Deep inside convolutional networks", eq. 1: S - weight ‖I‖².
    """
    return Objective(
        f"{weight:g} ‖I‖²",
        (),
        lambda values: weight * values[INPUT].flatten(1).square().sum(1),
    )


def diversity(layer: str, groups: int) -> Objective:
    """How different the pictures of one unit are: minus the mean likeness of their styles.

    Args:
        layer: Whose channels' correlations over positions are a picture's style.
        groups: How many units there are; the pictures are grouped by unit, equally many each.

    Source:
        Olah et al. 2017, "Feature Visualization", Distill: the cosine of Gram matrices.
    """

    def value(values: Values) -> Tensor:
        flat = values[layer].flatten(2) if values[layer].dim() == 4 else values[layer][..., None]
        gram = torch.einsum("ucp,udp->ucd", flat, flat).flatten(1)
        gram = torch.nn.functional.normalize(gram, dim=1).unflatten(0, (groups, -1))
        likeness = torch.einsum("gid,gjd->gij", gram, gram)
        count = likeness.shape[1]
        others = likeness.sum(2) - likeness.diagonal(dim1=1, dim2=2)
        return -(others / max(1, count - 1)).flatten()

    return Objective(f"diversity of {layer}", (layer,), value)


def before_activation(network: Graph, layer: str) -> str:
    """Find the layer whose value is optimised for a layer's sake: the one before its rectifier.

    A rectified unit at zero has no gradient, so nothing would pull a picture out of there.

    Args:
        network: The network.
        layer: A convolution, its normalisation, or its activation; a dense layer or a softmax.
    """
    name = network.activation(layer)
    node = network.nodes[name]
    nonlinear = node.op.activation or node.op.probabilities or node.op.log_probabilities
    return node.inputs[0] if nonlinear and node.inputs[0] != INPUT else name


def after_activation(network: Graph, layer: str, values: Tensor) -> Tensor:
    """Bring the values of a layer's `before_activation` to the layer's activations.

    Args:
        network: The network.
        layer: The layer that was asked for.
        values: Of the layer before its rectifier.

    Shape:
        values: (U, C, h, w) or (U, C), and so is the result.
    """
    target, node = before_activation(network, layer), network.nodes[network.activation(layer)]
    if node.name == target or node.inputs != (target,):
        return values
    return node.forward(values)
