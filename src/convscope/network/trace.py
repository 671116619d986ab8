"""One forward pass, with what a downward walk needs: activations and switches."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor

from convscope.display import Brief, brief, html_table
from convscope.errors import BadInput, NonFinite
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.ops.pooling import max_pool_switches, switch_places
from convscope.network.unit import Unit

__all__ = ["Trace"]


class Trace(Brief):
    """Activations of a batch of images at every layer that was run.

    `trace["conv3"]` is a tensor. Switches are worked out when a projection first asks for them.

    Example:
        >>> trace = network.trace(image)
        >>> trace["conv1"].shape
        torch.Size([1, 4, 32, 32])
    """

    def __init__(self, network: Graph, values: dict[str, Tensor]) -> None:
        self.network = network
        self._values = values
        self._switches: dict[str, Tensor] = {}
        self._places: dict[str, Tensor] = {}

    @classmethod
    def record(cls, network: Graph, images: Tensor, layers: Iterable[str] | None = None) -> Trace:
        """Run a forward pass; `Network.trace` says how.

        Args:
            network: The network.
            images: The images, preprocessed.
            layers: Run no further than these.
        """
        names = [network.output] if layers is None else [network.layer(n).name for n in layers]
        images = network.check_images(images).contiguous(memory_format=torch.channels_last)
        trace = cls(network, {INPUT: images})
        trace._run(names)
        return trace

    @torch.no_grad()
    def _run(self, names: Iterable[str]) -> None:
        for node in self.network.below(names):
            if node.name not in self._values:
                below = (self._values[name] for name in node.inputs)
                self._values[node.name] = node.forward(*below)

    @cached_property
    def reference(self) -> Trace:
        """A pass of the reference image: zeros, which is what preprocessing takes off."""
        return Trace.record(self.network, torch.zeros_like(self[INPUT][:1]), [])

    def under(self, network: Graph, changed: Iterable[str]) -> Trace:
        """The same images in a network that differs in the weights of some layers alone.

        Args:
            network: the other network, as `Graph.with_tensors` gives it.
            changed: its layers that differ. What does not depend on them is not run again.
        """
        return self._without(changed, network)

    def rows(self, rows: Tensor, layer: str | None = None) -> Trace:
        """Some of the images, with what is known of them.

        Args:
            rows: int64, of the images.
            layer: what is not below this layer is left out.
        """
        below = self.network.nodes.values() if layer is None else self.network.below([layer])
        kept = {INPUT, *(node.name for node in below)}
        other = Trace(self.network, _rows(self._values, kept, rows))
        other._switches = _rows(self._switches, kept, rows)
        other._places = _rows(self._places, kept, rows)
        return other

    def replaced(self, layer: str, values: Tensor) -> Trace:
        """The same images with other values at one layer: what is above it follows from those.

        Args:
            layer: its name; nothing below it is run again.
            values: instead of its own.

        Raises:
            BadInput: they have another shape.

        Shape:
            values: (N, C, H, W), or (N, C), as `trace[layer]`.
        """
        if values.shape != self[layer].shape:
            found, expected = (tuple(some.shape) for some in (values, self[layer]))
            raise BadInput(f"values of {layer} are {found}: the trace holds {expected}")
        key = self.network.resolve(layer)
        other = self._without([key], self.network)
        other._values[key] = values
        return other

    def _without(self, changed: Iterable[str], network: Graph) -> Trace:
        """What is known without some layers, and all that depends on them."""
        touched = set(changed)
        for node in self.network.nodes.values():
            if touched & set(node.inputs):
                touched.add(node.name)
        other = Trace(network, {n: v for n, v in self._values.items() if n not in touched})
        other._switches = {n: v for n, v in self._switches.items() if n not in touched}
        other._places = {n: v for n, v in self._places.items() if n not in touched}
        return other

    def __len__(self) -> int:
        """Number of images."""
        return len(self._values[INPUT])

    def __repr__(self) -> str:
        count = f"{len(self)} image{'' if len(self) == 1 else 's'}"
        return f"<Trace of {count}, {len(self._values) - 1} of {len(self.network.nodes)} layers>"

    def _repr_html_(self) -> str:
        return html_table(
            ("layer", "values", "smallest", "mean", "largest", "share above 0"),
            (_summary(name, values) for name, values in self._values.items()),
            caption=repr(self).strip("<>"),
        )

    def __contains__(self, layer: str) -> bool:
        return self.network.resolve(layer) in self._values

    def __getitem__(self, layer: str) -> Tensor:
        """Return the values of a layer, or of the images for "input".

        Where the pass stopped below the layer, it goes on from there.

        Args:
            layer: The layer's name.

        Shape:
            The result: (N, C, H, W), or (N, C).

        Raises:
            NoSuchLayer: The network has no such layer.
        """
        key = self.network.resolve(layer)
        if key not in self._values:
            self._run([self.network.layer(key).name])
        return self._values[key]

    def switches(self, layer: str) -> Tensor:
        """Return where each maximum of a max pooling came from.

        Args:
            layer: A max pooling.

        Shape:
            The result: (N, C, H, W), flat indices into the rows x columns below.
        """
        if layer not in self._switches:
            node = self.network.nodes[layer]
            self._switches[layer] = max_pool_switches(node, self[node.inputs[0]])
        return self._switches[layer]

    def places(self, layer: str) -> Tensor:
        """Return the switches as places within their pooling regions, counted by rows.

        Args:
            layer: A max pooling.

        Shape:
            The result: (N, C, H, W), uint8.
        """
        if layer not in self._places:
            node = self.network.nodes[layer]
            flat = self.switches(layer)
            self._places[layer] = switch_places(
                node, flat, node.below[0][-1], node.settings["padding"]
            )
        return self._places[layer]

    def tensors(self) -> list[Tensor]:
        """All that it holds: activations, and switches as far as they were asked for."""
        return [t for held in (self._values, self._switches, self._places) for t in held.values()]

    def strongest_units(self, layer: str, image: int = 0, count: int = 9) -> tuple[Unit, ...]:
        """Find the strongest units of a layer in one image, one of each feature map.

        Args:
            layer: The layer's name.
            image: The row of the trace.
            count: How many at most; of equals, the lowest channel comes first.

        Raises:
            NonFinite: A map holds NaN.

        Example:
            >>> [unit.layer for unit in trace.strongest_units("conv2", count=2)]
            ['conv2', 'conv2']
        """
        values = self[layer][image]
        name = self.network.layer(layer).name
        peaks = values.flatten(1).amax(1) if values.dim() > 1 else values
        order = peaks.sort(descending=True, stable=True).indices[:count].tolist()
        return tuple(self.strongest(self.network.unit(Unit(name, k)), image) for k in order)

    def strongest(self, unit: Unit, image: int) -> Unit:
        """Find a feature map's strongest position in one image; of equals, the first by rows.

        Args:
            unit: The feature map; a unit that has a position is returned as it is.
            image: The row of the trace.

        Raises:
            NonFinite: The map holds NaN.

        Example:
            >>> trace.strongest(convscope.Unit("conv2", 3), 0).position is not None
            True
        """
        if unit.position is not None:
            return unit
        values = self[unit.layer][image, unit.channel]
        if values.dim() == 0:
            return unit
        if torch.isnan(values).any():
            raise NonFinite(f"feature map {unit} holds NaN: check the weights and the image")
        rows = values.reshape(-1, values.shape[-1])
        row, column = divmod(int(rows.argmax()), rows.shape[-1])
        return unit.at(row, column)


def _rows(values: dict[str, Tensor], kept: set[str], rows: Tensor) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in values.items() if name in kept}


def _summary(name: str, values: Tensor) -> tuple[str, ...]:
    """A row of the table of a pass."""
    shown = "input" if name == INPUT else name
    if not values.numel():
        return (shown, brief(values), "", "", "", "")
    floats = values.float()
    numbers = (floats.min(), floats.mean(), floats.max())
    return (
        shown, brief(values).strip("<>"), *(f"{float(each):.4g}" for each in numbers),
        f"{float((floats > 0).float().mean()):.0%}",
    )  # fmt: skip
