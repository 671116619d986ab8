"""How alike the images are that excite a feature map most: what the paper's Fig. 2 lets one see.

Of a map's strongest images, the share of pairs that show the same class. What chance gives is the
share among all images. A network before training has maps, too, whose strongest images are alike,
by colour or brightness alone: so it is measured beside the trained one, on the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.atlas.mine import scan
from convscope.atlas.topk import TopK
from convscope.images.batches import batches
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.network.exported import Network
from convscope.progress import Progress

__all__ = ["Grouping", "Purity", "purities", "strongest_images"]

BATCH = 32
LEAST = 3  # images that must excite a map, for its pairs to mean something


@dataclass(frozen=True)
class Purity:
    """A layer: the share of pairs of one class among each map's strongest images.

    maps : one for each map that enough images excite;   untrained : the same before training
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


def purities(images: Tensor, labels: Sequence[int | None]) -> tuple[float, ...]:
    """Of each map.   images : int64 (C, K), the strongest first, -1 where there is none"""
    found = []
    for row in images.tolist():
        seen = [labels[image] for image in row if image >= 0]
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


def strongest_images(
    network: Network,
    preprocess: Preprocess,
    images: ImageSet,
    layers: Mapping[str, str],
    top: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """By layer, int64 (C, K): each map's strongest images.   layers : layer -> its activation"""
    tables = {
        name: TopK.empty(network.layer(activation).channels, top, network.device)
        for name, activation in layers.items()
    }
    done = 0
    for batch in batches(images, preprocess, batch_size=BATCH, workers=workers):
        if len(batch):
            scan(network, batch.tensors, batch.indices, layers, tables)
        done += len(batch) + len(batch.skipped)
        if progress:
            progress("images, untrained network", done, len(images))
    found = {name: table.to("cpu") for name, table in tables.items()}
    return {
        name: torch.where(table.value > 0, table.image, torch.full_like(table.image, -1))
        for name, table in found.items()
    }
