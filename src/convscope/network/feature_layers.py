"""Which layers of a network hold features: the hidden ones, and the last of them."""

from __future__ import annotations

from collections.abc import Sequence

from convscope.errors import BadOption
from convscope.network.from_export import INPUT
from convscope.network.network import Network
from convscope.network.node import Node

__all__ = ["hidden_layers", "last_hidden_layer", "last_scores_without_places"]


def hidden_layers(network: Network) -> tuple[str, ...]:
    """List the layers of a depth curve, bottom up: where all that the network knows passes through.

    For each convolutional or linear layer: its activation, or the first place above where the
    branches beside it have joined (a block's sum or concatenation, rectified). The last of these
    layers, the classes' own scores, is left out, and so are places inside a block that is listed.

    Args:
        network: The network.

    Example:
        >>> hidden_layers(network)
        ('relu1', 'relu2')
    """
    nodes = network.below([network.output])
    order = [node.name for node in nodes]
    narrow = _narrow(nodes)
    weighted = [node.name for node in nodes if node.op.weighs]
    joints: dict[str, None] = {}
    for name in weighted[:-1]:
        start = order.index(network.activation(name))
        joined = next((other for other in order[start:] if other in narrow), None)
        if joined is not None:
            joints[network.activation(joined)] = None
    top = network.activation(weighted[-1]) if weighted else None
    names = [name for name in joints if name not in (network.output, top)]
    return tuple(n for n in names if not any(n.startswith(f"{other}.") for other in names))


def last_hidden_layer(network: Network) -> str:
    """Find the layer that the last convolutional or linear one reads: the classifier's features.

    Args:
        network: The network.

    Raises:
        BadOption: There is no such layer, or it reads the image itself.

    Example:
        >>> last_hidden_layer(network)
        'global_pool'
    """
    weighted = [node for node in network.below([network.output]) if node.op.weighs]
    name = weighted[-1].inputs[0] if weighted else INPUT
    while name != INPUT and _only_hands_on(network, name):
        name = network.nodes[name].inputs[0]
    if name == INPUT:
        raise BadOption("this network has no hidden layer: name the one to be used with --layer")
    return name


def last_scores_without_places(network: Network) -> str | None:
    """Find the pooled scores of a network that scores each class at every place and then pools.

    Args:
        network: The network.

    Returns:
        The layer, before a softmax or sigmoid at the end. None if the last layer with weights has
        a single position, so that there is nothing to pool.
    """
    weighted = [node for node in network.below([network.output]) if node.op.weighs]
    if not weighted or network.layer(weighted[-1].name).grid == (1, 1):
        return None
    name = network.output
    while network.nodes[name].op.probabilities:
        name = network.nodes[name].inputs[0]
    return name if network.layer(name).grid == (1, 1) else None


def _only_hands_on(network: Network, name: str) -> bool:
    node = network.nodes[name]
    return node.op.passes_through or node.op.flattens


def _narrow(nodes: Sequence[Node]) -> set[str]:
    """The nodes below the output that every path from the image to it goes through."""
    place = {INPUT: -1, **{node.name: i for i, node in enumerate(nodes)}}
    reaches = [-1] * (len(nodes) + 1)  # from i - 1: the last node that reads node i - 1
    for node in nodes:
        for below in node.inputs:
            reaches[place[below] + 1] = place[node.name]
    narrow, furthest = set(), reaches[0]
    for i, node in enumerate(nodes):
        if furthest <= i:
            narrow.add(node.name)
        furthest = max(furthest, reaches[i + 1])
    return narrow
