"""A look: what one forward pass shows of an image, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import NoSuchUnit
from convscope.live.answers import Answer, finite
from convscope.live.engine import Engine
from convscope.live.kept_images import Activations, KeptImage
from convscope.methods.numbers import widened
from convscope.network.local.plan import Plan
from convscope.network.unit import Unit

__all__ = ["LayerLook", "Look", "MapLook", "layer_look", "look", "shown_layers", "tile_pixels"]


@dataclass(frozen=True)
class MapLook:
    """One feature map in one image.

    Attributes:
        unit: Its strongest unit; of equals, the first by rows.
        value: What that unit is.
        mean: Over the map's positions.
        share: `value` by the highest that the atlas knows of this map; None where it knows none.
    """

    unit: Unit
    value: float
    mean: float
    share: float | None

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary."""
        position = self.unit.position
        return {
            "unit": str(self.unit), "channel": self.unit.channel,
            "position": None if position is None else list(position),
            "value": finite(self.value), "mean": finite(self.mean), "share": finite(self.share),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class LayerLook:
    """Some maps of one layer in one image.

    Attributes:
        name: Of the layer.
        kind: Of its operation.
        shape: (C, H, W), or (C,).
        grid: (rows, columns) of its positions.
        maps: In the order that was asked for; in a look, the strongest first.
        tiles: Their pictures: 0 is the lower of zero and the layer's least value, 255 its highest.
            Maps larger than a tile are pooled by their maximum.

    Shape:
        tiles: (maps, h, w) uint8.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    grid: tuple[int, int]
    maps: tuple[MapLook, ...]
    tiles: NDArray[np.uint8]

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the pictures."""
        return {
            "name": self.name, "kind": self.kind, "shape": list(self.shape),
            "grid": list(self.grid), "tile": list(self.tiles.shape[1:]),
            "maps": [each.to_dict() for each in self.maps],
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Look:
    """What the network makes of an image.

    Attributes:
        key: Names the image in later questions.
        name: What it is called.
        notes: What had to be done to read it, in words.
        label: Its class in its data set; None where it has none.
        picture: The image as the network sees it.
        answer: What the network says of it.
        layers: The strongest maps of each layer that is shown, bottom up.

    Shape:
        picture: (H, W, 3) uint8.
    """

    key: str
    name: str
    notes: tuple[str, ...]
    label: str | None
    picture: NDArray[np.uint8]
    answer: Answer
    layers: tuple[LayerLook, ...]

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the pictures."""
        return {
            "key": self.key, "name": self.name, "notes": list(self.notes), "label": self.label,
            "size": list(self.picture.shape[:2]), "answer": self.answer.to_dict(),
            "layers": [layer.to_dict() for layer in self.layers],
        }  # fmt: skip


def shown_layers(plan: Plan) -> tuple[str, ...]:
    """The layers that a look shows: maps and dense layers, where a step of the network ends."""
    return tuple(
        step.name
        for step in plan.steps
        if step.real
        and (
            (len(step.shape) == 3 and step.grid != (1, 1) and not step.head.op.passes_through)
            or (len(step.shape) == 1 and step.head.op.dense)
        )
    )


def look(engine: Engine, image: KeptImage, activations: Activations, answer: Answer) -> Look:
    """Find the strongest maps of every layer.

    Args:
        engine: The network and its surroundings.
        image: The image.
        activations: What the network made of it.
        answer: What it says of it.
    """
    layers = tuple(
        layer_look(engine, activations, name, None, engine.settings.strongest)
        for name in shown_layers(engine.plan)
    )
    return Look(image.key, image.name, image.notes, image.label, image.picture, answer, layers)


def layer_look(
    engine: Engine,
    activations: Activations,
    name: str,
    channels: Sequence[int] | None = None,
    strongest: int | None = None,
) -> LayerLook:
    """Look at some maps of a layer.

    Args:
        engine: The network and its surroundings.
        activations: What the network made of the image.
        name: The layer.
        channels: The maps, in their order; None is all of them.
        strongest: Only so many of them, the strongest first.

    Raises:
        NoSuchLayer: There is no such layer.
        NoSuchUnit: There is no such map, or the layer has neither maps nor a vector.
    """
    layer = engine.network.feature_layer(name)
    if len(layer.shape) not in (1, 3):
        raise NoSuchUnit(f"layer {name} is {layer.size}, neither feature maps nor a vector")
    values = activations.trace[name][0]
    maps = values if values.dim() == 3 else values[:, None, None]  # (C, H, W)
    peaks = widened(maps.amax((1, 2)))
    chosen = range(layer.channels) if channels is None else channels
    for channel in channels or ():
        engine.network.unit(Unit(name, channel))
    index = torch.tensor(list(chosen), dtype=torch.int64, device=maps.device)
    if strongest is not None:
        order = peaks[index].nan_to_num(-torch.inf).argsort(descending=True, stable=True)
        index = index[order[:strongest]]
    some = widened(maps[index])
    columns = some.shape[2]
    numbers = (n.tolist() for n in (index, peaks[index], some.mean((1, 2)), _first_peaks(some)))
    seen = []
    for channel, value, mean, place in zip(*numbers, strict=True):
        unit = Unit(name, channel)
        unit = unit.at(*divmod(place, columns)) if values.dim() == 3 else unit
        seen.append(MapLook(unit, value, mean, _share(engine, name, channel, value)))
    low, high = map_scale(activations, name)
    tiles = tile_pixels(some, low, high, engine.settings.tile)
    return LayerLook(name, layer.kind, layer.shape, layer.grid, tuple(seen), tiles)


def _first_peaks(maps: Tensor) -> Tensor:
    """The place of each map's maximum (n, H, W) -> (n,); of equals, the first by rows."""
    flat = maps.flatten(1)
    return (flat == flat.amax(1, keepdim=True)).to(torch.uint8).argmax(1)


def tile_pixels(maps: Tensor, low: float, high: float, side: int) -> NDArray[np.uint8]:
    """Make small pictures of maps.

    Args:
        maps: The maps.
        low: What is black.
        high: What is white.
        side: Longest side; larger maps are pooled by their maximum.

    Shape:
        maps: (n, H, W). The result: (n, h, w) uint8.
    """
    maps = widened(maps)
    shrink = -(-max(maps.shape[1:]) // side)
    if shrink > 1 and len(maps):
        maps = F.max_pool2d(maps[None], shrink, ceil_mode=True)[0]
    span = high - low
    scaled = (maps - low) * (255 / span) if span > 0 else maps * 0
    return scaled.nan_to_num(0.0, 255.0, 0.0).round().clip(0, 255).to(torch.uint8).cpu().numpy()


def map_scale(activations: Activations, layer: str) -> tuple[float, float]:
    """What is black and what is white in the tiles of a layer of an image."""
    values = activations.trace[layer][0]
    return activations.known(("scale", layer), lambda: _scale(values))


def _scale(maps: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(maps)
    if not (torch.isfinite(low) and torch.isfinite(high)):
        low, high = torch.aminmax(maps.nan_to_num(0.0, 0.0, 0.0))
    return min(0.0, float(low)), float(high)


def _share(engine: Engine, layer: str, channel: int, value: float) -> float | None:
    highest = engine.highest(layer)
    if highest is None or not float(highest[channel]) > 0:
        return None
    return value / float(highest[channel])
