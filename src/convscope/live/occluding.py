"""One place of an occluder: what the network answers, and what the maps become, exactly.

The activations of the image and the plan of the network are there already, so a move of the
occluder costs only what it changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.geometry.box import Box
from convscope.live.answers import Answer, finite
from convscope.live.engine import Engine
from convscope.live.kept_images import Activations, KeptImage, Standing
from convscope.live.looking import map_scale, tile_pixels
from convscope.methods.numbers import widened
from convscope.methods.targets import Watched
from convscope.network.local.grouping import BoxGrid
from convscope.network.local.incremental import IncrementalSweep
from convscope.network.unit import Unit

__all__ = ["Cover", "Occluded", "WatchedMap", "WatchedTarget", "box_at", "occlude_box"]


@dataclass(frozen=True, eq=False)
class WatchedMap:
    """A feature map under an occluder, beside what it is in the image as it is.

    Attributes:
        unit: At its position; the strongest of the image as it is, if none was named.
        value: At that position.
        sum: Over the positions: the paper's activity.
        peak: The map's highest value, wherever that is.
        map: Its picture, in the scale of the layer's tiles in a look.
        numbers: The map itself.

    Shape:
        map: (h, w) uint8. numbers: (rows, columns).
    """

    unit: Unit
    value: float
    base_value: float
    sum: float
    base_sum: float
    peak: float
    base_peak: float
    map: NDArray[np.uint8]
    numbers: Tensor

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the map."""
        names = ("value", "base_value", "sum", "base_sum", "peak", "base_peak")
        return {"unit": str(self.unit), **{n: finite(getattr(self, n)) for n in names}}


@dataclass(frozen=True)
class WatchedTarget:
    """A number of the answer that is watched instead of a class of a vector.

    Attributes:
        name: What it is called.
        quantity: What kind of number it is.
        value: Now.
        base: In the image as it is.
    """

    name: str
    quantity: str
    value: float
    base: float

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary."""
        return {
            "name": self.name, "quantity": self.quantity,
            "value": finite(self.value), "base": finite(self.base),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Occluded:
    """What the network makes of the image with one box covered, maybe without some units.

    Attributes:
        box: As far as it lies in the image.
        fill: Its colour, in words; None where numbers were given.
        answer: What the network says.
        target: The number that is watched, if it is not a class of a vector.
        units: The maps that are watched, in the order that was asked for.
        share: The multiply-adds that were run, by those of the whole network.
    """

    box: Box
    fill: str | None
    answer: Answer
    target: WatchedTarget | None
    units: tuple[WatchedMap, ...]
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the maps."""
        return {
            "box": list(self.box.as_tuple()), "fill": self.fill, "answer": self.answer.to_dict(),
            "target": None if self.target is None else self.target.to_dict(),
            "units": [unit.to_dict() for unit in self.units], "share": self.share,
        }  # fmt: skip


def box_at(centre: tuple[float, float], size: tuple[int, int] | int) -> Box:
    """The box of a size whose middle is nearest to a place; it may cross the image's edge.

    Args:
        centre: (row, column) in image pixels.
        size: Height and width; one number stands for both.

    Example:
        >>> box_at((16, 16), 8)
        Box(top=12, left=12, bottom=20, right=20)
    """
    height, width = (size, size) if isinstance(size, int) else size
    top, left = round(centre[0] - height / 2), round(centre[1] - width / 2)
    return Box(top, left, top + height, left + width)


@dataclass(frozen=True, eq=False)
class Cover:
    """What is covered, and what is looked at.

    Attributes:
        box: The box; it may cross the image's edge.
        fill: What it shows.
        units: Whose maps are wanted.
        watched: What `Engine.watched` found of the target.
    """

    box: Box
    fill: str | float | Tensor
    units: Sequence[Unit]
    watched: tuple[Watched | None, int | None]


def occlude_box(
    engine: Engine, image: KeptImage, activations: Activations, cover: Cover, standing: Standing
) -> Occluded:
    """Cover one box and read the answer, and the maps of some units.

    Args:
        engine: The network and its surroundings.
        image: The image.
        activations: What the network made of it.
        cover: What is covered, and what is looked at.
        standing: With all units (`activations.whole`), or without some.

    Raises:
        NoSuchLayer, NoSuchUnit: There is no such unit.
        NonFinite: The covered image makes NaN or infinity.
    """
    network, trace, fill = engine.network, activations.trace, cover.fill
    wanted = [trace.strongest(network.unit(unit), 0) for unit in cover.units]
    seen, index = cover.watched
    outputs = () if seen is None else seen.target.layers(network)
    layers = (network.output, *outputs, *(unit.layer for unit in wanted))
    plan = engine.planned(layers, put=standing.put)
    inside = cover.box.clip(*image.tensor.shape[-2:])
    values: dict[str, Tensor] = {name: standing.values(name) for name in layers}
    share = 0.0
    if not inside.empty:
        boxes = BoxGrid(((inside.top, inside.bottom),), ((inside.left, inside.right),))
        sweep = IncrementalSweep.planned(plan, boxes)
        found, _ = sweep.run(image.tensor, engine.fill(fill), base=standing.base)
        values = {name: value[0] for name, value in found.items()}
        share = sweep.work.executed / max(1, sweep.work.full)
    engine.check_finite(*(values[name] for name in layers))
    indices = () if index is None else (index,)
    target = None
    if seen is not None:
        now, before = (
            float(seen.target.values([of[name] for name in outputs])[0]) for of in (values, trace)
        )
        target = WatchedTarget(seen.target.name, seen.target.quantity, now, before)
    return Occluded(
        inside,
        fill if isinstance(fill, str) else None,
        engine.reader.read(values[network.output], trace[network.output], indices),
        target,
        tuple(_watched(engine, activations, unit, values[unit.layer]) for unit in wanted),
        share,
    )


def _watched(engine: Engine, activations: Activations, unit: Unit, values: Tensor) -> WatchedMap:
    """A unit's map among a layer's values (1, C, H, W) or (1, C)."""
    now, before = (
        widened(of[0, unit.channel]).reshape(engine.network.layer(unit.layer).grid)
        for of in (values, activations.trace[unit.layer])
    )
    place = unit.position or (0, 0)
    low, high = map_scale(activations, unit.layer)
    return WatchedMap(
        unit=unit,
        value=float(now[place]),
        base_value=float(before[place]),
        sum=float(now.sum()),
        base_sum=float(before.sum()),
        peak=float(now.max()),
        base_peak=float(before.max()),
        map=tile_pixels(now[None], low, high, engine.settings.tile)[0],
        numbers=now.cpu(),
    )
