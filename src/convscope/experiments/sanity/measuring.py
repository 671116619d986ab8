"""One network and the images it names correctly -> what its pictures are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.execution import ONE_PROCESS, Execution
from convscope.experiments.correctly_classified import ChosenImage, Truth
from convscope.experiments.sanity.likeness import (
    redrawn_likeness,
    redrawn_steps,
    unit_likeness,
)
from convscope.experiments.sanity.planted import (
    Planted,
    planted_classes,
    planted_detectors,
    planted_grounds,
)
from convscope.experiments.sanity.pointing import RULES, PointingMethod, marks
from convscope.experiments.sanity.result import LayerPictures, Pointing, Redrawn, Sanity
from convscope.images.image_set import ImageSet
from convscope.images.placing import placing
from convscope.images.preprocess import Preprocess
from convscope.methods.classes import Head
from convscope.network.network import Network
from convscope.progress import counted_as
from convscope.scan.items import for_each
from convscope.stats import Rate, mean_of
from convscope.store.results import ResultStore

__all__ = ["LookedAt", "sanity"]

PLANTS = 10
"""Detectors and grounds that are planted."""


@dataclass(frozen=True, eq=False)
class LookedAt:
    """Images with a class each, and how the network wants them.

    Attributes:
        images: The set.
        chosen: Which of them, and the class of each.
        preprocess: From pictures to the network's input.
        truth: Tells an object's pixels; None where nobody says.
    """

    images: ImageSet
    chosen: Sequence[ChosenImage]
    preprocess: Preprocess
    truth: Truth | None = None

    def mask(self, index: int) -> NDArray[np.bool_] | None:
        """The object's pixels in the network's input, if they are known."""
        mask = None if self.truth is None else self.truth(index)
        return None if mask is None else placing(self.preprocess, *mask.shape).mask(mask)


def sanity(
    network: Network,
    looked_at: LookedAt,
    layers: Sequence[str],
    results: ResultStore,
    *,
    seed: int = 0,
    how: Execution = ONE_PROCESS,
) -> Sanity:
    """Measure what pictures of a network are worth.

    Args:
        network: A network that classifies.
        looked_at: The images.
        layers: Convolutions, from the bottom up; each stands for its activation. Pictures of the
            last one are to point at the object.
        results: Where the result of each image is kept.
        seed: Of what is drawn.
        how: Which of several processes this is, and who is told how many images are done.

    Raises:
        BadInput: The network ends in no score per class.

    Source:
        Sixt et al. 2020; Adebayo et al. 2018; Nie et al. 2018; the pointing game is Zhang et al.'s,
        2016, "Top-down neural attention by excitation backprop".
    """
    Head.of(network)
    steps = redrawn_steps(network)
    chosen = looked_at.chosen

    def measured(number: int) -> dict[str, Any]:
        one = chosen[number]
        generator = torch.Generator().manual_seed(1_000_003 * seed + one.index)
        picture = looked_at.images.picture(one.index)
        image = looked_at.preprocess.tensor(picture).to(_device(network))
        trace = network.trace(image)
        mask = looked_at.mask(one.index)
        found: dict[str, Any] = {
            "layers": [
                unit_likeness(trace, network.activation(layer), one.target, generator)
                for layer in layers
            ],
            "redrawn": redrawn_likeness(trace, one.target, steps, generator),
            "pointing": None,
        }
        if mask is not None and mask.any():
            fill = looked_at.preprocess.fill("grey").to(image.device)
            top = network.activation(layers[-1])
            found["pointing"] = {
                str(kind): [mark.hit(mask), mark.chance(mask)]
                for kind, mark in marks(network, image, one.target, top, fill).items()
            }
        return found

    rows: list[dict[str, Any]] = for_each(
        [f"image {one.index}" for one in chosen], measured, results, results.record, how
    )  # fmt: skip
    return Sanity(
        images=len(chosen),
        pointing=_pointing([row["pointing"] for row in rows if row["pointing"] is not None]),
        layers=tuple(
            _layer(layer, [row["layers"][i] for row in rows]) for i, layer in enumerate(layers)
        ),
        redrawn=Redrawn(
            tuple(map(tuple, steps)),
            {name: tuple(tuple(row["redrawn"][name]) for row in rows) for name in RULES},
        ),
        planted=_planted(results, seed, how),
    )


def _device(network: Network) -> torch.device:
    """Where its weights are."""
    tensors = (tensor for node in network.nodes.values() for tensor in node.tensors.values())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _layer(layer: str, rows: Sequence[dict[str, Any]]) -> LayerPictures:
    alike, above, disc = (
        {name: tuple(row[each][name] for row in rows) for name in RULES}
        for each in ("alike", "above", "disc")
    )
    return LayerPictures(layer, tuple(row["unit"] for row in rows), alike, above, disc)


def _pointing(rows: Sequence[dict[str, Any]]) -> tuple[Pointing, ...]:
    """Over the images that have a picture of the kind."""
    found = []
    for kind in PointingMethod:
        some = [row for row in rows if kind in row]
        if not some:
            continue
        hits, chances = zip(*(row[kind] for row in some), strict=True)
        leads = [float(row[kind][0]) - float(row[PointingMethod.CENTRE][0]) for row in some]
        lead = None if kind is PointingMethod.CENTRE else mean_of(leads)
        found.append(Pointing(str(kind), Rate.of(hits, chances), lead))
    return tuple(found)


def _planted(results: ResultStore, seed: int, how: Execution) -> tuple[Planted, ...]:
    makes = (
        lambda: planted_detectors(PLANTS, seed),
        lambda: planted_grounds(PLANTS, seed),
        lambda: planted_classes(seed),
    )

    def made(number: int) -> dict[str, Any]:
        return {"planted": [each.to_dict() for each in makes[number]()]}

    names = ["planted detectors", "planted grounds", "planted classes"]
    how = replace(how, progress=counted_as(how.progress, "plants"))
    kept = for_each(names, made, results, results.record, how)
    return tuple(Planted(**each) for some in kept for each in some["planted"])
