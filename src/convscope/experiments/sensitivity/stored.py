"""What one image gave, as arrays that are written and read: maps and projections -> a dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.geometry.box import Box
from convscope.methods.occluder import Fill, Occluder, fill_planes
from convscope.methods.occlusion_maps import ClassMaps, OcclusionMaps
from convscope.network.unit import Unit
from convscope.store.results import Arrays

__all__ = ["Elsewhere", "elsewhere_from", "maps_from", "stored"]

MAPS = ("probability", "log_odds", "label", "activity", "rows", "columns", "projection",
        "base_probabilities")  # fmt: skip
OF_CLASSES = ("probability", "log_odds", "label", "base_probabilities", "base_log_odds")
NUMBERS = ("base_log_odds", "base_activity", "activation")


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """A feature map's strongest unit in another image.

    Attributes:
        name: of the image.
        unit: the strongest.
        activation: its value.
        projection: (3, H, W), in the scale of the preprocessed image.
        box: the unit's receptive field.
    """

    name: str
    unit: Unit
    activation: float
    projection: Tensor
    box: Box


def stored(
    maps: OcclusionMaps, elsewhere: Sequence[Elsewhere], without: tuple[float, float] | None
) -> Arrays:
    """Collect all that is known of an image, but for the picture itself, as arrays.

    Args:
        maps: The occlusion maps.
        elsewhere: What was measured at other positions.
        without: The target's probability without its object, and without its ground; None where
            that is unknown.
    """
    arrays = {name: getattr(maps, name).numpy() for name in MAPS}
    arrays |= {name: np.array(getattr(maps, name), np.float64) for name in NUMBERS}
    arrays["unit"], arrays["box"] = np.array(str(maps.unit)), np.array(maps.box.as_tuple())
    arrays["occluder"] = np.array([maps.occluder.size, maps.occluder.stride])
    arrays["target"] = np.array(maps.target)
    arrays["without"] = np.array([] if without is None else without, np.float64)
    arrays["others"] = np.array(len(elsewhere))
    for i, other in enumerate(elsewhere):
        arrays |= {
            f"{i} name": np.array(other.name),
            f"{i} unit": np.array(str(other.unit)),
            f"{i} activation": np.array(other.activation, np.float64),
            f"{i} projection": other.projection.numpy(),
            f"{i} box": np.array(other.box.as_tuple()),
        }
    return arrays


def maps_from(arrays: Mapping[str, NDArray[Any]], image: Tensor, fill: Fill) -> OcclusionMaps:
    """Restore the maps that `stored` made arrays of.

    Args:
        arrays: The arrays.
        image: The image as it was swept, preprocessed.
        fill: What the occluder showed, in the same units.

    Shape:
        image: (3, H, W).
    """
    known: dict[str, Any] = {name: torch.from_numpy(arrays[name]) for name in MAPS}
    known |= {name: float(arrays[name]) for name in NUMBERS}
    (tall, wide), (down, across) = arrays["occluder"].tolist()
    return OcclusionMaps(
        answer=ClassMaps(int(arrays["target"]), **{name: known.pop(name) for name in OF_CLASSES}),
        **known,
        unit=Unit.parse(str(arrays["unit"])),
        box=_box(arrays["box"]),
        image=image,
        fill=fill_planes(fill, image),
        occluder=Occluder((tall, wide), (down, across)),
    )


def elsewhere_from(arrays: Mapping[str, NDArray[Any]]) -> tuple[Elsewhere, ...]:
    """The same map in other images, the strongest first."""
    return tuple(
        Elsewhere(
            str(arrays[f"{i} name"]),
            Unit.parse(str(arrays[f"{i} unit"])),
            float(arrays[f"{i} activation"]),
            torch.from_numpy(arrays[f"{i} projection"]),
            _box(arrays[f"{i} box"]),
        )
        for i in range(int(arrays["others"]))
    )


def _box(sides: NDArray[Any]) -> Box:
    return Box(*(int(side) for side in sides))
