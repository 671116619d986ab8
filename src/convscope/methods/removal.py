"""What the network loses without a unit: its feature map is set to a constant, and the loss read.

Only what lies above the map is run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import BadInput
from convscope.methods.classes import Head
from convscope.network.graph import Graph
from convscope.network.node import Node
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["Removed", "class_losses", "losses_without", "remove_units"]

PAIRS = 32
"""Of a unit and an image, that go through the network together; more were not faster."""


def class_losses(network: Graph, output: Tensor) -> Tensor:
    """Compute what the cross-entropy of each image would be for each class.

    Args:
        network: The network, which tells classes.
        output: What it gave.

    Returns:
        -log of each class's probability, in nats.

    Shape:
        output: (N, ...). The result: (N, classes) float64.

    Raises:
        BadInput: The network ends in no score per class.
    """
    head = Head.of(network)
    rows = head.vectors(output).double()
    if head.single or head.normalised or head.separate:
        return -head.probabilities(rows).clamp(min=torch.finfo(torch.float64).tiny).log()
    return -rows.log_softmax(-1)


@dataclass(frozen=True, eq=False)
class Removed:
    """What a network answers to N labelled images, as it is and without each of U units.

    Attributes:
        labels: (N,), the class of each image.
        classes: (N, C) float64, what the loss would be for each class, with the whole network.
        classes_without: (U, N, C), likewise, without each unit.
        right: (N,) bool, whether the whole network's most probable class is the image's.
        right_without: (U, N) bool, likewise.
    """

    labels: Tensor
    classes: Tensor
    classes_without: Tensor
    right: Tensor
    right_without: Tensor

    @property
    def loss(self) -> Tensor:
        """(N,), the loss of each image's own class."""
        return _own(self.classes, self.labels)

    @property
    def loss_without(self) -> Tensor:
        """(U, N), likewise, without each unit."""
        return _own(self.classes_without, self.labels)


@torch.no_grad()
def remove_units(
    trace: Trace,
    units: Sequence[Unit | str],
    labels: Tensor,
    *,
    means: Mapping[str, Tensor] | None = None,
) -> Removed:
    """Take units away, each alone, and see how well the network then knows each image's class.

    Pairs of a unit and an image go through what is above together. Where a map holds already what
    is put in its place, such as zeros everywhere, nothing is run.

    Args:
        trace: A forward pass over labelled images.
        units: Feature maps; each is taken away at all of its positions.
        labels: The class of each image.
        means: What to put in a map's place: for each layer a number for each of its channels. None
            puts zero.

    Shape:
        labels: (N,) int64. means: layer -> (C,).

    Raises:
        NoSuchLayer, NoSuchUnit: There is no such feature map.
        BadInput: The network ends in no score per class, a label is none of its classes, or the
            answer does not depend on a unit's layer.

    Source:
        Morcos et al. 2018, "On the importance of single directions for generalization"; Bau et al.
        2020, "Understanding the role of individual units in a deep neural network".

    Example:
        >>> removed = remove_units(network.trace(images), ["conv5/12", "conv5/13"], labels)
        >>> (removed.loss_without - removed.loss).mean(1)  # what each unit is worth, in nats
    """
    network = trace.network
    wanted = [network.unit(unit) for unit in units]
    labels = labels.to(network.device)
    whole = trace[network.output]
    classes, right = class_losses(network, whole), _right(network, whole, labels)
    _own(classes, labels)  # refuses labels that are none of its classes
    without, rights = classes.repeat(len(wanted), 1, 1), right.repeat(len(wanted), 1)
    for layer in dict.fromkeys(unit.layer for unit in wanted):
        own = torch.tensor([i for i, unit in enumerate(wanted) if unit.layer == layer])
        channels = torch.tensor([wanted[i].channel for i in own.tolist()], device=network.device)
        values = trace[layer]
        put = values.new_zeros(len(own)) if means is None else means[layer].to(values)[channels]
        above = _above(network, layer, wanted[int(own[0])])
        for pairs in _changed(values, channels, put).split(PAIRS):
            unit, image = pairs.unbind(1)
            changed = values[image]
            shape = (-1, *[1] * (values.dim() - 2))
            changed[torch.arange(len(pairs)), channels[unit]] = put[unit].reshape(shape)
            output = _answer(trace, above, {layer: changed}, image)
            rows = own.to(unit.device)[unit]
            without[rows, image] = class_losses(network, output)
            rights[rows, image] = _right(network, output, labels[image])
    return Removed(labels, classes, without, right, rights)


def losses_without(
    trace: Trace,
    units: Sequence[Unit | str],
    labels: Tensor,
    *,
    means: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the loss of each image with the network as it is, and without each unit in turn.

    Args:
        trace, units, labels, means: As `remove_units` has them.

    Returns:
        (before, without).

    Shape:
        before: (N,) float64; without: (U, N) float64.

    Raises:
        NoSuchLayer, NoSuchUnit, BadInput: As `remove_units`.

    Example:
        >>> before, without = losses_without(network.trace(images), ["conv5/12"], labels)
        >>> (without - before).mean(1)  # what the unit is worth, in nats
    """
    removed = remove_units(trace, units, labels, means=means)
    return removed.loss, removed.loss_without


def _above(network: Graph, layer: str, unit: Unit) -> list[Node]:
    """What the answer needs of what depends on a layer, in order of execution.

    Raises:
        BadInput: The answer does not depend on it.
    """
    touched, nodes = {layer}, []
    for node in network.below([network.output]):
        if not touched.isdisjoint(node.inputs):
            touched.add(node.name)
            nodes.append(node)
    if network.output not in touched:
        raise BadInput(f"{unit}: the network's answer does not depend on {layer}")
    return nodes


def _answer(trace: Trace, above: list[Node], known: dict[str, Tensor], images: Tensor) -> Tensor:
    """The network's answer with other values at a layer, for some images of a trace.

    Args:
        trace: Has what does not depend on the layer.
        above: What depends on it.
        known: The layer's values, one for each of the images.
        images: Rows of the trace; one may come several times.
    """
    for node in above:
        known[node.name] = node.forward(
            *(known[name] if name in known else trace[name][images] for name in node.inputs)
        )
    return known[trace.network.output]


def _changed(values: Tensor, channels: Tensor, put: Tensor) -> Tensor:
    """(P, 2), the pairs (unit, image) whose map is not what is put in its place already.

    Shape:
        values: (N, C, ...). channels, put: (U,).
    """
    own = values[:, channels].flatten(2) if values.dim() > 2 else values[:, channels, None]
    return (own != put[:, None]).any(2).T.nonzero()


def _own(losses: Tensor, labels: Tensor) -> Tensor:
    """(..., N), each image's own class out of (..., N, C).

    Raises:
        BadInput: A label is none of the classes.
    """
    classes = losses.shape[-1]
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
        raise BadInput(
            f"labels reach from {int(labels.min())} to {int(labels.max())}: the network has "
            f"classes 0 to {classes - 1}"
        )
    return losses[..., torch.arange(len(labels), device=labels.device), labels]


def _right(network: Graph, output: Tensor, labels: Tensor) -> Tensor:
    head = Head.of(network)
    return head.labels(head.vectors(output)) == labels
