"""Occlusion sensitivity over several images, scored where the truth about them is known.

Zeiler & Fergus 2014, §4.2, Fig. 6
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadData
from convscope.execution import Execution
from convscope.experiments.correctly_classified import ChosenImage, Truth, probabilities
from convscope.experiments.samples import in_random_order
from convscope.experiments.sensitivity.pointing_game import agreement, on_object, point, scores
from convscope.experiments.sensitivity.result import OccludedImage, OcclusionStudy
from convscope.experiments.sensitivity.stored import (
    Elsewhere,
    elsewhere_from,
    maps_from,
    stored,
)
from convscope.geometry.box import Box
from convscope.images.image_set import ImageSet
from convscope.images.placing import placing
from convscope.images.preprocess import Preprocess
from convscope.methods.occluder import Occluder, fill_planes
from convscope.methods.occlusion import OcclusionMaps, occlude, strongest_map
from convscope.methods.project import project
from convscope.network.network import Network
from convscope.network.unit import Unit
from convscope.progress import Progress, named
from convscope.scan.engine import Scan
from convscope.scan.items import for_each, made_together, open_results
from convscope.scan.strongest import Strongest
from convscope.stats import mean_of
from convscope.store.fingerprint import array_fingerprint
from convscope.store.results import Arrays

__all__ = ["sensitivity"]

ImageUnit = tuple[int, Unit]  # an image by its number, and a unit in it

OTHERS = 3  # images besides, in which a feature map is shown
AMONG = 400  # images at most, in which they are looked for

PLACES = ("image", "row", "column", "value")
SKIPPED = "skipped"  # beside these, if there are any: names of images that cannot be read

Mask = NDArray[np.bool_] | None
"""Which pixels are the object's; None where nobody says."""


def sensitivity(
    network: Network,
    images: ImageSet,
    preprocess: Preprocess,
    chosen: Sequence[ChosenImage],
    *,
    truth: Truth | None = None,
    occluder: Occluder | None = None,
    fill: Tensor | float | None = None,
    layer: str | None = None,
    others: int = OTHERS,
    among: int = AMONG,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int | None = None,
    seed: int = 0,
    ranks: Ranks = ALONE,
    progress: Progress | None = None,
) -> OcclusionStudy:
    """Slide an occluder over each image; where the truth is known, score what it finds.

    Args:
        network: on the device that is to be used.
        images: the set.
        preprocess: from pictures to the network's input.
        chosen: the images to look at, such as from `correctly_classified`.
        truth: tells an object's pixels; None where nobody says.
        occluder: default: a seventh of the input.
        fill: what it shows, in preprocessed units; default grey.
        layer: whose strongest feature map is watched; default the last convolutional one.
        others: in how many other images that map is shown.
        among: in how many images these are looked for.
        out: a folder that keeps what each image gave; None keeps nothing.
        resume: go on with an interrupted study there.
        workers: threads that decode; None takes one per core.
        seed: of the images that are searched.
        ranks: which of several processes this is; each sweeps its share of the images.
        progress: is told how many images are done.

    Raises:
        BadData: no images.
        FolderInUse: as `ResultStore`.
        BadInput: as `occlude`.

    Source:
        Zeiler & Fergus 2014, §4.2, Fig. 6

    Example:
        >>> images = convscope.open_images("scenes:val")
        >>> selection = correctly_classified([(network, preprocess)], images, count=5)
        >>> convscope.sensitivity(network, images, preprocess, selection.chosen).to_dict()
    """
    if not chosen:
        raise BadData(f"{images.spec}: no image was chosen to be looked at")
    fill = preprocess.fill("grey") if fill is None else fill
    occluder = occluder or Occluder.fitting(*preprocess.size)
    tensors = [preprocess.tensor(images.picture_as(one.index, preprocess.form)) for one in chosen]
    watched = strongest_map(network, tensors[0], layer).layer
    masks = [None if truth is None else _placed(truth(one.index), preprocess) for one in chosen]
    settings = {}
    if out is not None:
        gives = array_fingerprint([tensors[0].numpy()])
        settings = {
            "study": "sensitivity",
            "network": network.identity()[:16],
            "preprocess": {**preprocess.to_dict(), "gives": gives},
            "images": f"{len(images)}, identity {images.identity()[:16]}",
            "count": len(chosen),
            "looked_at": array_fingerprint(np.array([(c.index, c.target)]) for c in chosen),
            "truth": array_fingerprint(mask for mask in masks if mask is not None),
            "occluder": str(occluder),
            "fill": array_fingerprint([fill_planes(fill, tensors[0]).numpy()]),
            "layer": watched,
            "others": others,
            "among": among,
            "seed": seed,
        }

    def searched() -> Arrays:
        few = sorted(list(in_random_order(images, seed))[:among]) if others else ()
        scan = Scan(
            network, images, preprocess, few,
            workers=workers, ranks=ranks, progress=named(progress, watched),
        )  # fmt: skip
        return _strongest(scan, watched, others + 1)

    def swept(number: int) -> Arrays:
        one = chosen[number]
        maps = occlude(
            network, tensors[number], occluder, fill=fill, target=one.target, layer=watched
        )
        places = _places_elsewhere(table, maps.unit, one.index, others)
        elsewhere = _elsewhere(network, images, preprocess, places)
        return stored(maps, elsewhere, _without(network, maps, masks[number]))

    with open_results(out, settings, resume=resume, ranks=ranks) as results:
        table = made_together("strongest", searched, results, results.arrays, ranks=ranks)
        seen = for_each(
            [f"image {one.index}" for one in chosen], swept, results, results.arrays,
            Execution(ranks=ranks, progress=progress),
        )  # fmt: skip
    rows = [
        _row(images.name(one.index), one, maps_from(arrays, image, fill), arrays, mask)
        for one, image, mask, arrays in zip(chosen, tensors, masks, seen, strict=True)
    ]
    return _study(tuple(rows), occluder, tuple(map(str, table.get(SKIPPED, ()))))


