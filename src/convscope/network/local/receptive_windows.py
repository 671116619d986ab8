"""A unit's receptive cone: the window of every layer below that the unit can see.

A unit of a layer reads, at each layer below, one window, and the windows of all units of the layer
are made equally large. So signals of many units, of any images, go down together as equal-size
windows, and a crop of the image as large as the receptive field is enough to compute what the unit
saw. Where a window lies is counted for each position of the layer's grid (`geometry.window` and
`geometry.table` say what an operation reads), so that up-sampling, mirrored borders or a roll keep
their windows: these need not move with the unit by whole steps.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope.geometry.box import Box
from convscope.geometry.table import Reach, windows_below
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.node import Node, SavedWindows
from convscope.network.ops.pooling import max_pool_switches, switch_places
from convscope.network.place import Corner, Place, rewindow
from convscope.network.trace import Trace

__all__ = ["ReceptiveWindows", "SavedActivations", "SavedInCrops", "SavedInMaps"]

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class _Axis:
    """Windows along one axis, one per position of the layer: all of one size.

    Attributes:
        first: The first index of each.
        size: How many indices each has.

    Shape:
        first: (positions,), int64.
    """

    first: Array
    size: int

    def below(self, reach: Reach) -> _Axis:
        """What these windows read of the layer below."""
        return _Axis(*windows_below(reach, self.first, self.size))

    def hull(self, other: _Axis) -> _Axis:
        """Windows that hold both."""
        first = np.minimum(self.first, other.first)
        last = np.maximum(self.first + self.size, other.first + other.size)
        return _Axis(first, int((last - first).max()))


Axes = tuple[_Axis, _Axis]


@dataclass(frozen=True, eq=False)
class _Edge:
    """The way from a node down to one of its inputs, in windows.

    Attributes:
        below: The name of the input.
        axes: The windows of the input that the node's windows read.
        part: (top, left, height, width) of these within the input's own windows, where they are
            the same for every unit; else None.
    """

    below: str
    axes: Axes
    part: tuple[int, int, int, int] | None

    @property
    def size(self) -> tuple[int, int]:
        return self.axes[0].size, self.axes[1].size


@dataclass(frozen=True, eq=False)
class _Masks:
    """Which values of some units' windows lie in the maps, by layer."""

    positions: Tensor
    masks: dict[str, Tensor | None]


