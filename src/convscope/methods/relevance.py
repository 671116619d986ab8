"""Relevance: what each unit is worth to a class in an image, its activation times a derivative.

A unit that fires on images of one class may serve another: its strongest images do not tell, but
those where it is worth most to a class do (relevance maximisation, RelMax).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from convscope.errors import BadInput
from convscope.methods.classes import Head
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["class_relevance", "relevance_by_class", "strongest_for_class"]


def class_relevance(
    trace: Trace, layers: Iterable[str] | str, target: int, *, images: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Compute what each unit of some layers is worth to a class.

    It is the unit's activation times the derivative of the class's log-odds, log p/(1-p), by it: to
    first order, what the class would lose without it. Above zero it speaks for the class, below
    zero against it.

    Args:
        trace: A forward pass, from `Network.trace`.
        layers: Names of layers.
        target: The number of the class, from 0.
        images: Rows of the trace; None is all of them.

    Returns:
        The relevance by layer.

    Shape:
        A relevance has the shape of its layer's values, (N, C, H, W) or (N, C).

    Raises:
        NoSuchLayer: There is no such layer.
        BadInput: The network ends in no score per class, or its answer does not depend on a layer.
        BadOption: There is no such class.

    Source:
        Achtibat et al. 2023, "From attribution maps to human-understandable explanations through
        concept relevance propagation", who rank images so, by another relevance.

    Example:
        >>> worth = convscope.class_relevance(network.trace(image), ["conv5"], 3)["conv5"]
        >>> worth.shape == network.trace(image)["conv5"].shape
        True
    """
    names = [trace.network.feature_layer(layer).name for layer in _listed(layers)]
    few = trace if images is None else trace.rows(torch.tensor(list(images)))
    (found,) = relevance_by_class(few, names, [target])
    for name in names:
        if name not in found:
            raise BadInput(f"the network's answer does not depend on {name}")
    return found


def relevance_by_class(
    trace: Trace, layers: Sequence[str], targets: Sequence[int]
) -> Iterator[dict[str, Tensor]]:
    """Compute, class by class, what each unit is worth to it, from one forward pass.

    Args:
        trace: A forward pass over some images.
        layers: Names of layers.
        targets: Numbers of classes.

    Yields:
        For each class the relevance by layer, see `class_relevance`. Layers that the answer does
        not depend on are left out.
    """
    head = Head.of(trace.network)
    with torch.enable_grad():
        values = _run_from(trace, layers)
        output = values.get(trace.network.output)
        for number, target in enumerate(targets):
            head.check(target)
            if output is None:
                yield {}
                continue
            score = head.log_odds(head.vectors(output), target).sum()
            slopes = torch.autograd.grad(
                score,
                [values[layer] for layer in layers],
                retain_graph=number + 1 < len(targets),
                allow_unused=True,
            )
            yield {
                layer: values[layer].detach() * slope
                for layer, slope in zip(layers, slopes, strict=True)
                if slope is not None
            }


def strongest_for_class(trace: Trace, layer: str, target: int, image: int = 0) -> Unit:
    """Find the unit of a layer that is worth most to a class in one image.

    Args:
        trace: A forward pass through the whole network.
        layer: The layer.
        target: The class.
        image: The row of the trace.

    Returns:
        The unit at its position; of equals the first, in order of channel, row, column.

    Raises:
        NoSuchLayer, BadInput, BadOption: as `class_relevance`.

    Example:
        >>> strongest_for_class(network.trace(image), "conv2", 1).position is not None
        True
    """
    name = trace.network.feature_layer(layer).name
    worth = class_relevance(trace, name, target, images=[image])[name][0]  # (C, ...)
    if worth.dim() == 1:
        return Unit(name, int(worth.argmax()))
    height, width = worth.shape[-2:]
    channel, at = divmod(int(worth.reshape(-1).argmax()), height * width)
    return Unit(name, channel, *divmod(at, width))


def _run_from(trace: Trace, layers: Sequence[str]) -> dict[str, Tensor]:
    """The values of some layers, and of all that depends on them, with their derivatives."""
    network, values = trace.network, dict[str, Tensor]()
    for node in network.below([network.output, *layers]):
        if values.keys() & set(node.inputs):
            below = (values[each] if each in values else trace[each] for each in node.inputs)
            values[node.name] = node.forward(*below)
        if node.name in layers and not (node.name in values and values[node.name].requires_grad):
            values[node.name] = trace[node.name].detach().requires_grad_()
    return values


def _listed(layers: Iterable[str] | str) -> list[str]:
    return [layers] if isinstance(layers, str) else list(layers)
