"""A network examined: its diagnosis, and its first two layers to be seen beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.experiments.diagnosis.glimpse import Glimpse, glimpse
from convscope.experiments.diagnosis.study import Diagnosis, diagnose
from convscope.images.preprocess import Preprocess
from convscope.network.exported import Network
from convscope.progress import Progress
from convscope.store.results import ResultStore

__all__ = ["BATCH", "Examined", "examine"]

BATCH = 32  # images at a time
GLIMPSED = 64  # images in which the second layer's strongest answers are looked for
PROJECTED = 32  # of its maps


@dataclass(frozen=True, eq=False)
class Examined:
    """A network and its diagnosis.

    filters : (K, 3, h, w), of the layer that looks at the pixels, or None
    preprocess : says in which order the network has its colours
    second : projections of the next layer, or None
    """

    title: str
    diagnosis: Diagnosis
    preprocess: Preprocess
    filters: Tensor | None = None
    second: Glimpse | None = None


def examine(
    network: Network,
    preprocess: Preprocess,
    title: str,
    batches: Iterable[Tensor] | None = None,
    *,
    total: int | None = None,
    pieces: ResultStore | None = None,
    progress: Progress | None = None,
) -> Examined:
    """`diagnose`, and what a figure shows besides.

    batches : of (n, 3, H, W) preprocessed images, read once; None: what the weights tell
    total, pieces : as in `diagnose`
    Raises  as `diagnose`.
    """
    kept: list[Tensor] = []
    images = None if batches is None else _keeping(batches, kept)
    diagnosis = diagnose(network, images, total=total, pieces=pieces, progress=progress)
    place = next((i for i, layer in enumerate(diagnosis.layers) if layer.first), None)
    second = 1 if place is None else place + 1
    seen = None
    if kept and second < len(diagnosis.layers):
        some = torch.cat(kept)[:GLIMPSED].to(network.device)
        seen = glimpse(network, some, diagnosis.layers[second].name, maps=PROJECTED)
    filters = None
    if place is not None:
        filters = network.nodes[diagnosis.layers[place].name].tensors["weight"]
    return Examined(title, diagnosis, preprocess, filters, seen)


def _keeping(batches: Iterable[Tensor], kept: list[Tensor]) -> Iterator[Tensor]:
    """The batches as they come; the first of them stay in `kept`."""
    for batch in batches:
        if sum(map(len, kept)) < GLIMPSED:
            kept.append(batch)
        yield batch
