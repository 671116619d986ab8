"""Projection: a unit's activation carried down to the pixels.     Zeiler & Fergus 2014, §2.1"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from convscope.errors import BadInput, NonFinite
from convscope.geometry.box import Box
from convscope.methods.descent import Start, cone_for, descend, descend_in_windows, group_size
from convscope.methods.numbers import widened
from convscope.methods.rules import DECONVNET, InitialSignal, Rules
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.local.receptive_windows import SavedActivations, SavedInCrops, SavedInMaps
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["Projections", "project", "project_fields"]


@dataclass(frozen=True, eq=False)
class Projections:
    """What `project` returns, a row per unit.

    fields : per unit (3, h, w), the projection where it can be other than zero, in the scale of
        the preprocessed image, signed, not rectified;   places : where that lies in the image
    shape : (3, H, W), of the image
    activation : (U,), the unit's value in its image
    box : (U, 4) int64, its receptive field (top, left, bottom, right) in image pixels, half-open,
        not clipped to the image
    units : with the positions that were projected
    images : (U,) int64, the row of the trace each unit was seen in
    """

    fields: tuple[Tensor, ...]
    places: tuple[Box, ...]
    shape: tuple[int, ...]
    activation: Tensor
    box: Tensor
    units: tuple[Unit, ...]
    images: Tensor

    @cached_property
    def projection(self) -> Tensor:
        """(U, 3, H, W): every field in its place in the image."""
        whole = self.activation.new_zeros((len(self.units), *self.shape))
        for picture, field, place in zip(whole, self.fields, self.places, strict=True):
            inside = place.clip(*self.shape[-2:])
            if inside.empty:  # the unit sees padding alone
                continue
            picture[:, inside.top : inside.bottom, inside.left : inside.right] = field[
                :,
                inside.top - place.top : inside.bottom - place.top,
                inside.left - place.left : inside.right - place.left,
            ]
        return whole


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
    found: dict[int, tuple[Box, Tensor]] = {}
    activation = pixels.new_zeros(len(seen))
    for layer in dict.fromkeys(unit.layer for unit in seen):
        mine = [i for i, unit in enumerate(seen) if unit.layer == layer]
        at = torch.tensor([rows[i] for i in mine], device=pixels.device)
        values, start = _start(trace, [seen[i] for i in mine], at, rules.seed)
        _check_finite(values, [seen[i] for i in mine], at)
        activation[mine] = values
        found.update(zip(mine, project_fields(trace, start, at, rules), strict=True))
    boxes = [_box(network, unit) for unit in seen]
    return Projections(
        fields=tuple(widened(found[i][1]) for i in range(len(seen))),
        places=tuple(found[i][0] for i in range(len(seen))),
        shape=tuple(pixels.shape[1:]),
        activation=widened(activation),
        box=torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4),
        units=tuple(seen),
        images=torch.tensor(rows, dtype=torch.int64),
    )


def project_fields(
    trace: Trace, start: Start, images: Tensor, rules: Rules, *, from_crops: bool = False
) -> Iterator[tuple[Box, Tensor]]:
    """The projections of units of one layer, each where it can be non-zero.

    images (U,) : trace rows
    from_crops : run the network on each unit's own crop of its image, as far as the rules look at
        what it saw, and not on the whole image: cheaper for few units an image (`crops_pay`)
    Yields  (box, (3, h, w)), in the order of `start`: the unit's receptive field, not clipped and
    zero outside the image, or the whole image.
    """
    network = trace.network
    cone = cone_for(network, start.layer, rules)
    size = group_size(network, start.layer, cone)
    image = Box(0, 0, *network.input_shape[-2:])
    scratch: dict[str, Tensor] = {}
    for i in range(0, len(start), size):
        part = start[i : i + size]
        rows = images[i : i + size]
        if cone is None:
            yield from ((image, pixels) for pixels in descend(trace, part, rows, rules))
        else:
            seen: SavedActivations
            if from_crops:
                crops = cone.take(trace[INPUT], INPUT, rows, part.positions)
                seen = SavedInCrops(cone, part.positions, crops)
            else:
                seen = SavedInMaps(cone, part.positions, trace, rows)
            fields = descend_in_windows(seen, part, rules, scratch)
            yield from zip(cone.boxes(part.positions), fields, strict=True)


def _start(
    trace: Trace, units: list[Unit], rows: Tensor, seed: InitialSignal
) -> tuple[Tensor, Start]:
    """The units' values, and what the walk down starts with."""
    values = trace[units[0].layer]
    device = values.device
    channels = torch.tensor([unit.channel for unit in units], device=device)
    positions = torch.tensor([unit.position or (0, 0) for unit in units], device=device)
    place = (positions[:, 0], positions[:, 1]) if values.dim() == 4 else ()
    activation = values[(rows, channels, *place)]
    signal = activation if seed is InitialSignal.ACTIVATION else torch.ones_like(activation)
    return activation, Start(units[0].layer, channels, positions, signal)


def _check_finite(activation: Tensor, units: list[Unit], rows: Tensor) -> None:
    for value, unit, row in zip(activation.tolist(), units, rows.tolist(), strict=True):
        if not math.isfinite(value):
            raise NonFinite(f"{unit} is {value} in image {row}: check the weights and the image")


def _box(network: Graph, unit: Unit) -> tuple[int, int, int, int]:
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
