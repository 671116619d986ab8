"""Occlusion sensitivity over several images, scored where the truth about them is known.

Zeiler & Fergus 2014, §4.2, Fig. 6
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadData
from convscope.experiments.samples import in_random_order
from convscope.experiments.sensitivity.pointing import (
    HARDLY,
    Agreement,
    Pointing,
    Scores,
    agreement,
    on_object,
    point,
    scores,
)
from convscope.experiments.sensitivity.recognised import Chosen, Truth, probabilities
from convscope.experiments.sensitivity.stored import (
    Arrays,
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
from convscope.scan.strongest import strongest
from convscope.stats import Estimate, mean_of, sign_test
from convscope.store.fingerprint import array_fingerprint
from convscope.store.results import ResultStore

__all__ = ["Comparison", "Elsewhere", "OcclusionStudy", "Row", "compare", "sensitivity"]

OTHERS = 3  # images besides, in which a feature map is shown
AMONG = 400  # images at most, in which they are looked for

PLACES = ("image", "row", "column", "value")

Mask = NDArray[np.bool_] | None
"""Which pixels are the object's; None where nobody says."""


@dataclass(frozen=True, eq=False)
class Row:
    """One image: the row of Fig. 6, and how it compares with the truth.

    probability, activity : None where the truth is not known
    without_object, without_ground : the target's probability with all of the object covered, and
        with all but it
    """

    name: str
    chosen: Chosen
    maps: OcclusionMaps
    elsewhere: tuple[Elsewhere, ...]
    agreement: Agreement
    probability: Pointing | None = None
    activity: Pointing | None = None
    without_object: float | None = None
    without_ground: float | None = None

    @property
    def hardly_falls(self) -> bool:
        """Whether the probability never falls by more than HARDLY of itself, wherever is covered.
        """  # fmt: skip
        return self.fallen <= HARDLY

    @property
    def fallen(self) -> float:
        """By what share of itself the probability falls at most; below 0 where it only rises."""
        base = self.maps.base_probability
        return (base - float(self.maps.probability.min())) / base if base > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the maps themselves."""
        maps = self.maps
        known: dict[str, Any] = {}
        if self.probability is not None and self.activity is not None:
            known = {
                "probability_map": self.probability.to_dict(),
                "activity_map": self.activity.to_dict(),
                "without_object": self.without_object,
                "without_ground": self.without_ground,
            }
        return {
            "name": self.name,
            "target": maps.target,
            "true_label": self.chosen.known,
            "probability": maps.base_probability,
            "lowest_probability": float(maps.probability.min()),
            "hardly_falls": self.hardly_falls,
            "log_odds": maps.base_log_odds,
            "lowest_log_odds": float(maps.log_odds.min()),
            "unit": str(maps.unit),
            "activity": maps.base_activity,
            "lowest_activity": float(maps.activity.min()),
            "labels": int(maps.label.unique().numel()),
            "others": [{"name": e.name, "unit": str(e.unit)} for e in self.elsewhere],
            "fall_with_projection": self.agreement.correlation,
            "energy_percentile_where_lowest": self.agreement.percentile,
            **known,
        }


@dataclass(frozen=True, eq=False)
class OcclusionStudy:
    """Fig. 6 for several images, and what they say together. Scores are None without a truth."""

    rows: tuple[Row, ...]
    occluder: Occluder
    probability: Scores | None
    activity: Scores | None
    correlation: Estimate
    percentile: Estimate

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "occluder": {"size": list(self.occluder.size), "stride": list(self.occluder.stride)},
            "images": [row.to_dict() for row in self.rows],
            "probability_map": None if self.probability is None else self.probability.to_dict(),
            "activity_map": None if self.activity is None else self.activity.to_dict(),
            "hardly_falls": self.hardly,
            "covered": {name: e.to_dict() for name, e in self.covered().items()},
            "activity_falls_with_projection": self.correlation.to_dict(),
            "energy_percentile_where_activity_lowest": self.percentile.to_dict(),
        }

    @property
    def hardly(self) -> int:
        """In how many images the probability hardly falls."""
        return sum(row.hardly_falls for row in self.rows)

    def covered(self) -> dict[str, Estimate]:
        """The target's probability as it is, without its object, and without its ground."""
        rows = [row for row in self.rows if row.without_object is not None]
        if not rows:
            return {}
        return {
            "nothing": mean_of([row.maps.base_probability for row in rows]),
            "object": mean_of([row.without_object or 0.0 for row in rows]),
            "ground": mean_of([row.without_ground or 0.0 for row in rows]),
        }


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images: the first's detection minus the second's, image by image.

    p : exact, two-sided, of a sign test
    """

    difference: Estimate
    better: int
    p: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"difference": self.difference.to_dict(), "better": self.better, "p": self.p}


def sensitivity(
    network: Network,
    images: ImageSet,
    preprocess: Preprocess,
    chosen: Sequence[Chosen],
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
    progress: Progress | None = None,
) -> OcclusionStudy:
    """Slide an occluder over each image; where the truth is known, score what it finds.

    chosen : the images, such as from `recognised`
    fill : in preprocessed units; default grey
    layer : whose strongest feature map is watched; default the last convolutional one
    others, among : in how many other images that map is shown, of how many that are searched
    out, resume : a folder that keeps what each image gave: an interrupted study goes on there
    Raises  BadData: no images; FolderInUse: as `ResultStore`; as `occlude`.
    Source: Zeiler & Fergus 2014, §4.2, Fig. 6
    """
    if not chosen:
        raise BadData(f"{images.spec}: no image was chosen to be looked at")
    fill = preprocess.fill("grey") if fill is None else fill
    occluder = occluder or Occluder.fitting(*preprocess.size)
    first = preprocess.tensor(images.picture(chosen[0].index))
    watched = strongest_map(network, first, layer).layer
    masks = [None if truth is None else _placed(truth(one.index), preprocess) for one in chosen]
    settings = {}
    if out is not None:
        settings = {
            "study": "sensitivity",
            "network": network.identity()[:16],
            "preprocess": {**preprocess.to_dict(), "gives": array_fingerprint([first.numpy()])},
            "images": f"{len(images)}, identity {images.identity()[:16]}",
            "count": len(chosen),
            "looked_at": array_fingerprint(np.array([(c.index, c.target)]) for c in chosen),
            "truth": array_fingerprint(mask for mask in masks if mask is not None),
            "occluder": str(occluder),
            "fill": array_fingerprint([fill_planes(fill, first).numpy()]),
            "layer": watched,
            "others": others,
            "among": among,
            "seed": seed,
        }
    pieces = ResultStore(out, settings, resume=resume)

    def mined() -> Arrays:
        found = strongest(
            network, images, preprocess, {watched: watched}, others + 1,
            indices=sorted(list(in_random_order(images, seed))[:among]) if others else (),
            workers=workers, progress=named(progress, watched),
        )[watched]  # fmt: skip
        return {name: getattr(found, name).cpu().numpy() for name in PLACES}

    table = pieces.arrays("strongest", mined)
    rows = []
    for done, (one, mask) in enumerate(zip(chosen, masks, strict=True), 1):
        image = preprocess.tensor(images.picture(one.index))

        def made(one: Chosen = one, mask: Mask = mask, image: Tensor = image) -> Arrays:
            found = occlude(network, image, occluder, fill=fill, target=one.target, layer=watched)
            elsewhere = _elsewhere(
                network, images, preprocess, table, found.unit, one.index, others
            )
            return stored(found, elsewhere, _without(network, found, mask))

        arrays = pieces.arrays(f"image {one.index}", made)
        rows.append(_row(images.name(one.index), one, maps_from(arrays, image, fill), arrays, mask))
        if progress:
            progress("images", done, len(chosen))
    return _study(tuple(rows), occluder)


def compare(first: OcclusionStudy, second: OcclusionStudy) -> Comparison | None:
    """Which of two networks' probability maps finds the object; None without a truth.

    Raises  BadData: the studies are of different images.
    """
    if [row.name for row in first.rows] != [row.name for row in second.rows]:
        raise BadData("the two studies are of different images: choose the same for both")
    differences = [
        a.probability.detection - b.probability.detection
        for a, b in zip(first.rows, second.rows, strict=True)
        if a.probability is not None and b.probability is not None
    ]
    if not differences:
        return None
    better = sum(value > 0 for value in differences)
    return Comparison(mean_of(differences), better, sign_test(differences))


def _study(rows: tuple[Row, ...], occluder: Occluder) -> OcclusionStudy:
    probability = [row.probability for row in rows if row.probability is not None]
    activity = [row.activity for row in rows if row.activity is not None]
    return OcclusionStudy(
        rows,
        occluder,
        scores(probability) if probability else None,
        scores(activity) if activity else None,
        mean_of([row.agreement.correlation for row in rows]),
        mean_of([row.agreement.percentile for row in rows]),
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


def _row(name: str, one: Chosen, maps: OcclusionMaps, arrays: Arrays, mask: Mask) -> Row:
    row = Row(name, one, maps, elsewhere_from(arrays), agreement(maps))
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


def _elsewhere(
    network: Network,
    images: ImageSet,
    preprocess: Preprocess,
    table: Arrays,
    unit: Unit,
    index: int,
    others: int,
) -> tuple[Elsewhere, ...]:
    """A map's strongest other images, and its projection in each."""
    places = [
        (int(image), unit.at(int(row), int(column)) if unit.position else unit)
        for image, row, column, value in zip(
            *(table[name][unit.channel] for name in PLACES),
            strict=True,
        )
        if int(image) not in (-1, index) and float(value) > 0
    ][:others]
    if not places:
        return ()
    tensors = torch.stack([preprocess.tensor(images.picture(image)) for image, _ in places])
    trace = network.trace(tensors, [unit.layer])
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
