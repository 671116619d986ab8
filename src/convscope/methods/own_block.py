"""A layer's own block of weights, and networks in which it was never learned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch

from convscope.network.graph import Graph

G = TypeVar("G", bound=Graph)

__all__ = ["own_block", "with_block_redrawn", "with_redrawn"]

LARGEST_SHARE = 0.5
"""A module that holds more of the network's weighing layers than this is no block."""


def own_block(network: Graph, layer: str) -> tuple[str, ...]:
    """Find the layers whose weights belong to one layer and no other.

    These are the convolutions or dense layers that the layer is made of directly, and those of the
    same module below it: a residual block's, a fire module's. A module that holds more than half of
    the network's weighing layers is no block, but the network's list of layers.

    Args:
        network: The network.
        layer: Of the unit in question; its activation, or its convolution.

    Returns:
        Names of convolutions and dense layers, bottom up; none where no weights lie below.

    Example:
        >>> own_block(resnet18, "layer4.1.relu.2")
        ('layer4.1.conv1', 'layer4.1.conv2')
    """
    below = network.below([layer])
    weighing = [node.name for node in below if node.op.weighs]
    nearest = [node.name for node in network.first_below(layer, lambda node: node.op.weighs)]
    everywhere = sum(node.op.weighs for node in network.nodes.values())
    block = set(nearest)
    for parent in {name.rpartition(".")[0] for name in nearest} - {""}:
        inside = {name for name in weighing if name.startswith(f"{parent}.")}
        if len(inside) <= LARGEST_SHARE * everywhere:
            block |= inside
    return tuple(name for name in weighing if name in block)


def with_block_redrawn(network: Graph, layer: str, generator: torch.Generator) -> Graph | None:
    """Return the network with its layer's own block as if it had never been learned.

    Args:
        network: The network; it stays as it is.
        layer: Whose block it is, see `own_block`.
        generator: For the draws, on the CPU.

    Returns:
        The changed network, see `with_redrawn`; None where the layer has no weights of its own.
    """
    block = own_block(network, layer)
    return with_redrawn(network, block, generator) if block else None


def with_redrawn(network: G, layers: Iterable[str], generator: torch.Generator) -> G:
    """Return the network with some layers as if they had never been learned.

    Weights are drawn from a normal distribution of the mean and the deviation that they have, NaN
    and infinite ones left out; biases and normalisations stay.

    Args:
        network: The network; it stays as it is.
        layers: Convolutions and dense layers.
        generator: For the draws, on the CPU.

    Example:
        >>> drawn = with_redrawn(network, ["fc8"], torch.Generator().manual_seed(0))
    """
    changed = {}
    for name in layers:
        weight = network.nodes[name].tensors["weight"]
        drawn = torch.randn(weight.shape, generator=generator).to(weight)
        known = weight[weight.isfinite()] if not weight.isfinite().all() else weight
        known = known if known.numel() else weight.new_zeros(1)
        deviation = known.std() if known.numel() > 1 else known.abs().mean()
        changed[name] = {"weight": known.mean() + deviation * drawn}
    return network.with_tensors(changed)
