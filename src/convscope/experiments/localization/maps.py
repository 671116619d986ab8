"""Where a class's pictures lie in an image, as maps over its pixels, and the boxes they give.

    occlusion     how much the class's log-odds fall where a box covers the image
    spotlight     the lit projection of the unit that speaks most for the class
    contrastive   what is that unit's own, and not its strong neighbours' too
    grad-cam      the layer's maps, weighed by what they are worth to the class
    gradient      the class's gradient, over the colours and blurred

A map is cut at a share of its largest value. What lies above falls into connected parts; the box is
the smallest that holds the largest part (Zhou et al. 2016, §3.2, of their class activation maps).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from convscope.errors import BadInput
from convscope.geometry.box import Box
from convscope.methods.blur import energy_map
from convscope.methods.contrastive import contrastive_occlusion, spread
from convscope.methods.occluder import Fill, Occluder
from convscope.methods.project import project
from convscope.methods.relevance import strongest_for_class
from convscope.methods.saliency import SaliencyMethod, SaliencySettings, saliency
from convscope.methods.spotlight import BLUR, light
from convscope.methods.sweep import sweep
from convscope.network.network import Network
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["THRESHOLDS", "MapMethod", "Question", "largest_part", "map_boxes"]

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""Shares of a map's largest value, of which one is chosen."""


class MapMethod(StrEnum):
    """The maps there are; the module says what each is."""

    OCCLUSION = "occlusion"
    SPOTLIGHT = "spotlight"
    CONTRASTIVE = "contrastive"
    GRAD_CAM = "grad-cam"
    GRADIENT = "gradient"


@dataclass(frozen=True, eq=False)
class Question:
    """A class in an image, whose maps are asked for.

    Attributes:
        network: A network that classifies.
        image: Preprocessed.
        target: The class.
        layer: Whose unit is lit, and whose maps grad-cam weighs.
        fill: What an occluder shows.

    Shape:
        image: (C, H, W).

    Example:
        >>> asked = Question(network, image, 1, "conv2", 0.0)
        >>> asked.map(MapMethod.OCCLUSION).shape
        torch.Size([32, 32])
    """

    network: Network
    image: Tensor
    target: int
    layer: str
    fill: Fill

    def map(self, method: MapMethod) -> Tensor:
        """Where the class's picture lies, by one method.

        Returns:
            Zero or more at each pixel; zeros everywhere where the class rests on nothing, or the
            method has no answer.

        Shape:
            The result: (H, W), float64.
        """
        makers = {
            MapMethod.OCCLUSION: self._occlusion,
            MapMethod.SPOTLIGHT: self._spotlight,
            MapMethod.CONTRASTIVE: self._contrastive,
            MapMethod.GRAD_CAM: self._grad_cam,
            MapMethod.GRADIENT: self._gradient,
        }
        return makers[method]().double().cpu().nan_to_num(0, 0, 0).clamp(min=0)

    @cached_property
    def trace(self) -> Trace:
        """A forward pass over the image."""
        return self.network.trace(self.image)

    @cached_property
    def unit(self) -> Unit:
        """The unit of the layer that speaks most for the class."""
        return strongest_for_class(self.trace, self.layer, self.target)

    def _occlusion(self) -> Tensor:
        height, width = self.image.shape[-2:]
        sides = max(1, height // 7), max(1, width // 7)
        occluder = Occluder(sides, (max(1, sides[0] // 2), max(1, sides[1] // 2)))
        found = sweep(self.network, self.image, occluder, fill=self.fill)
        falls = found.base_log_odds(self.target) - found.log_odds(self.target)
        return spread(falls, (found.rows, found.columns), occluder, Box(0, 0, height, width))

    def _spotlight(self) -> Tensor:
        found = project(self.trace, self.unit)
        return self._placed(light(found.seen_picture(0)[None])[0], found.seen(0))

    def _contrastive(self) -> Tensor:
        try:
            found = contrastive_occlusion(self.network, self.image, self.unit, fill=self.fill)
        except BadInput:  # nothing above zero that could fall, or no neighbour
            return torch.zeros(self.image.shape[-2:])
        return self._placed(found.light(), found.seen)

    def _grad_cam(self) -> Tensor:
        settings = SaliencySettings(SaliencyMethod.GRAD_CAM, layer=self.layer)
        return saliency(self.network, self.image, self.target, settings).map

    def _gradient(self) -> Tensor:
        found = saliency(self.network, self.image, self.target).gradient
        return energy_map(found[None], sum(found.shape[-2:]) / 2 / BLUR)[0]

    def _placed(self, part: Tensor, seen: Box) -> Tensor:
        """What lies in a part of the image, over all of it."""
        whole = torch.zeros(self.image.shape[-2:], dtype=torch.float64)
        whole[seen.top : seen.bottom, seen.left : seen.right] = part.cpu()
        return whole


def largest_part(mask: NDArray[np.bool_]) -> Box:
    """Find the smallest box that holds the largest connected part of a mask.

    Pixels are connected that share a side. Of parts of one size it is the first in reading order.

    Args:
        mask: What is in.

    Returns:
        The box; one without a pixel where nothing is in.

    Shape:
        mask: (H, W).

    Example:
        >>> largest_part(np.array([[1, 0, 0], [0, 0, 1], [0, 1, 1]], bool))
        Box(top=1, left=1, bottom=3, right=3)
    """
    parts, count = ndimage.label(mask)
    if not count:
        return Box(0, 0, 0, 0)
    sizes = np.bincount(parts.ravel())[1:]
    rows, columns = ndimage.find_objects(parts)[int(sizes.argmax())]
    return Box(rows.start, columns.start, rows.stop, columns.stop)


def map_boxes(
    values: NDArray[np.float64], thresholds: Sequence[float] = THRESHOLDS
) -> NDArray[np.float64]:
    """Make a box of a map at each of several thresholds.

    Args:
        values: Zero or more.
        thresholds: Shares of the largest value, from which on a pixel is in.

    Returns:
        (top, left, bottom, right) for each; without a pixel where the map is zero everywhere.

    Shape:
        values: (H, W). The result: (T, 4).
    """
    most = values.max()
    found = [largest_part((values >= share * most) & (values > 0)) for share in thresholds]
    return np.array([box.as_tuple() for box in found], np.float64)
