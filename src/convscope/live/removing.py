"""What the network answers without some units: only what lies above them is run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.errors import BadImage, BadInput, BadOption
from convscope.live.answers import Answer
from convscope.live.engine import Engine
from convscope.live.kept_images import Activations, Standing
from convscope.network.local.patches import Base
from convscope.network.unit import Unit

__all__ = ["Without", "map_means", "remove", "standing_without"]

IMAGES = 64
"""Images of the data set whose mean is put in a map's place, spread evenly."""


@dataclass(frozen=True)
class Without:
    """What the network says without some feature maps, all of them at once.

    Attributes:
        units: The maps.
        to: What was put in their place: zero, or their mean over the data set.
        answer: What the network says now.
        nodes: How many operations were run again.
    """

    units: tuple[Unit, ...]
    to: str
    answer: Answer
    nodes: int

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary."""
        return {
            "units": [str(unit) for unit in self.units], "to": self.to,
            "answer": self.answer.to_dict(),
        }  # fmt: skip


@torch.no_grad()
def remove(
    engine: Engine,
    activations: Activations,
    units: Sequence[Unit],
    put: dict[Unit, float],
    to: str,
    target: int | None = None,
) -> Without:
    """Take feature maps of any layers away together.

    Args:
        engine: The network and its surroundings.
        activations: Of the image.
        units: The maps; their positions are not looked at.
        put: What stands in the place of each.
        to: The same in words.
        target: A class that is shown whatever its rank.

    Raises:
        BadInput: The answer depends on none of their layers.
    """
    standing, ran = _standing(engine, activations, units, put)
    before = activations.trace[engine.network.output]
    watched = () if target is None else (target,)
    answer = engine.reader.read(standing.values(engine.network.output), before, watched)
    return Without(tuple(units), to, answer, ran)


@torch.no_grad()
def standing_without(
    engine: Engine, activations: Activations, units: Sequence[Unit], put: Mapping[Unit, float]
) -> Standing:
    """How the network stands without some units; kept until others are removed.

    Args:
        engine: The network and its surroundings.
        activations: Of the image.
        units: The maps; their positions are not looked at.
        put: What stands in the place of each.

    Raises:
        BadInput: The answer depends on none of their layers.
    """
    if not units:
        return activations.whole
    known = activations.without
    if known is None or known.put != _by_layer(units, put):
        activations.without = known = _standing(engine, activations, units, put)[0]
    return known


def _standing(
    engine: Engine, activations: Activations, units: Sequence[Unit], put: Mapping[Unit, float]
) -> tuple[Standing, int]:
    """The network without some units, and how many operations were run again."""
    network, trace = engine.network, activations.trace
    by_layer = _by_layer(units, put)
    changed: dict[str, Tensor] = {}
    ran = 0
    for node in network.below([network.output, *by_layer]):
        value = trace[node.name]
        if any(name in changed for name in node.inputs):
            inputs = (changed.get(name, trace[name]) for name in node.inputs)
            value = changed[node.name] = node.forward(*inputs)
            ran += 1
        if node.name in by_layer:
            changed[node.name] = value = value.clone()
            for channel, number in by_layer[node.name].items():
                value[:, channel] = number
    if units and network.output not in changed:
        raise BadInput(f"the network's answer does not depend on {units[0].layer}")

    def values(name: str) -> Tensor:
        return changed[name] if name in changed else trace[name]

    return Standing(by_layer, values, changed, Base(values)), ran


def _by_layer(units: Sequence[Unit], put: Mapping[Unit, float]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for unit in units:
        found.setdefault(unit.layer, {})[unit.channel] = put[unit]
    return found


def map_means(
    engine: Engine, layers: Iterable[str], pause: Callable[[], None]
) -> dict[str, Tensor]:
    """The mean of each map of some layers over images of the data set.

    Args:
        engine: The network and its surroundings.
        layers: The layers.
        pause: Is called between the images.

    Returns:
        A number for each channel, by layer, float64.

    Raises:
        BadOption: There is no data set, or none of its images can be read.
    """
    images = engine.images
    layers = list(layers)
    if images is None or not len(images):
        raise BadOption("the mean needs a data set: give DATA, or put zero")
    count = min(IMAGES, len(images))
    sums: dict[str, Tensor] = {}
    seen = 0
    for number in range(count):
        pause()
        index = number * len(images) // count
        try:
            tensor = engine.preprocess.tensor(images.picture_as(index, engine.preprocess.form))
        except BadImage:
            continue
        values = engine.network.values(tensor[None].to(engine.network.device), layers)
        for name, value in values.items():
            mean = value[0].double().flatten(1).mean(1) if value.dim() > 2 else value[0].double()
            sums[name] = sums[name] + mean if name in sums else mean
        seen += 1
    if not seen:
        raise BadOption(f"none of the images tried of {images.spec} can be read: put zero")
    return {name: total / seen for name, total in sums.items()}
