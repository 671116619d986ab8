"""A network examined: its diagnosis, and its first two layers to be seen beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.experiments.diagnosis.diagnosis import Diagnosis, diagnose
from convscope.experiments.diagnosis.top_projections import TopProjections, top_projections
from convscope.images.preprocess import Preprocess
from convscope.network.network import Network
from convscope.progress import Progress
from convscope.scan.engine import Commits, Scan

__all__ = ["BATCH", "Examined", "examine"]

BATCH = 32  # images at a time
GLIMPSED = 64  # images in which the second layer's strongest answers are looked for
PROJECTED = 32  # of its maps


@dataclass(frozen=True, eq=False)
class Examined:
    """A network and its diagnosis, with what a figure shows besides.

    Attributes:
        title: Its name in the figure.
        diagnosis: The diagnosis.
        preprocess: How the network wants its images, the order of colours among it.
        filters: Those of the layer that looks at the pixels, or None.
        second: Projections of the next layer, or None.

    Shape:
        filters: (K, 3, h, w).
    """

    title: str
    diagnosis: Diagnosis
    preprocess: Preprocess
    filters: Tensor | None = None
    second: TopProjections | None = None


def examine(
    network: Network,
    preprocess: Preprocess,
    title: str,
    images: Scan | Iterable[Tensor] | None = None,
    *,
    commits: Commits | None = None,
    progress: Progress | None = None,
) -> Examined:
    """`diagnose`, and what a figure shows besides.

    Args:
        network: to be diagnosed.
        preprocess: how it wants its images.
        title: its name in the figure.
        images: a scan, or batches (n, 3, H, W) of preprocessed images; None: what the weights tell.
        commits: as in `diagnose`.
        progress: of batches; a scan has its own.

    Raises:
        BadModel, BadInput, NonFinite: as `diagnose`.
    """
    if images is not None and not isinstance(images, Scan):
        images = list(images)  # they are looked at twice
    diagnosis = diagnose(network, images, commits=commits, progress=progress)
    place = next((i for i, layer in enumerate(diagnosis.layers) if layer.first), None)
    second = 1 if place is None else place + 1
    seen = None
    if images is not None and second < len(diagnosis.layers):
        some = images.first(GLIMPSED) if isinstance(images, Scan) else torch.cat(images)
        name = diagnosis.layers[second].name
        seen = top_projections(network, some[:GLIMPSED].to(network.device), name, maps=PROJECTED)
    filters = None
    if place is not None:
        filters = network.nodes[diagnosis.layers[place].name].tensors["weight"]
    return Examined(title, diagnosis, preprocess, filters, seen)
