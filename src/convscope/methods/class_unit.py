"""Which unit of a layer speaks most for a class in an image."""

from __future__ import annotations

import torch

from convscope.errors import BadInput
from convscope.methods.classes import Head
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["strongest_for_class"]


def strongest_for_class(trace: Trace, layer: str, target: int, image: int = 0) -> Unit:
    """Find the unit of a layer that speaks most for a class in one image.

    It is the one whose activation, times the derivative of the class's log-odds by it, is largest:
    to first order, what the class would lose without it.

    Args:
        trace: A forward pass through the whole network.
        layer: The layer.
        target: The class.
        image: The row of the trace.

    Returns:
        The unit at its position; of equals the first, in order of channel, row, column.

    Raises:
        NoSuchLayer: There is no such layer.
        BadInput: The network ends in no score per class, or its answer does not depend on the
            layer.

    Example:
        >>> strongest_for_class(network.trace(image), "conv2", 1).position is not None
        True
    """
    network = trace.network
    name = network.layer(layer).name
    head = Head.of(network)
    with torch.enable_grad():
        own = trace[name][image : image + 1].detach().clone().requires_grad_()
        values = {name: own}
        for node in network.below([network.output]):
            if node.name != name and values.keys() & set(node.inputs):
                below = (
                    values[each] if each in values else trace[each][image : image + 1]
                    for each in node.inputs
                )
                values[node.name] = node.forward(*below)
        if network.output not in values:
            raise BadInput(f"the network's answer does not depend on {layer}")
        score = head.log_odds(head.vectors(values[network.output]), target).sum()
        (slope,) = torch.autograd.grad(score, own)
    worth = (own.detach() * slope)[0]  # (C, ...)
    if worth.dim() == 1:
        return Unit(name, int(worth.argmax()))
    height, width = worth.shape[-2:]
    channel, at = divmod(int(worth.reshape(-1).argmax()), height * width)
    return Unit(name, channel, *divmod(at, width))