class ReceptiveWindows:
    """The windows below one layer that all its units have in common. Made by `ReceptiveWindows.of`.

    Attributes:
        network: The network.
        layer: The layer.
        axes: The windows along rows and along columns for every node below (and "input"), one for
            each position of the layer's grid.
    """

    def __init__(self, network: Graph, layer: str, axes: Mapping[str, Axes]) -> None:
        self.network = network
        self.layer = layer
        self.axes = axes
        self.nodes = network.below([layer])
        self.extent = {INPUT: network.input_shape[-2:]}
        self.extent.update({node.name: network.layer(node.name).grid for node in self.nodes})
        self.edges = {node.name: self._edges(node) for node in self.nodes}
        self._last = _Masks(torch.empty(0), {})

    @classmethod
    def of(cls, network: Graph, layer: str) -> ReceptiveWindows | None:
        """Find a layer's cone; None where some layer below does not run on windows.

        Args:
            network: The network.
            layer: The layer.
        """
        grid = network.layer(layer).grid
        rows, columns = (_Axis(np.arange(n), 1) for n in grid)
        axes: dict[str, Axes] = {layer: (rows, columns)}
        for node in reversed(network.below([layer])):
            if not node.on_windows:
                return None
            for reaches, below in zip(node.reaches, node.inputs, strict=True):
                seen = _below(axes[node.name], reaches)
                if below in axes:
                    (rows, columns), (other, across) = seen, axes[below]
                    seen = rows.hull(other), columns.hull(across)
                axes[below] = seen
        return cls(network, layer, axes)

    def _edges(self, node: Node) -> tuple[_Edge, ...]:
        edges = []
        for reaches, below in zip(node.reaches, node.inputs, strict=True):
            seen = _below(self.axes[node.name], reaches)
            shifts = [
                axis.first - hull.first for axis, hull in zip(seen, self.axes[below], strict=True)
            ]
            part = None
            if all((shift == shift[0]).all() for shift in shifts):
                part = (int(shifts[0][0]), int(shifts[1][0]), seen[0].size, seen[1].size)
            edges.append(_Edge(below, seen, part))
        return tuple(edges)

    def size(self, name: str) -> tuple[int, int]:
        rows, columns = self.axes[name]
        return rows.size, columns.size

    def share(self) -> float:
        """Values in the cone's windows, as a share of those in the whole maps below."""
        inside = whole = 0
        for node in self.nodes:
            height, width = self.size(node.name)
            rows, columns = self.extent[node.name]
            inside += node.shape[0] * height * width
            whole += node.shape[0] * rows * columns
        return inside / whole

    def cost(self, name: str | None = None) -> int:
        """Count the multiply-adds up to a layer, per unit.

        Args:
            name: The layer; by default the cone's own.
        """
        nodes = self.nodes if name is None else self.network.below([name])
        return sum(node.cost * math.prod(self.size(node.name)) for node in nodes)

    def first(self, name: str, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Compute where the windows of some units start in a layer.

        Args:
            name: The layer below.
            positions: The units, on the cone's own layer.

        Shape:
            positions: (U, 2). The result: rows (U,), columns (U,).
        """
        return _first(self.axes[name], positions)

    def place(self, node: Node, positions: Tensor) -> Place:
        """Where a node's windows lie, and what they read."""
        edges = self.edges[node.name]
        return Place(
            self.first(node.name, positions),
            self.size(node.name),
            tuple(_first(edge.axes, positions) for edge in edges),
            tuple(edge.size for edge in edges),
        )

    def inside(self, name: str, positions: Tensor) -> Tensor | None:
        """Tell which values of some units' windows lie in the map; None where all do.

        Args:
            name: The layer below.
            positions: The units, on the cone's own layer.

        Shape:
            positions: (U, 2), not to be written to. The result: (U, 1, h, w), bool.
        """
        last = self._last  # a walk asks for the same units' masks again and again
        if last.positions is not positions:
            self._last = last = _Masks(positions, {})
        if name not in last.masks:
            last.masks[name] = self._inside(name, positions)
        return last.masks[name]

    def _inside(self, name: str, positions: Tensor) -> Tensor | None:
        masks: list[Tensor | None] = []
        for first, size, extent in zip(
            self.first(name, positions), self.size(name), self.extent[name], strict=True
        ):
            if bool((first >= 0).all()) and bool((first + size <= extent).all()):
                masks.append(None)
                continue
            index = first[:, None] + torch.arange(size, device=first.device)
            masks.append((index >= 0) & (index < extent))
        rows, columns = masks
        if rows is None and columns is None:
            return None
        height, width = self.size(name)
        everywhere = positions.new_ones(len(positions), 1, dtype=torch.bool)
        rows = everywhere.expand(-1, height) if rows is None else rows
        columns = everywhere.expand(-1, width) if columns is None else columns
        return (rows[:, :, None] & columns[:, None, :])[:, None]

    def inside_part(self, edge: _Edge, positions: Tensor) -> Tensor | None:
        """`inside`, for the region of the input's window that an edge leads to."""
        mask = self.inside(edge.below, positions)
        return None if mask is None else self.cut(mask, edge, positions)

    def cut(self, value: Tensor, edge: _Edge, positions: Tensor) -> Tensor:
        """The region of the input's windows that an edge leads to."""
        if edge.part is not None:
            return _cut(value, edge.part)
        at, to = self.first(edge.below, positions), _first(edge.axes, positions)
        return rewindow(value, at, to, edge.size)

    def boxes(self, positions: Tensor) -> list[Box]:
        """The receptive fields of units, in image pixels, not clipped."""
        height, width = self.size(INPUT)
        rows, columns = self.first(INPUT, positions)
        return [
            Box(top, left, top + height, left + width)
            for top, left in zip(rows.tolist(), columns.tolist(), strict=True)
        ]

    def join(self, signal: Tensor | None, edge: _Edge, part: Tensor, positions: Tensor) -> Tensor:
        """Add what an edge brings to the signal of the input's whole window."""
        size = self.size(edge.below)
        if edge.part is None:
            at, to = _first(edge.axes, positions), self.first(edge.below, positions)
            part = rewindow(part, at, to, size)
        if part.shape[-2:] == size:
            return part if signal is None else signal + part
        assert edge.part is not None
        # a copy, because a sum brings the same memory to both of its inputs
        joined = part.new_zeros((*part.shape[:2], *size)) if signal is None else signal.clone()
        _cut(joined, edge.part).add_(part)
        return joined

    def take(self, values: Tensor, name: str, images: Tensor, positions: Tensor) -> Tensor:
        """Cut windows (U, C, h, w) out of a layer's maps (N, C, H, W), zero outside the map."""
        at = []
        for first, size, extent in zip(
            self.first(name, positions), self.size(name), self.extent[name], strict=True
        ):
            index = first[:, None] + torch.arange(size, device=first.device)
            at.append(index.clamp(0, extent - 1))
        rows, columns = at
        maps = values.permute(0, 2, 3, 1)
        windows = maps[images[:, None, None], rows[:, :, None], columns[:, None, :]]
        windows = windows.permute(0, 3, 1, 2)
        mask = self.inside(name, positions)
        return windows if mask is None else _within(windows, mask)

    def run(self, name: str, values: dict[str, Tensor], positions: Tensor) -> None:
        """Go on from the windows in `values` up to a layer; those of the image must be there.

        The results are those of the whole forward pass, cut out, and zero outside the maps. What
        lies below the windows that are there is not run.
        """
        for node in self._missing(name, values):
            patches = [self.patch(node, i, values, positions) for i in range(len(node.inputs))]
            place = self.place(node, positions) if node.placed else None
            value = node.forward_on_window(*patches, place=place)
            mask = self.inside(node.name, positions)
            values[node.name] = value if mask is None else _within(value, mask)

    def _missing(self, name: str, values: Mapping[str, Tensor]) -> list[Node]:
        """The nodes that have to run for a layer's windows, in order."""
        needed, todo = set(), [name]
        while todo:
            one = todo.pop()
            if one not in needed and one not in values:
                needed.add(one)
                todo += self.network.nodes[one].inputs
        return [node for node in self.nodes if node.name in needed]

    def frontier(self, worth: float) -> tuple[str, ...]:
        """Where to go from whole maps to windows: layers, and "input", whose maps are cut.

        Args:
            worth: Windows are worth it from where they hold at most this share of the map on.
        """
        whole: set[str] = set()
        for node in reversed(self.nodes):
            inside = math.prod(self.size(node.name)) / math.prod(self.extent[node.name])
            if node.name in whole or inside > worth:
                whole |= {node.name, *node.inputs}
        cut = [
            below
            for node in self.nodes if node.name not in whole
            for below in node.inputs if below in whole or below == INPUT
        ]  # fmt: skip
        return tuple(dict.fromkeys(cut)) or (self.layer,)

    def patch(
        self, node: Node, index: int, values: Mapping[str, Tensor], positions: Tensor
    ) -> Tensor:
        """What a node's windows read from one input, the op's border outside the map."""
        edge = self.edges[node.name][index]
        value = values[edge.below]
        if node.op.border:
            mask = self.inside(edge.below, positions)
            if mask is not None:
                value = torch.where(mask, value, node.op.border)
        return self.cut(value, edge, positions)


def _within(value: Tensor, mask: Tensor) -> Tensor:
    """The value inside the map, and zero, or False, of its own type, outside."""
    return torch.where(mask, value, value.new_zeros(()))


def receptive_windows_of(network: Graph, layer: str) -> ReceptiveWindows | None:
    """`ReceptiveWindows.of`, worked out once for each layer of a network."""
    name = network.layer(layer).name
    return network.cached(("cone", name), lambda: ReceptiveWindows.of(network, name))


class SavedActivations(ABC):
    """What units saw of the layers below them, in windows (U, C, h, w), zero outside the maps."""

    def __init__(self, cone: ReceptiveWindows, positions: Tensor) -> None:
        self.cone = cone
        self.positions = positions

    @abstractmethod
    def window(self, name: str) -> Tensor:
        """A layer's values in each unit's window."""

    @abstractmethod
    def places(self, node: Node) -> Tensor:
        """Which place of each pooling region held its maximum, uint8, counted by rows."""

    def at(
        self, node: Node, channels: Tensor | None = None, scratch: dict[str, Tensor] | None = None
    ) -> SavedWindows:
        """What was saved at one node, as its rule asks for it. See `SavedWindows`."""
        return _SeenAt(self, node, channels, {} if scratch is None else scratch)


class SavedInMaps(SavedActivations):
    """Windows cut out of the maps of a whole forward pass.

    Attributes:
        trace: The forward pass.
        images: The row of the trace that each unit is seen in.

    Shape:
        images: (U,).
    """

    def __init__(
        self, cone: ReceptiveWindows, positions: Tensor, trace: Trace, images: Tensor
    ) -> None:
        super().__init__(cone, positions)
        self.trace, self.images = trace, images

    def window(self, name: str) -> Tensor:
        return self.cone.take(self.trace[name], name, self.images, self.positions)

    def places(self, node: Node) -> Tensor:
        return self.cone.take(self.trace.places(node.name), node.name, self.images, self.positions)


class SavedInCrops(SavedActivations):
    """Computed from crops (U, C, h, w) of the images, as large as the receptive field."""

    def __init__(self, cone: ReceptiveWindows, positions: Tensor, crops: Tensor) -> None:
        super().__init__(cone, positions)
        self._values = {INPUT: crops}

    def window(self, name: str) -> Tensor:
        if name not in self._values:
            self.cone.run(name, self._values, self.positions)
        return self._values[name]

    def places(self, node: Node) -> Tensor:
        self.window(node.inputs[0])
        patch = self.cone.patch(node, 0, self._values, self.positions)
        return switch_places(node, max_pool_switches(node, patch, on_window=True), patch.shape[-1])


@dataclass(frozen=True)
class _SeenAt:
    """`SavedWindows`: a node's own region of each input."""

    seen: SavedActivations
    node: Node
    channels: Tensor | None
    scratch: dict[str, Tensor]

    def input(self, index: int = 0) -> Tensor:
        edge = self.seen.cone.edges[self.node.name][index]
        return self.seen.cone.cut(self.seen.window(edge.below), edge, self.seen.positions)

    @property
    def place(self) -> Place:
        return self.seen.cone.place(self.node, self.seen.positions)

    def output(self) -> Tensor:
        return self.seen.window(self.node.name)

    def switches(self) -> Tensor:
        return self.seen.places(self.node)


# --- pieces ---------------------------------------------------------------------------------------


def _below(axes: Axes, reaches: tuple[Reach, Reach]) -> Axes:
    rows, columns = (axis.below(reach) for axis, reach in zip(axes, reaches, strict=True))
    return rows, columns


def _first(axes: Axes, positions: Tensor) -> Corner:
    rows, columns = (
        torch.from_numpy(axis.first).to(positions.device)[positions[:, a]]
        for a, axis in enumerate(axes)
    )
    return rows, columns


def _cut(value: Tensor, part: tuple[int, int, int, int]) -> Tensor:
    top, left, height, width = part
    return value[..., top : top + height, left : left + width]
