"""What a method's pictures depend on besides the weights, and what it does where a network bends.

A deconvnet looks at the forward pass where a max pool's switches or a gate's factors say how the
signal goes down. With nothing of that kind below, its picture is the same for every image, but for
its strength: the unit's activation.
"""

from __future__ import annotations

from collections.abc import Iterable

from convscope.methods.rules import (
    DECONVNET,
    GRADIENT,
    Rules,
    derivative,
    gate_by_input,
    rectify,
    skip,
    statistics_given,
)
from convscope.network.network import Network
from convscope.network.node import Node

__all__ = ["about_bends", "about_images", "depends_on_image"]


def depends_on_image(network: Network, layer: str, rules: Rules) -> bool:
    """Whether pictures of a layer's units differ from image to image by more than their strength.

    Args:
        network: The network that the layer belongs to.
        layer: The layer whose units are projected.
        rules: The method of projection.

    Example:
        >>> depends_on_image(network, "conv2", convscope.DECONVNET)  # a max pooling lies below
        True
    """
    return any(rules.looks(node) for node in network.below([layer]))


def about_images(network: Network, layers: Iterable[str], rules: Rules) -> str | None:
    """Say which of some layers have pictures that are the same for every image; None if none has.

    Args:
        network: The network that the layers belong to.
        layers: The layers whose units are projected.
        rules: The method of projection.
    """
    layers = list(dict.fromkeys(layers))
    same = [name for name in layers if not depends_on_image(network, name, rules)]
    if not same:
        return None
    which = "all layers" if len(same) == len(layers) > 1 else ", ".join(same[:4])
    more = f" and {len(same) - 4} others" if which != "all layers" and len(same) > 4 else ""
    below = (node for name in same for node in network.below(network.nodes[name].inputs))
    gated = any(GRADIENT.looks(node) for node in below)
    return (
        f"those of {which}{more} are the same for every image, but for their strength: "
        f"below is no max pooling or gate, where {rules} would look at the image"
        + ("; --rules gradient and guided look at rectifiers, too" if gated else "")
    )


def about_bends(network: Network, rules: Rules = DECONVNET) -> str:
    """Say in a line what a method does at the nonlinear layers that a network has.

    Args:
        network: The network.
        rules: The method of projection.
    """
    nodes = network.nodes.values()
    nonlinear = [node for node in nodes if node.op.adjoint in (None, derivative)]
    bends = {node.kind: rules[node] for node in nonlinear}
    done = {
        "rectifies the signal at": [k for k, rule in bends.items() if rule is rectify],
        "takes the derivative at": [k for k, rule in bends.items() if rule is derivative],
        "takes the statistics as given at": [
            k for k, rule in bends.items() if rule is statistics_given
        ],
        "skips": [k for k, rule in bends.items() if rule is skip],
        "follows the switches of": [n.kind for n in nodes if n.op.switches],
        "multiplies by the other factor at": [
            n.kind for n in nodes if n.op.arithmetic and n.op.adjoint_looks(n)
        ],
    }
    words = [f"{verb} {', '.join(dict.fromkeys(kinds))}" for verb, kinds in done.items() if kinds]
    smooth = [n.kind for n in nonlinear if bends[n.kind] is rectify and not _gates(n)]
    if smooth:
        words.append(f"the shape of {', '.join(dict.fromkeys(smooth))} is not looked at")
    return "; ".join(words) or "nothing to decide: the network is linear"


def _gates(node: Node) -> bool:
    """Whether its derivative is a gate, open or closed, as a relu's is."""
    return GRADIENT.table.get(node.kind) is gate_by_input
