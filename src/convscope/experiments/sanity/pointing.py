"""Where each kind of picture is brightest in an image, and whether that is on the object.

All are of one answer: the predicted class. The class is watched by occlusion; of the layer, the
unit that speaks most for it is projected, lit, and told from its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.geometry.box import Box
from convscope.methods.blur import energy_map
from convscope.methods.contrastive import contrastive_occlusion, strong_neighbours
from convscope.methods.occluder import Fill, Occluder
from convscope.methods.occlusion import occlude
from convscope.methods.project import project
from convscope.methods.relevance import strongest_for_class
from convscope.methods.rules import DECONVNET, GRADIENT, GUIDED, Rules
from convscope.methods.spotlight import BLUR
from convscope.network.network import Network
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["RULES", "Mark", "PointingMethod", "marks"]

RULES: Mapping[str, Rules] = {"deconvnet": DECONVNET, "guided": GUIDED, "gradient": GRADIENT}


class PointingMethod(StrEnum):
    """The kinds of pictures, and the middle of what a unit sees, which is none."""

    OCCLUSION = "occlusion of the class"
    CONTRASTIVE = "contrastive occlusion"
    SPOTLIGHT = "spotlight"
    DECONVNET = "deconvnet"
    GUIDED = "guided"
    GRADIENT = "gradient"
    CENTRE = "centre of the field"


@dataclass(frozen=True)
class Mark:
    """The place where a picture is brightest, among all that it could have marked.

    Attributes:
        row: Of that place, in pixels of the input.
        column: Likewise.
        rows: Every row that it could have marked.
        columns: Every column that it could have marked.
    """

    row: int
    column: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def hit(self, mask: NDArray[np.bool_]) -> bool:
        """Whether the place is on an object."""
        return bool(mask[self.row, self.column])

    def chance(self, mask: NDArray[np.bool_]) -> float:
        """The share of all places it could have marked that are on the object."""
        return float(mask[np.ix_(self.rows, self.columns)].mean())


def marks(
    network: Network, image: Tensor, target: int, layer: str, fill: Fill
) -> dict[PointingMethod, Mark]:
    """Find the brightest place of every kind of picture of one image.

    Args:
        network: A network that classifies.
        image: The image, preprocessed.
        target: The class.
        layer: The layer whose unit is projected: the one that speaks most for the class.
        fill: What an occluder shows.

    Returns:
        A mark of each kind. There is no contrastive one where no other unit of the position is
        above zero.

    Shape:
        image: (C, H, W).
    """
    trace = network.trace(image)
    unit = strongest_for_class(trace, layer, target)
    found = {PointingMethod.OCCLUSION: _occlusion(network, image, target, fill)}
    if _can_fall(trace, unit) and strong_neighbours(trace, unit, 0, 1):
        found[PointingMethod.CONTRASTIVE] = _contrastive(network, image, unit, fill)
    field = network.layer(unit.layer).field.box(unit.position or (0, 0))
    seen = field.clip(*image.shape[-2:])
    for name, rules in RULES.items():
        picture = project(trace, unit, rules).seen_picture(0)[None]
        found[PointingMethod(name)] = _brightest(energy_map(picture, 0)[0], seen)
        if rules is DECONVNET:
            lit = energy_map(picture, (seen.height + seen.width) / 2 / BLUR)[0]
            found[PointingMethod.SPOTLIGHT] = _brightest(lit, seen)
    found[PointingMethod.CENTRE] = Mark(
        _middle(field.top, field.bottom, image.shape[-2]),
        _middle(field.left, field.right, image.shape[-1]),
        tuple(range(seen.top, seen.bottom)),
        tuple(range(seen.left, seen.right)),
    )
    return found


def _can_fall(trace: Trace, unit: Unit) -> bool:
    values = trace[unit.layer][0, unit.channel]
    return bool((values if unit.position is None else values[unit.position]) > 0)


def _occlusion(network: Network, image: Tensor, target: int, fill: Fill) -> Mark:
    """Where covering costs the class most, by its log-odds."""
    height, width = (max(1, extent // 7) for extent in image.shape[-2:])
    occluder = Occluder((height, width), (max(1, height // 2), max(1, width // 2)))
    maps = occlude(network, image, occluder, fill=fill, target=target)
    return _covered(-maps.log_odds, maps.rows, maps.columns, maps.occluder, image)


def _contrastive(network: Network, image: Tensor, unit: Unit, fill: Fill) -> Mark:
    """Where covering costs the unit most beyond what it costs its neighbours."""
    found = contrastive_occlusion(network, image, unit, fill=fill)
    return _covered(found.contrast, found.rows, found.columns, found.occluder, image)


def _covered(
    worth: Tensor, rows: Tensor, columns: Tensor, occluder: Occluder, image: Tensor
) -> Mark:
    """The middle of the box's visible part, where it is worth most."""
    middles = [
        tuple(_middle(int(first), min(int(first) + size, extent), extent) for first in corners)
        for corners, size, extent in zip(
            (rows, columns), occluder.size, image.shape[-2:], strict=True
        )
    ]
    row, column = divmod(int(worth.argmax()), worth.shape[1])
    return Mark(middles[0][row], middles[1][column], *middles)


def _brightest(lit: Tensor, seen: Box) -> Mark:
    row, column = divmod(int(torch.nan_to_num(lit).argmax()), lit.shape[1])
    return Mark(
        seen.top + row,
        seen.left + column,
        tuple(range(seen.top, seen.bottom)),
        tuple(range(seen.left, seen.right)),
    )


def _middle(first: int, end: int, extent: int) -> int:
    """The pixel in the middle of first..end, or the nearest one of the image."""
    return min(max((first + end) // 2, 0), extent - 1)
