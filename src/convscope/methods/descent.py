"""The walk down: signals at some units carried to the pixels, by a method's rules.

Two ways, one result. Over whole maps, for any network and any rules; and over the units' receptive
cones, where every signal is a window as small as what its unit sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import UnsupportedOp
from convscope.methods.rules import Rules, gate_by_input, rectify, skip
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.local.receptive_windows import (
    ReceptiveWindows,
    SavedActivations,
    receptive_windows_of,
)
from convscope.network.node import Node, WindowRule
from convscope.network.trace import Trace

__all__ = [
    "Start",
    "cone_for",
    "crops_pay",
    "descend",
    "descend_from",
    "descend_in_windows",
    "descend_to",
    "group_size",
]

MEMORY = 16 * 2**20
"""Bytes that the signals of one group of units may take at one layer: more fall out of the
caches."""
LARGEST_GROUP = 64
"""Units that go down together at most."""
WORTH_WINDOWS = 0.85
"""Windows are used where they hold at most this share of the values of the whole maps."""


@dataclass(frozen=True, eq=False)
class Start:
    """Units of one layer, and the signal that each starts with.

    Attributes:
        layer: The layer.
        channels: The channel of each unit.
        positions: The (row, column) of each unit on the layer's grid.
        values: The signal of each unit.

    Shape:
        channels: (U,). positions: (U, 2), int64. values: (U,).
    """

    layer: str
    channels: Tensor
    positions: Tensor
    values: Tensor

    def __len__(self) -> int:
        return len(self.channels)

    def __getitem__(self, part: slice) -> Start:
        return Start(self.layer, self.channels[part], self.positions[part], self.values[part])

    def alone(self, channels: int) -> Tensor:
        """Each value in its channel of one position, (U, C, 1, 1)."""
        start = self.values.new_zeros((len(self), channels, 1, 1))
        start[torch.arange(len(self), device=start.device), self.channels, 0, 0] = self.values
        return start

    def on_map(self, shape: tuple[int, ...]) -> Tensor:
        """The layer (U, *shape) with all else set to zero."""
        start = self.values.new_zeros((len(self), *shape))
        rows = torch.arange(len(self), device=start.device)
        place = (self.positions[:, 0], self.positions[:, 1]) if len(shape) == 3 else ()
        start[(rows, self.channels, *place)] = self.values
        return start


def cone_for(network: Graph, layer: str, rules: Rules) -> ReceptiveWindows | None:
    """Return the receptive cone to go down in; None where it costs less to take whole maps.

    Some networks and rules always need whole maps.

    Args:
        network: The network that the layer belongs to.
        layer: The layer whose units are projected.
        rules: The method of projection; it has to have a rule for windows at every node below.
    """
    cone = receptive_windows_of(network, layer)
    if cone is None or cone.share() > WORTH_WINDOWS:
        return None
    return cone if all(rules.on_window(node) is not None for node in cone.nodes) else None


def crops_pay(network: Graph, units: Mapping[str, int], images: int, rules: Rules) -> bool:
    """Whether running each unit's own crop costs less than running the images they are seen in.

    Args:
        network: The network that the units belong to.
        units: How many units of each layer are projected, by the layer's name.
        images: How many different images the units are seen in.
        rules: The method of projection.
    """
    crops = 0
    for layer, count in units.items():
        cone = cone_for(network, layer, rules)
        if cone is None:
            return False
        top = next((node for node in reversed(cone.nodes) if rules.looks(node)), None)
        crops += count * cone.cost(top.inputs[0]) if top and top.inputs[0] != INPUT else 0
    whole = sum(node.cost * _area(node.shape) for node in network.below(units))
    return crops < images * whole


def group_size(network: Graph, layer: str, cone: ReceptiveWindows | None) -> int:
    """Count how many units of a layer go down together within the memory budget.

    Args:
        network: The network that the layer belongs to.
        layer: The layer whose units are projected.
        cone: The receptive cone that they go down in; None: over whole maps.
    """
    sizes = [
        (shape[0] if shape else 1)
        * (cone.size(name)[0] * cone.size(name)[1] if cone else _area(shape))
        for node in network.below([layer])
        for name, shape in zip((node.name, *node.inputs), (node.shape, *node.below), strict=True)
    ]
    return max(1, min(LARGEST_GROUP, MEMORY // (4 * max(sizes))))


def descend(trace: Trace, start: Start, images: Tensor, rules: Rules) -> Tensor:
    """Carry signals down to the pixels over whole maps.

    Args:
        trace: The forward pass that the units were seen in.
        start: The units, and their signals.
        images: The row of the trace that each unit was seen in.
        rules: The method of projection.

    Shape:
        images: (U,). The result: (U, C, H, W), in pixels.
    """
    on_map = start.on_map(trace.network.layer(start.layer).shape)
    return descend_from(trace, {start.layer: on_map}, images, rules)


def descend_from(
    trace: Trace, signals: Mapping[str, Tensor], images: Tensor, rules: Rules
) -> Tensor:
    """Carry signals that start at whole layers down to the pixels, together.

    Args:
        trace: The forward pass that the images were seen in.
        signals: The signal at each layer where one starts.
        images: The row of the trace of each signal.
        rules: The method of projection.

    Shape:
        signals: (U, *shape) of its layer. images: (U,). The result: (U, C, H, W), in pixels.
    """
    pixels = descend_to(trace, signals, images, rules, INPUT)
    assert pixels is not None  # every network reads its image
    return pixels * trace[INPUT][images] if rules.times_image else pixels


def descend_to(
    trace: Trace, signals: Mapping[str, Tensor], images: Tensor, rules: Rules, layer: str
) -> Tensor | None:
    """Carry signals that start at whole layers down to another layer.

    Args:
        trace, signals, images, rules: As of `descend_from`.
        layer: Where they are to arrive.

    Returns:
        The signal there; None where nothing arrives, as what starts does not depend on it.

    Shape:
        The result: (U, *shape) of the layer.
    """
    network, signals = trace.network, dict(signals)
    whole = images.equal(torch.arange(len(trace[INPUT]), device=images.device))
    rows = None if whole else images  # then nothing needs to be copied
    for node in reversed(network.below(signals)):
        if node.name == layer:
            break
        saved = _SavedRows(trace, node, rows)
        parts = rules[node](node, signals.pop(node.name), saved)
        for below, part in zip(node.inputs, parts, strict=True):
            signals[below] = signals[below] + part if below in signals else part
    return signals.get(layer)


def descend_in_windows(
    seen: SavedActivations, start: Start, rules: Rules, scratch: dict[str, Tensor] | None = None
) -> Tensor:
    """Carry signals down to the pixels in windows: each unit's receptive field, and no more.

    Args:
        seen: What the forward pass saved in the units' windows.
        start: The units, and their signals.
        rules: The method of projection.
        scratch: Memory for the unpooled maps, used by one group of units after the other.

    Shape:
        The result: (U, C, h, w), zero where a receptive field lies outside the image.

    Raises:
        UnsupportedOp: The rules have none for windows at some node; `cone_for` finds out before.
    """
    cone = seen.cone
    signals = {start.layer: start.alone(cone.network.layer(start.layer).channels)}
    alone = {start.layer}  # where each signal is still its unit's one value
    ours: set[str] = set()  # signals in memory that nothing else reads
    for node in reversed(cone.nodes):
        signal = signals.pop(node.name)
        if node.name in ours and rules[node] is rectify:
            parts: tuple[Tensor, ...] = (signal.relu_(),)
        else:
            channels = start.channels if node.name in alone else None
            kept = None if INPUT in node.inputs else scratch  # pixels are given out
            parts = _rule(node, rules)(node, signal, seen.at(node, channels, kept))
        for edge, part in zip(cone.edges[node.name], parts, strict=True):
            if node.pointwise and rules.looks(node) and rules[node] is not gate_by_input:
                # outside the image there is no value, where a derivative may be infinite
                mask = cone.inside_part(edge, seen.positions)
                part = part if mask is None else part.masked_fill(~mask, 0)
            elif not (node.pointwise or node.op.stays_inside):
                mask = cone.inside_part(edge, seen.positions)
                part = part if mask is None else part * mask
            if edge.below in signals:
                alone.discard(edge.below)
            elif not node.pointwise and (part is not signal or node.name in ours):
                ours.add(edge.below)
            elif node.name in alone and _keeps_channels(node, rules):
                alone.add(edge.below)
            signals[edge.below] = cone.join(signals.get(edge.below), edge, part, seen.positions)
    pixels = signals[INPUT]
    return pixels * seen.window(INPUT) if rules.times_image else pixels


def _rule(node: Node, rules: Rules) -> WindowRule:
    """The rule for a node on windows; `cone_for` has taken whole maps where there is none."""
    rule = rules.on_window(node)
    if rule is None:
        raise UnsupportedOp(
            f"{rules.name} has no rule for {node.kind} on windows (layer {node.name!r})"
        )
    return rule


def _keeps_channels(node: Node, rules: Rules) -> bool:
    """Whether a signal in one channel stays alone there."""
    same_shape = all(below == node.shape for below in node.below)
    return (node.op.elementwise and same_shape) or rules[node] is skip


def _area(shape: tuple[int, ...]) -> int:
    return torch.Size(shape[1:]).numel()


@dataclass(frozen=True)
class _SavedRows:
    """What the forward pass saved at one node, a row per signal; without rows, one per image."""

    trace: Trace
    node: Node
    rows: Tensor | None

    def input(self, index: int = 0) -> Tensor:
        return self._rows(self.trace[self.node.inputs[index]])

    def output(self) -> Tensor:
        return self._rows(self.trace[self.node.name])

    def switches(self) -> Tensor:
        return self._rows(self.trace.switches(self.node.name))

    def _rows(self, saved: Tensor) -> Tensor:
        return saved if self.rows is None else saved[self.rows]

    def reference(self, index: int = 0) -> Tensor:
        return self.trace.reference[self.node.inputs[index]]

    def reference_output(self) -> Tensor:
        return self.trace.reference[self.node.name]
