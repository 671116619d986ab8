"""How alike the images are that excite a feature map most: what the paper's Fig. 2 lets one see.

Of a map's strongest images, the share of pairs that show the same class. What chance gives is the
share among all images. A network before training has maps, too, whose strongest images are alike,
by colour or brightness alone: so it is measured beside the trained one, on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.record import Record

__all__ = ["Grouping", "Purity", "chance_of", "purities"]

LEAST = 3  # images that must excite a map, for its pairs to mean something


@dataclass(frozen=True)
class Purity(Record):
    """How pure a layer is: the share of pairs of one class among each map's strongest images.

    Attributes:
        maps: The share of each map that enough images excite.
        untrained: The same before training.
    """

    layer: str
    maps: tuple[float, ...]
    untrained: tuple[float, ...]


@dataclass(frozen=True)
class Grouping(Record):
    """How pure the layers are, from the bottom up.

    Attributes:
        layers: The layers.
        chance: The share of pairs of one class among all images.
        images: How many images there are.
        top: How many of the strongest images of each map were looked at.
    """

    layers: tuple[Purity, ...]
    chance: float
    images: int
    top: int


def purities(images: Tensor, values: Tensor, labels: Sequence[int | None]) -> tuple[float, ...]:
    """Compute the purity of each map of a layer that enough images excite.

    Args:
        images: The images of each map, the strongest first.
        values: Their activations; only images above 0 excite the map.
        labels: The class of each image; None where it is not known.

    Shape:
        images, values: (C, K).
    """
    found = []
    for row, strengths in zip(images.tolist(), values.tolist(), strict=True):
        pairs_seen = zip(row, strengths, strict=True)
        seen = [labels[image] for image, strength in pairs_seen if strength > 0]
        known = [label for label in seen if label is not None]
        if len(known) < LEAST:
            continue
        pairs = len(known) * (len(known) - 1) / 2
        counts = (known.count(label) for label in set(known))
        found.append(sum(n * (n - 1) / 2 for n in counts) / pairs)
    return tuple(found)


def chance_of(labels: Sequence[int | None]) -> float:
    """The share of pairs of one class among all images with a label."""
    known = torch.tensor([label for label in labels if label is not None])
    if len(known) < 2:
        return 0.0
    counts = known.bincount().double()
    return float((counts * (counts - 1)).sum() / (len(known) * (len(known) - 1)))
