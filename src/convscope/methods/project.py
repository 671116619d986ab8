"""Projection: a unit's activation carried down to the pixels.     Zeiler & Fergus 2014, §2.1"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import BadInput, NonFinite
from ..network.exported import Network
from ..network.node import Node
from ..network.reader import INPUT
from ..network.trace import Trace
from ..network.unit import Unit
from .rules import DECONVNET, Rules, Seed

__all__ = ["Projections", "project"]

MEMORY = 256 * 2**20
"""Bytes that the signals of one layer may take: what a group of units is sized by."""


@dataclass(frozen=True, eq=False)
class Projections:
    """What `project` returns, a row per unit.

    projection : (U, 3, H, W), in the scale of the preprocessed image, signed, not rectified
    activation : (U,), the unit's value in its image
    box : (U, 4) int64, its receptive field (top, left, bottom, right) in image pixels, half-open,
        not clipped to the image
    units : with the positions that were projected
    images : (U,) int64, the row of the trace each unit was seen in
    """

    projection: Tensor
    activation: Tensor
    box: Tensor
    units: tuple[Unit, ...]
    images: Tensor


@torch.no_grad()
def project(
    trace: Trace,
    units: Sequence[Unit | str] | Unit | str,
    rules: Rules = DECONVNET,
    *,
    images: Sequence[int] | int | None = None,
) -> Projections:
    """Project units down to pixels, any mix of layers and images in one call.

    trace : a forward pass, from `Network.trace`
    units : a unit without a position stands for its map's strongest one in its image
    images : for each unit, the row of the trace to see it in (one number: the same for all);
        may be left out where the trace holds one image
    Raises  NoSuchLayer, NoSuchUnit; BadInput: images are missing or out of range;
        NonFinite: the unit is NaN or infinite, or its map holds NaN.
    Source: Zeiler & Fergus 2014, §2.1
    """
    network = trace.network
    wanted = [units] if isinstance(units, (Unit, str)) else list(units)
    rows = _image_rows(trace, images, len(wanted))
    seen = [
        trace.strongest(network.unit(unit), row) for unit, row in zip(wanted, rows, strict=True)
    ]
    pixels = trace[INPUT]
    result = pixels.new_zeros((len(seen), *pixels.shape[1:]))
    activation = pixels.new_zeros(len(seen))
    for layer in dict.fromkeys(unit.layer for unit in seen):
        mine = [i for i, unit in enumerate(seen) if unit.layer == layer]
        size = group_size(network, layer)
        for group in (mine[i : i + size] for i in range(0, len(mine), size)):
            at = torch.tensor([rows[i] for i in group], device=pixels.device)
            seed, activation[group] = _seed(trace, [seen[i] for i in group], at, rules.seed)
            _check_finite(activation[group], [seen[i] for i in group], at)
            result[group] = _descend(trace, layer, seed, at, rules)
    boxes = [_box(network, unit) for unit in seen]
    return Projections(
        projection=result,
        activation=activation,
        box=torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4),
        units=tuple(seen),
        images=torch.tensor(rows, dtype=torch.int64),
    )


def group_size(network: Network, layer: str) -> int:
    """How many units of a layer go down together within the memory budget."""
    largest = max(
        torch.Size(shape).numel()
        for node in network.below([layer])
        for shape in (node.shape, *node.below)
    )
    return max(1, MEMORY // (3 * 4 * largest))  # signal above, signal below, what was saved


def _descend(trace: Trace, layer: str, seed: Tensor, rows: Tensor, rules: Rules) -> Tensor:
    """Carry signals (U, *layer.shape) down to the pixels (U, C, H, W), rule by rule."""
    signals: dict[str, Tensor] = {layer: seed}
    for node in reversed(trace.network.below([layer])):
        signal = signals.pop(node.name)
        for below, part in zip(
            node.inputs, rules[node](node, signal, _SavedRows(trace, node, rows)), strict=True
        ):
            signals[below] = signals[below] + part if below in signals else part
    return signals[INPUT]


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


def _seed(trace: Trace, units: list[Unit], rows: Tensor, seed: Seed) -> tuple[Tensor, Tensor]:
    """The layer with everything but one unit per row set to zero, and those units' values."""
    values = trace[units[0].layer]
    where: tuple[Tensor, ...] = (torch.tensor([unit.channel for unit in units]),)
    positions = [unit.position for unit in units]
    if values.dim() == 4:
        where += tuple(torch.tensor(positions).T)
    where = tuple(index.to(values.device) for index in where)
    activation = values[(rows, *where)]
    start = values.new_zeros((len(units), *values.shape[1:]))
    start[(torch.arange(len(units), device=values.device), *where)] = (
        activation if seed is Seed.ACTIVATION else 1.0
    )
    return start, activation


def _check_finite(activation: Tensor, units: list[Unit], rows: Tensor) -> None:
    for value, unit, row in zip(activation.tolist(), units, rows.tolist(), strict=True):
        if not math.isfinite(value):
            raise NonFinite(f"{unit} is {value} in image {row}: check the weights and the image")


def _box(network: Network, unit: Unit) -> tuple[int, int, int, int]:
    field = network.layer(unit.layer).field
    return field.box(unit.position or (0, 0)).as_tuple()


def _image_rows(trace: Trace, images: Sequence[int] | int | None, count: int) -> list[int]:
    if images is None:
        if len(trace) != 1:
            raise BadInput(
                f"the trace holds {len(trace)} images: say with images=[...] which one each of "
                f"the {count} units is to be seen in"
            )
        images = 0
    rows = [images] * count if isinstance(images, int) else [int(row) for row in images]
    if len(rows) != count or any(not 0 <= row < len(trace) for row in rows):
        raise BadInput(
            f"images={rows}: give one row of the trace, 0 to {len(trace) - 1}, "
            f"for each of the {count} units"
        )
    return rows
