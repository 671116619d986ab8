"""A quick look at some maps of a layer: each one's strongest answer among a few images, projected.

An atlas does this for all maps and images; here it is a picture beside a diagnosis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import BadInput
from convscope.geometry.box import Box
from convscope.images.pictures import crop, shown_box
from convscope.methods.project import project
from convscope.network.network import Network
from convscope.network.unit import Unit

__all__ = ["TopProjections", "top_projections"]


@dataclass(frozen=True, eq=False)
class TopProjections:
    """Some units of a layer, each in the image where its map is strongest.

    Attributes:
        layer: The layer that was asked for.
        projections: What each unit sees of its image, signed.

    Shape:
        projections: (3, h, w) each, float32.
    """

    layer: str
    units: tuple[Unit, ...]
    projections: tuple[Tensor, ...]


@torch.no_grad()
def top_projections(
    network: Network, images: Tensor, layer: str, *, maps: int = 16
) -> TopProjections:
    """Project maps spread evenly over a layer; maps that never answer are left out.

    Args:
        network: The network.
        images: Preprocessed, few: all of them are run at once.
        layer: A convolution, whose activation is looked at.
        maps: How many maps at most.

    Shape:
        images: (N, 3, H, W).

    Raises:
        NoSuchLayer: There is no such layer.
        BadInput: There is no image, or the layer has no grid.
    """
    activation = network.activation(layer)
    if not len(images) or len(network.layer(activation).shape) != 3:
        raise BadInput(f"the top projections of {layer} need images, and a layer with feature maps")
    trace = network.trace(images, [activation])
    peaks = trace[activation].amax((2, 3))  # (N, K)
    strongest, image = peaks.max(0)
    alive = (strongest > 0).nonzero().flatten().cpu()
    chosen = alive[torch.linspace(0, len(alive) - 1, min(maps, len(alive))).round().long()]
    units = [Unit(activation, int(k)) for k in chosen]
    if not units:
        return TopProjections(layer, (), ())
    projections = project(trace, units, images=[int(image[unit.channel]) for unit in units])
    height, width = images.shape[-2:]
    seen = []
    for pixels, sides in zip(projections.projection, projections.box.tolist(), strict=True):
        seen.append(crop(pixels.float().cpu(), shown_box(Box(*sides), height, width), 0.0))
    return TopProjections(layer, projections.units, tuple(seen))
