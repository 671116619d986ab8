"""Which feature maps feed which: by weight times mean activation, between an atlas's layers.

A convolution reads channels. Each is followed down, through what works channel by channel (batch
norm, rectifiers, pools, dropout) and joinings of channels, to the atlas's layer whose map it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.node import Node

__all__ = ["STRONGEST", "connections", "layers_read", "source_maps"]

STRONGEST = 5

_Part = tuple[int, Tensor, Tensor]
"""The number of a layer, some of its maps (M,), and how strongly each map of another one is tied to
them (C, M)."""
Maps = list[tuple[str, int] | None]
"""For each channel the layer and the map that it is; None where it is of no layer of the atlas."""


def connections(
    network: Graph, activations: Mapping[str, str], means: Mapping[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """The strongest input and output maps of each map.

    A map c of a convolution gets from a map j the sum of its kernel's weights times the mean
    activation of j. Strong is what is large, of whatever sign.

    Args:
        network: the network.
        activations: the atlas's layers, in its order -> the layer whose value is their activation.
        means: each layer's maps' mean activations, (C,).

    Returns:
        By layer the tensors input, output (C, R, 2) int64, (number of the layer, map), -1 where
        there is none; and input_strength, output_strength (C, R) float32, NaN where there is none.
    """
    numbers = {layer: number for number, layer in enumerate(activations)}
    layers = {activation: layer for layer, activation in activations.items()}
    into: dict[str, list[_Part]] = {layer: [] for layer in activations}
    out_of: dict[str, list[_Part]] = {layer: [] for layer in activations}
    for layer in activations:
        node = network.nodes[layer]
        weight = _dense_weight(node)
        if weight is None:
            continue
        sources = source_maps(network, node.inputs[0], layers)
        for source in dict.fromkeys(one[0] for one in sources if one is not None):
            columns = [i for i, one in enumerate(sources) if one is not None and one[0] == source]
            maps = torch.tensor([one[1] for one in sources if one is not None and one[0] == source])
            strength = weight[:, columns] * means[source].nan_to_num(0.0)[maps]
            into[layer].append((numbers[source], maps, strength))
            whole = strength.new_zeros(len(means[source]), len(weight))
            whole.index_add_(0, maps, strength.T)
            out_of[source].append((numbers[layer], torch.arange(len(weight)), whole))
    found = {}
    for layer in activations:
        channels = len(means[layer])
        given, given_strength = _strongest(into[layer], channels)
        read, read_strength = _strongest(out_of[layer], channels)
        found[layer] = {
            "input": given,
            "input_strength": given_strength,
            "output": read,
            "output_strength": read_strength,
        }
    return found


def layers_read(network: Graph, activations: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The layers of an atlas that each of them reads, with none of the atlas's in between.

    Args:
        network: the network.
        activations: the atlas's layers, in its order -> the layer whose value is their activation.
    """
    values = {activation: layer for layer, activation in activations.items()}
    values |= {layer: layer for layer in activations}
    found = {}
    for layer in activations:
        todo, seen, reads = list(network.nodes[layer].inputs), set(), set()
        while todo:
            name = todo.pop()
            if name in values and values[name] != layer:
                reads.add(values[name])
            elif name != INPUT and name not in seen:
                todo += network.nodes[name].inputs
            seen.add(name)
        found[layer] = tuple(one for one in activations if one in reads)
    return found


def source_maps(network: Graph, name: str, layers: Mapping[str, str]) -> Maps:
    """For each channel of a value, which map of which layer it is.

    Args:
        network: the network.
        name: of the value.
        layers: activation -> layer.
    """
    if name == INPUT:
        return [None] * network.input_shape[0]
    channels = network.layer(name).channels
    if name in layers:
        return [(layers[name], channel) for channel in range(channels)]
    node = network.nodes[name]
    if len(node.shape) == 3 and all(len(below) == 3 for below in node.below):
        if node.op.concatenates:
            found = [one for below in node.inputs for one in source_maps(network, below, layers)]
            if len(found) == channels:
                return found
        elif len(node.inputs) == 1 and _keeps_channels(node):
            return source_maps(network, node.inputs[0], layers)
    return [None] * channels


def _keeps_channels(node: Node) -> bool:
    """Whether each channel is made of the same channel below."""
    return node.below[0][0] == node.shape[0] and (
        node.op.elementwise or node.op.pools or node.op.passes_through
    )


def _dense_weight(node: Node) -> Tensor | None:
    """(C, channels below), a convolution's weights summed over the kernel; None of another node."""
    weight = node.tensors.get("weight")
    if not node.op.convolves or weight is None or len(node.inputs) != 1 or weight.ndim != 4:
        return None
    below, count = node.below[0][0], len(weight)
    own = weight.detach().double().sum((2, 3)).cpu()  # (C, channels of a group)
    if count != node.shape[0] or below % own.shape[1]:
        return None  # a transposed convolution
    groups = below // own.shape[1]
    if count % groups:
        return None
    dense = own.new_zeros(count, below)
    for group in range(groups):
        rows = slice(group * count // groups, (group + 1) * count // groups)
        dense[rows, group * own.shape[1] : (group + 1) * own.shape[1]] = own[rows]
    return dense


def _strongest(parts: list[_Part], channels: int) -> tuple[Tensor, Tensor]:
    """The strongest of what some layers give each map; of equals, the first."""
    where = torch.full((channels, STRONGEST, 2), -1)
    value = torch.full((channels, STRONGEST), torch.nan)
    if not parts:
        return where, value
    layers = torch.cat([torch.full_like(maps, number) for number, maps, _ in parts])
    maps = torch.cat([maps for _, maps, _ in parts])
    strength = torch.cat([strength for *_, strength in parts], 1)  # (C, all)
    order = strength.abs().argsort(dim=1, descending=True, stable=True)[:, :STRONGEST]
    there = strength.gather(1, order) != 0
    count = order.shape[1]
    where[:, :count, 0] = torch.where(there, layers[order], -1)
    where[:, :count, 1] = torch.where(there, maps[order], -1)
    value[:, :count] = strength.gather(1, order).masked_fill(~there, torch.nan).float()
    return where, value
