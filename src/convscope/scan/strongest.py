"""The observer behind an atlas: every feature map keeps the images that excite it most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from convscope.errors import BadOption
from convscope.images.batches import Batch
from convscope.network.network import Network
from convscope.scan.engine import Scan
from convscope.scan.observer import Observer
from convscope.scan.topk import TopK, merge

__all__ = ["Strongest", "Tables", "as_maps", "layers_with_maps", "strongest"]


class Tables(Observer):
    """Observes something of which feature maps keep the images that have most of it.

    Args:
        channels: name of a table -> how many feature maps it has.
        top: K, how many images each feature map keeps.
        device: of the tables.

    Attributes:
        tables: by name.
    """

    def __init__(self, channels: Mapping[str, int], top: int, device: torch.device) -> None:
        self.channels, self.top, self.device = dict(channels), top, device
        self.tables = self._empty()

    def part(self) -> dict[str, TopK]:
        part = {layer: table.to("cpu") for layer, table in self.tables.items()}
        self.tables = self._empty()
        return part

    def take(self, parts: Sequence[dict[str, TopK]]) -> None:
        for layer in self.tables:
            whole = reduce(merge, (part[layer] for part in parts))
            self.tables[layer] = whole.to(self.device)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{number}/{name}": tensor
            for number, table in enumerate(self.tables.values())
            for name, tensor in table.tensors().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for number, layer in enumerate(self.tables):
            own = {
                name.removeprefix(f"{number}/"): tensor
                for name, tensor in state.items()
                if name.startswith(f"{number}/")
            }
            self.tables[layer] = TopK.from_tensors(own).to(self.device)

    def _empty(self) -> dict[str, TopK]:
        return {name: TopK.empty(n, self.top, self.device) for name, n in self.channels.items()}


class Strongest(Tables):
    """Observes the strongest activations of each feature map, at most one per image.

    Args:
        network: on the device that is used.
        activations: layer -> the layer whose value is its activation.
        top: K, how many images each feature map keeps.

    Attributes:
        tables: a table by layer, on the network's device.
    """

    def __init__(self, network: Network, activations: Mapping[str, str], top: int) -> None:
        channels = {name: network.layer(at).channels for name, at in activations.items()}
        super().__init__(channels, top, network.device)
        self.network = network
        self._layers_at: dict[str, list[str]] = {}  # by activation
        for layer, activation in activations.items():
            self._layers_at.setdefault(activation, []).append(layer)
        self._pools = _pools(network, self._layers_at)
        self._waiting: dict[str, Tensor] = {}  # maps whose maxima their pool will show

    @property
    def layers(self) -> Collection[str]:
        return (*self._layers_at, *self._pools)

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        if layer in self._layers_at:
            if layer in self._pools.values():
                self._waiting[layer] = value
            else:
                peak = value.amax((2, 3)) if _rectified(self.network, layer) else None
                self._compete(layer, as_maps(value), batch, peak)
        if layer in self._pools:
            below = self._pools[layer]
            self._compete(below, self._waiting.pop(below), batch, value.amax((2, 3)))

    def _compete(self, activation: str, maps: Tensor, batch: Batch, peak: Tensor | None) -> None:
        for layer in self._layers_at[activation]:
            self.tables[layer].update(maps, batch.indices, peak)


def strongest(scan: Scan, activations: Mapping[str, str], top: int) -> dict[str, TopK]:
    """Find the strongest activations in one go: nothing is kept on the way.

    Args:
        scan: the network, and the images.
        activations: layer -> the layer whose value is its activation.
        top: how many images each feature map keeps.

    Returns:
        A table by layer, on the CPU. Images that cannot be read are left out.

    Example:
        >>> scan = Scan(network, images, preprocess)
        >>> strongest(scan, {"conv5": "relu5"}, 9)["conv5"].image
    """
    observer = Strongest(scan.network, activations, top)
    scan.run(observer)
    return {layer: table.to("cpu") for layer, table in observer.tables.items()}


def layers_with_maps(network: Network, asked: Iterable[str] | None) -> tuple[str, ...]:
    """The layers that are asked for, in the network's order.

    Args:
        network: that has them.
        asked: their names; None is every convolutional layer, of all outputs.

    Raises:
        BadOption: there are none, or one has no feature maps.
        NoSuchLayer: with the nearest names.
    """
    wanted = set(network.conv_layers(all_outputs=True) if asked is None else asked)
    if not wanted:
        raise BadOption("there are no layers to look at; name some that have feature maps")
    for name in wanted:
        network.feature_layer(name)
        shape = network.layer(network.activation(name)).shape
        if len(shape) not in (1, 3):
            raise BadOption(
                f"layer {name} has values of shape {tuple(shape)}, not feature maps (C, H, W); "
                f"leave it out"
            )
    return tuple(layer.name for layer in network.layers if layer.name in wanted)


def as_maps(value: Tensor) -> Tensor:
    """A layer's value as feature maps; a layer without a grid has one position.

    Shape:
        (N, C, H, W) as it is; (N, C) -> (N, C, 1, 1).
    """
    return value if value.ndim == 4 else value.reshape(*value.shape[:2], 1, 1)


def _pools(network: Network, activations: Iterable[str]) -> dict[str, str]:
    """Max-pools that are run anyway and whose maxima are those of a rectified activation below.

    They hold a fraction of its values, so that the search for each map's maximum costs less.
    """
    wanted = set(activations)
    pools = {
        node.inputs[0]: node.name  # one of several
        for node in network.below(wanted)
        if node.op.keeps_maxima(node)
        and node.inputs[0] in wanted
        and _rectified(network, node.inputs[0])
    }
    return {pool: activation for activation, pool in pools.items()}


def _rectified(network: Network, name: str) -> bool:
    """Whether a layer's values are maps without -inf."""
    node = network.nodes[name]
    return node.op.rectifies(node) and len(node.shape) == 3
