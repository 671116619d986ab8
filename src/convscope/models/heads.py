"""A network of a library with the head that a file's weights have.

People replace the last layer: by one with another number of outputs, without a bias, or inside a
`Sequential` behind a dropout. Which parameters belong to the head is found by building the network
for two numbers of classes, without memory, and looking at what differs.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from convscope.errors import BadCheckpoint
from convscope.models.fitting import Match, Wanted, wanted_by
from convscope.models.weights import Weights, load_weights

__all__ = ["Make", "build_for", "skeleton"]

Make = Callable[[int | None], nn.Module]
"""From a number of classes, None for the usual one, to a network."""

PROBE = 7  # a number of classes that no network has by itself


def build_for(
    make: Make, weights: Weights, name: str, *, spare: tuple[str, ...] = (), headless: bool = False
) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the network that the weights are of, head included, and fill it.

    Args:
        make: builds it.
        weights: that fill it.
        name: of the model, for messages.
        spare: beginnings of names that only serve training.
        headless: whether `make(0)` builds it without a head.

    Returns:
        The network, and what a user should know.

    Raises:
        BadCheckpoint: the weights do not fit with any head.
    """
    usual = replace(wanted_by(skeleton(make, None)), spare=spare)
    probe = wanted_by(skeleton(make, PROBE))
    free = frozenset(k for k, s in usual.shapes.items() if probe.shapes.get(k) != s)
    if match := weights.find(replace(usual, free=free), name):
        classes = _classes(match, usual, probe, free)
        usual_classes = {usual.shapes[key][_axis(key, usual, probe)] for key in free}
        if classes is None or classes in usual_classes:
            return _filled(make(None), weights, name, spare)
        said = f"its head has {_outputs(classes)}, as the weights have"
        return _filled(make(classes), weights, name, spare, said)
    for place in _places(skeleton(make, None), free, weights):
        if match := weights.find(place.wanted(usual, free), name):
            classes = (match.found[f"{place.at}.weight"].shape or (0,))[0]
            module = place.put(make(None), classes)
            said = (
                f"its head is one layer, {place.at}, with {_outputs(classes)}, as the weights say"
            )
            return _filled(module, weights, name, spare, said)
    if headless:
        module = make(0)
        if weights.find(replace(wanted_by(module), spare=spare), name):
            said = "the weights have no head: its output are the features below"
            return _filled(module, weights, name, spare, said)
    try:
        return _filled(make(None), weights, name, spare)  # which says what does not fit
    except BadCheckpoint as error:
        layers = _layers_of_head(free, weights)
        if len(layers) < 2:
            raise
        raise BadCheckpoint(
            f"{error}; its head has the layers {', '.join(layers)} there, and what lies between "
            "them is not in the file: build the network in a factory, package.module:factory"
        ) from None


def _filled(
    module: nn.Module, weights: Weights, name: str, spare: tuple[str, ...], *said: str
) -> tuple[nn.Module, tuple[str, ...]]:
    return module, (*said, *load_weights(module, weights, name=name, spare=spare))


def skeleton(make: Make, classes: int | None) -> nn.Module:
    """The network without memory for its numbers, where it can be made so.

    Args:
        make: builds it.
        classes: how many it tells apart; None is the usual number.
    """
    try:
        with torch.device("meta"):
            return make(classes)
    except Exception:
        return make(classes)


def _axis(key: str, usual: Wanted, probe: Wanted) -> int:
    """Along which axis a parameter of the head counts classes."""
    pairs = zip(usual.shapes[key], probe.shapes.get(key, ()), strict=False)
    return next((axis for axis, (one, other) in enumerate(pairs) if one != other), 0)


def _classes(match: Match, usual: Wanted, probe: Wanted, free: frozenset[str]) -> int | None:
    """How many classes the file's head tells; None where that is not one number."""
    shapes = {key: match.found[key].shape for key in free if key in match.found}
    counts = {shape[_axis(key, usual, probe)] for key, shape in shapes.items() if shape}
    return counts.pop() if len(counts) == 1 else None


def _outputs(classes: int) -> str:
    return f"{classes} output{'' if classes == 1 else 's'}"


@dataclass(frozen=True)
class _Place:
    """Where a file has the one layer of its head.

    Attributes:
        head: the network's own head, a module's name.
        at: the layer's name in the file.
        layer: that the network has there.
        bias: whether the file's has one.
    """

    head: str
    at: str
    layer: nn.Linear | nn.Conv2d
    bias: bool

    def wanted(self, usual: Wanted, free: frozenset[str]) -> Wanted:
        """What the network wants with its head in this place."""
        shapes = {key: shape for key, shape in usual.shapes.items() if key not in free}
        ours = {f"{self.at}.weight": tuple(self.layer.weight.shape)}
        if self.bias:
            ours[f"{self.at}.bias"] = (self.layer.weight.shape[0],)
        return replace(
            usual,
            shapes={**shapes, **ours},
            floating=usual.floating - free | ours.keys(),
            free=frozenset(ours),
        )

    def put(self, module: nn.Module, classes: int) -> nn.Module:
        """Replace the head of a network by such a layer."""
        layer = _like(self.layer, classes, self.bias)
        if self.at.startswith(f"{self.head}."):
            name = self.at.removeprefix(f"{self.head}.")
            module.set_submodule(self.head, nn.Sequential(OrderedDict({name: layer})))
        else:
            module.set_submodule(self.at, layer)
        return module


def _like(layer: nn.Linear | nn.Conv2d, outputs: int, bias: bool) -> nn.Module:
    """A layer of the same kind with another number of outputs."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, outputs, bias)
    size = (layer.kernel_size[0], layer.kernel_size[1])
    return nn.Conv2d(layer.in_channels, outputs, size, bias=bias)


def _places(module: nn.Module, free: frozenset[str], weights: Weights) -> Iterator[_Place]:
    """Where a file may have the head's one layer: there, in a Sequential, or instead of one."""
    head = _head(free)
    layer = module.get_submodule(head) if head else None
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        return
    names = {name for reading in weights.readings.values() for name in reading}
    found = _layers_of_head(free, weights)
    at = [head, *found] if len(found) < 2 else [head]
    above = head.rpartition(".")[0]
    if above and list(module.get_submodule(above).parameters()) == list(layer.parameters()):
        at.append(above)
    for place in at:
        has_bias = any(name == f"{place}.bias" or name.endswith(f".{place}.bias") for name in names)
        yield _Place(head, place, layer, has_bias)


def _head(free: frozenset[str]) -> str:
    """The one layer whose parameters count classes; "" where there are more."""
    heads = {key.rpartition(".")[0] for key in free}
    return heads.pop() if len(heads) == 1 else ""


def _layers_of_head(free: frozenset[str], weights: Weights) -> list[str]:
    """Layers that a file has within the head, such as fc.0 and fc.3."""
    head = _head(free)
    inside = re.compile(rf"(?:^|\.)({re.escape(head)}\.\w+)\.weight$")
    names = {name for reading in weights.readings.values() for name in reading}
    return sorted({match[1] for name in names if (match := inside.search(name))}) if head else []
