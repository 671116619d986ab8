"""The walk down: signals at some units carried to the pixels, by a method's rules.

Two ways, one result. Over whole maps, for any network and any rules; and over the units' receptive
cones, where every signal is a window as small as what its unit sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.methods.rules import RECTIFIERS, Rules, rectify, skip
from convscope.network.cone import Cone, Seen, unpool_places
from convscope.network.exported import Network
from convscope.network.node import Node
from convscope.network.ops.pooling import unpool
from convscope.network.ops.shared import differentiate
from convscope.network.reader import INPUT
from convscope.network.trace import Trace

__all__ = ["Start", "cone_for", "crops_pay", "descend", "descend_in_windows", "group_size", "looks"]

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

    channels (U,), positions (U, 2) int64: (row, column); values (U,)
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


def cone_for(network: Network, layer: str, rules: Rules) -> Cone | None:
    """The cone to go down in, where there is one, the rules can follow it, and it pays."""
    cone = network.cone(layer)
    if cone is None or cone.share() > WORTH_WINDOWS:
        return None
    return cone if all(_follows(node, rules) for node in cone.nodes) else None


def crops_pay(network: Network, units: Mapping[str, int], images: int, rules: Rules) -> bool:
    """Whether running each unit's own crop costs less than running the images they are seen in.

    units : layer -> how many;   images : how many different ones they are seen in
    """
    crops = 0
    for layer, count in units.items():
        cone = cone_for(network, layer, rules)
        if cone is None:
            return False
        top = next((n for n in reversed(cone.nodes) if looks(n, rules)), None)
        crops += count * cone.cost(top.inputs[0]) if top and top.inputs[0] != INPUT else 0
    whole = sum(
        n.tensors["weight"].numel() * _area(n.shape)
        for n in network.below(units)
        if n.kind == "conv"
    )
    return crops < images * whole


def looks(node: Node, rules: Rules) -> bool:
    """Whether a node's rule looks at what the forward pass saved there."""
    if node.kind in rules.table:
        return rules[node] not in (rectify, skip)
    return node.kind == "max_pool" or (node.kind == "mul" and len(node.inputs) == 2)


def group_size(network: Network, layer: str, cone: Cone | None) -> int:
    """How many units of a layer go down together within the memory budget."""
    sizes = [
        shape[0] * (cone.size(name)[0] * cone.size(name)[1] if cone else _area(shape))
        for node in network.below([layer])
        for name, shape in zip((node.name, *node.inputs), (node.shape, *node.below), strict=True)
    ]
    return max(1, min(LARGEST_GROUP, MEMORY // (4 * max(sizes))))


def descend(trace: Trace, start: Start, images: Tensor, rules: Rules) -> Tensor:
    """Carry signals down over whole maps: (U, C, H, W) of pixels.   images (U,) : trace rows."""
    network = trace.network
    signals = {start.layer: start.on_map(network.layer(start.layer).shape)}
    for node in reversed(network.below([start.layer])):
        saved = _SavedRows(trace, node, images)
        parts = rules[node](node, signals.pop(node.name), saved)
        for below, part in zip(node.inputs, parts, strict=True):
            signals[below] = signals[below] + part if below in signals else part
    return signals[INPUT]


def descend_in_windows(
    seen: Seen, start: Start, rules: Rules, scratch: dict[str, Tensor] | None = None
) -> Tensor:
    """Carry signals down in windows: (U, C, h, w), the receptive fields, zero outside the image.

    scratch : memory for the unpooled maps, to be used by one group after the other
    """
    cone = seen.cone
    signals = {start.layer: start.alone(cone.network.layer(start.layer).channels)}
    single = {start.layer}  # where each signal is still its unit's one value
    ours: set[str] = set()  # signals in memory that nothing else reads
    for node in reversed(cone.nodes):
        signal = signals.pop(node.name)
        parts: tuple[Tensor, ...]
        if node.name in single and _is_plain(node):
            parts = (_filters(node, signal, start),)
        elif node.name in ours and rules[node] is rectify:
            parts = (signal.relu_(),)
        else:
            parts = _step(seen, node, signal, rules, scratch)
        for edge, part in zip(cone.edges[node.name], parts, strict=True):
            if _leaks(node):
                mask = cone.inside_part(edge, seen.positions)
                part = part if mask is None else part * mask
            if edge.below in signals:
                single.discard(edge.below)
            elif node.kind in ("conv", "max_pool"):
                ours.add(edge.below)
            elif node.name in single and _keeps_channels(node, rules):
                single.add(edge.below)
            signals[edge.below] = cone.join(signals.get(edge.below), edge, part)
    return signals[INPUT]


def _leaks(node: Node) -> bool:
    """Whether a signal may come to lie outside the map: not where it stays at its place, nor where
    it goes back to the place of a value."""
    return node.op.on_window is not None and node.kind != "max_pool"


def _keeps_channels(node: Node, rules: Rules) -> bool:
    """Whether a signal in one channel stays alone there."""
    return node.kind in (*RECTIFIERS, "batch_norm") or node.op.passes_through or rules[node] is skip


def _is_plain(node: Node) -> bool:
    """A convolution whose weight holds each unit's filter as it is painted."""
    return (
        node.kind == "conv" and node.settings["groups"] == 1 and node.settings["dilation"] == (1, 1)
    )


def _filters(node: Node, signal: Tensor, start: Start) -> Tensor:
    """Each unit's own filter, times its value: looked up, not convolved."""
    filters = node.tensors["weight"].detach()[start.channels]
    filters = filters.contiguous(memory_format=torch.channels_last)
    each = torch.arange(len(start), device=signal.device)
    return filters * signal[each, start.channels, 0, 0][:, None, None, None]


def _step(
    seen: Seen,
    node: Node,
    signal: Tensor,
    rules: Rules,
    scratch: dict[str, Tensor] | None = None,
) -> tuple[Tensor, ...]:
    if node.op.on_window is None:
        return rules[node](node, signal, seen.at(node))
    if node.kind == "conv":
        return (seen.cone.transpose(node, signal),)
    if node.kind == "max_pool":
        kept = {} if scratch is None or node.inputs[0] == INPUT else scratch  # pixels are given out
        kept[node.name] = unpool_places(node, signal, seen.places(node), kept.get(node.name))
        return (kept[node.name],)
    if node.kind == "avg_pool":
        size = seen.cone.edges[node.name][0].part[2:]
        at = signal.new_zeros((len(signal), node.below[0][0], *size))
        return differentiate(node, signal, at, on_window=True)
    return (signal,)  # padding, and pooling to the size it has


def _follows(node: Node, rules: Rules) -> bool:
    """Whether a method's rule for this node is the one that windows know."""
    if node.kind == "max_pool":
        return rules[node] is unpool
    return node.op.on_window is None or node.kind not in rules.table


def _area(shape: tuple[int, ...]) -> int:
    return torch.Size(shape[1:]).numel()


@dataclass(frozen=True)
class _SavedRows:
    """What the forward pass saved at one node, a row per signal."""

    trace: Trace
    node: Node
    rows: Tensor

    def input(self, index: int = 0) -> Tensor:
        return self.trace[self.node.inputs[index]][self.rows]

    def output(self) -> Tensor:
        return self.trace[self.node.name][self.rows]

    def switches(self) -> Tensor:
        return self.trace.switches(self.node.name)[self.rows]