def _strongest(scan: Scan, layer: str, top: int) -> Arrays:
    """The images that excite each map of a layer most, and those that could not be read."""
    observer = Strongest(scan.network, {layer: layer}, top)
    seen = scan.run(observer)
    found = observer.tables[layer]
    table = {name: getattr(found, name).cpu().numpy() for name in PLACES}
    if seen.skipped:
        table[SKIPPED] = np.array([name for _, name, _ in seen.skipped])
    return table


def _study(
    rows: tuple[OccludedImage, ...], occluder: Occluder, skipped: tuple[str, ...]
) -> OcclusionStudy:
    probability = [row.probability for row in rows if row.probability is not None]
    activity = [row.activity for row in rows if row.activity is not None]
    return OcclusionStudy(
        rows,
        occluder,
        scores(probability) if probability else None,
        scores(activity) if activity else None,
        mean_of([row.agreement.correlation for row in rows]),
        mean_of([row.agreement.percentile for row in rows]),
        skipped,
    )


def _placed(mask: Mask, preprocess: Preprocess) -> Mask:
    """A mask of the picture's pixels as one of the input's."""
    return None if mask is None else placing(preprocess, *mask.shape).mask(mask)


def _without(network: Network, maps: OcclusionMaps, mask: Mask) -> tuple[float, float] | None:
    """The target's probability with all of the object covered, and with all but it."""
    if mask is None:
        return None
    inside = torch.from_numpy(mask)
    hidden = torch.stack([
        torch.where(inside, maps.fill, maps.image), torch.where(inside, maps.image, maps.fill)
    ])  # fmt: skip
    bare, alone = probabilities(network, hidden)[:, maps.target].tolist()
    return bare, alone


def _row(
    name: str, one: ChosenImage, maps: OcclusionMaps, arrays: Arrays, mask: Mask
) -> OccludedImage:
    row = OccludedImage(name, one, maps, elsewhere_from(arrays), agreement(maps))
    if mask is None:
        return row
    on = on_object(mask, maps)
    bare, alone = arrays["without"].tolist()
    return replace(
        row,
        probability=point(
            maps.probability, maps.base_probability, on, (maps.log_odds, maps.base_log_odds)
        ),
        activity=point(maps.activity, maps.base_activity, on),
        without_object=bare,
        without_ground=alone,
    )


def _places_elsewhere(table: Arrays, unit: Unit, index: int, others: int) -> list[ImageUnit]:
    """Where a map is strongest in other images: at most so many, each with the image's number."""
    return [
        (int(image), unit.at(int(row), int(column)) if unit.position else unit)
        for image, row, column, value in zip(
            *(table[name][unit.channel] for name in PLACES),
            strict=True,
        )
        if int(image) not in (-1, index) and float(value) > 0
    ][:others]


def _elsewhere(
    network: Network, images: ImageSet, preprocess: Preprocess, places: Sequence[ImageUnit]
) -> tuple[Elsewhere, ...]:
    """A map's projection in each of these images."""
    if not places:
        return ()
    form = preprocess.form
    tensors = torch.stack([preprocess.tensor(images.picture_as(i, form)) for i, _ in places])
    trace = network.trace(tensors, [places[0][1].layer])
    rows = list(range(len(places)))
    found = project(trace, [place for _, place in places], images=rows)
    return tuple(
        Elsewhere(
            images.name(image),
            found.units[i],
            float(found.activation[i]),
            found.projection[i].cpu(),
            Box(*(int(side) for side in found.box[i])),
        )
        for i, (image, _) in enumerate(places)
    )
