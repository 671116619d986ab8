"""A network of a library that takes as many channels as a file's weights do.

People feed a library's network with grey pictures or with the bands of a satellite, and replace its
first convolution by one with as many input channels.
"""

from __future__ import annotations

from torch import nn

from convscope.errors import BadCheckpoint
from convscope.models.heads import Make
from convscope.models.weights import Weights

__all__ = ["with_stem_of"]

RGB = 3


def with_stem_of(make: Make, weights: Weights, module: nn.Module) -> tuple[Make, int]:
    """How to build a network that takes as many channels as the weights do.

    Args:
        make: builds the library's network.
        weights: that will fill it.
        module: one that it has built, whose numbers are not looked at.

    Returns:
        What builds it, and how many channels it takes.

    Raises:
        BadCheckpoint: its first layers take different numbers of channels there.

    Example:
        >>> make, channels = with_stem_of(make, read_weights("grey.pth"), make(None))
    """
    counts = {}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == RGB and layer.groups == 1:
            found = [s for s in _shapes_of(f"{name}.weight", weights) if _fits(s, layer)]
            counts[name] = found[0][1] if found else RGB
    others = {name: count for name, count in counts.items() if count != RGB}
    if not others:
        return make, RGB
    if len({*others.values()}) > 1:
        said = ", ".join(f"{name} {count}" for name, count in others.items())
        raise BadCheckpoint(
            f"{weights.path}: its first layers take different numbers of channels ({said}): build "
            "the network in a factory, package.module:factory"
        )
    channels = next(iter(others.values()))

    def made(classes: int | None) -> nn.Module:
        network = make(classes)
        for name in others:
            _widen(network.get_submodule(name), channels)
        return network

    return made, channels


def _shapes_of(name: str, weights: Weights) -> set[tuple[int, ...]]:
    """The shapes of a parameter in a file, whatever stands before its name."""
    return {
        tuple(leaf.shape)
        for reading in weights.readings.values()
        for key, leaf in reading.items()
        if (key == name or key.endswith(f".{name}")) and leaf.shape is not None
    }


def _fits(shape: tuple[int, ...], layer: nn.Conv2d) -> bool:
    """Whether it is a filter bank of that layer, but for the number of channels."""
    ours = tuple(layer.weight.shape)
    return len(shape) == len(ours) and shape[:1] + shape[2:] == ours[:1] + ours[2:]


def _widen(layer: nn.Module, channels: int) -> None:
    """Let a convolution take another number of channels; its numbers are still to be filled in."""
    assert isinstance(layer, nn.Conv2d)
    weight = layer.weight
    layer.in_channels = channels
    layer.weight = nn.Parameter(weight.new_zeros(weight.shape[0], channels, *weight.shape[2:]))
