"""What the network loses without a unit: its feature map is set to a constant, and the loss read.

Only what lies above the map is run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from convscope.errors import BadInput
from convscope.methods.classes import Head
from convscope.network.graph import Graph
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["label_losses", "losses_without"]


def label_losses(network: Graph, output: Tensor, labels: Tensor) -> Tensor:
    """Compute the cross-entropy of each image's own class.

    Args:
        network: The network, which tells classes.
        output: What it gave.
        labels: The class of each image.

    Returns:
        -log of the probability of the image's class, in nats.

    Shape:
        output: (N, ...). labels: (N,) int64. The result: (N,) float64.

    Raises:
        BadInput: The network ends in no score per class, or a label is none of its classes.
    """
    head = Head.of(network)
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < head.classes):
        raise BadInput(
            f"labels reach from {int(labels.min())} to {int(labels.max())}: the network has "
            f"classes 0 to {head.classes - 1}"
        )
    rows = head.vectors(output).double()
    labels = labels.to(rows.device)
    if head.single or head.normalised or head.separate:
        own = head.probabilities(rows).gather(1, labels[:, None])[:, 0]
        return -own.clamp(min=torch.finfo(torch.float64).tiny).log()
    return torch.nn.functional.cross_entropy(rows, labels, reduction="none")


@torch.no_grad()
def losses_without(
    trace: Trace,
    units: Sequence[Unit | str],
    labels: Tensor,
    *,
    means: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the loss of each image with the network as it is, and without each unit in turn.

    Args:
        trace: A forward pass over labelled images.
        units: Feature maps; each is taken away alone, at all of its positions.
        labels: The class of each image.
        means: What to put in a map's place: for each layer a number for each of its channels. None
            puts zero.

    Returns:
        (before, without).

    Shape:
        labels: (N,) int64. means: layer -> (C,). before: (N,) float64; without: (U, N) float64.

    Raises:
        NoSuchLayer, NoSuchUnit: There is no such feature map.
        BadInput: The network ends in no score per class, a label is none of its classes, or the
            answer does not depend on a unit's layer.

    Source:
        Morcos et al. 2018, "On the importance of single directions for generalization"; Bau et al.
        2020, "Understanding the role of individual units in a deep neural network".

    Example:
        >>> before, without = losses_without(network.trace(images), ["conv5/12"], labels)
        >>> (without - before).mean(1)  # what the unit is worth, in nats
    """
    network = trace.network
    wanted = [network.unit(unit) for unit in units]
    above = {node.name for node in network.below([network.output])}
    for unit in wanted:
        if unit.layer not in above:
            raise BadInput(f"{unit}: the network's answer does not depend on {unit.layer}")
    before = label_losses(network, trace[network.output], labels)
    without = before.new_empty(len(wanted), len(before))
    for row, unit in zip(without, wanted, strict=True):
        values = trace[unit.layer].clone()
        values[:, unit.channel] = 0.0 if means is None else means[unit.layer][unit.channel]
        output = trace.replaced(unit.layer, values)[network.output]
        row.copy_(label_losses(network, output, labels))
    return before, without
