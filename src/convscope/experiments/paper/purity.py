"""How alike the images are that excite a feature map most: what the paper's Fig. 2 lets one see.

Of a map's strongest images, the share of pairs that show the same class. What chance gives is the
share among all images. A network before training has maps, too, whose strongest images are alike,
by colour or brightness alone: so it is measured beside the trained one, on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Grouping", "Purity", "chance_of", "purities"]

LEAST = 3  # images that must excite a map, for its pairs to mean something


@dataclass(frozen=True)
class Purity:
    """How pure a layer is: the share of pairs of one class among each map's strongest images.

    Attributes:
        maps: The share of each map that enough images excite.
        untrained: The same before training.
    """

    layer: str
    maps: tuple[float, ...]
    untrained: tuple[float, ...]


@dataclass(frozen=True)
class Grouping:
    """Bottom up. chance : share of pairs of one class among all images; images, top : how many"""

    layers: tuple[Purity, ...]
    chance: float
    images: int
    top: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def purities(images: Tensor, values: Tensor, labels: Sequence[int | None]) -> tuple[float, ...]:
    """Of each map.   images, values : (C, K), the strongest first; only those above 0 excite it"""
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
