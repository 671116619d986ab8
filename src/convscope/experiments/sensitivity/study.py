"""Occlusion sensitivity over several images, scored where the truth about them is known.

Zeiler & Fergus 2014, §4.2, Fig. 6
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.atlas.mine import strongest
from convscope.atlas.topk import TopK
from convscope.errors import BadData
from convscope.experiments.chance import Estimate, mean_of, sign_test
from convscope.experiments.samples import in_random_order
from convscope.experiments.sensitivity.pointing import (
    Agreement,
    Pointing,
    Scores,
    agreement,
    on_object,
    point,
    scores,
)
from convscope.experiments.sensitivity.recognised import Chosen, Truth, probabilities
from convscope.geometry.box import Box
from convscope.images.image_set import ImageSet
from convscope.images.placing import placing
from convscope.images.preprocess import Preprocess
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import OcclusionMaps, occlude
from convscope.methods.project import project
from convscope.network.exported import Network
from convscope.network.unit import Unit
from convscope.progress import Progress, named

__all__ = ["Comparison", "Elsewhere", "OcclusionStudy", "Row", "compare", "sensitivity"]

OTHERS = 3  # images besides, in which a feature map is shown
AMONG = 400  # images at most, in which they are looked for


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """A feature map's strongest unit in another image.

    projection : (3, H, W), in the scale of the preprocessed image;   box : the unit's field
    """

    name: str
    unit: Unit
    activation: float
    projection: Tensor
    box: Box


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
            "covered": {name: e.to_dict() for name, e in self.covered().items()},
            "activity_falls_with_projection": self.correlation.to_dict(),
            "energy_percentile_where_activity_lowest": self.percentile.to_dict(),
        }

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
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> OcclusionStudy:
    """Slide an occluder over each image; where the truth is known, score what it finds.

    chosen : the images, such as from `recognised`
    fill : in preprocessed units; default grey
    layer : whose strongest feature map is watched; default the last convolutional one
    others, among : in how many other images that map is shown, of how many that are searched
    Raises  BadData: no images; as `occlude`.     Source: Zeiler & Fergus 2014, §4.2, Fig. 6
    """
    if not chosen:
        raise BadData(f"{images.spec}: no image was chosen to be looked at")
    fill = preprocess.fill("grey") if fill is None else fill
    occluder = occluder or Occluder.fitting(*preprocess.size)
    maps = []
    for done, one in enumerate(chosen, 1):
        tensor = preprocess.tensor(images.picture(one.index))
        maps.append(occlude(network, tensor, occluder, fill=fill, target=one.target, layer=layer))
        if progress:
            progress("images", done, len(chosen))
    layer = maps[0].unit.layer
    table = strongest(
        network, images, preprocess, {layer: layer}, others + 1,
        indices=sorted(list(in_random_order(images, seed))[:among]) if others else (),
        workers=workers, progress=named(progress, layer),
    )[layer]  # fmt: skip
    rows = []
    for one, found in zip(chosen, maps, strict=True):
        elsewhere = _elsewhere(network, images, preprocess, table, found.unit, one.index, others)
        row = Row(images.name(one.index), one, found, elsewhere, agreement(found))
        mask = None if truth is None else truth(one.index)
        rows.append(row if mask is None else _scored(network, preprocess, row, mask))
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


def _scored(network: Network, preprocess: Preprocess, row: Row, mask: NDArray[np.bool_]) -> Row:
    maps = row.maps
    mask = placing(preprocess, *mask.shape).mask(mask)
    on = on_object(mask, maps)
    inside = torch.from_numpy(mask)
    hidden = torch.stack([
        torch.where(inside, maps.fill, maps.image), torch.where(inside, maps.image, maps.fill)
    ])  # fmt: skip
    without = probabilities(network, hidden)[:, maps.target].tolist()
    return Row(
        row.name,
        row.chosen,
        maps,
        row.elsewhere,
        row.agreement,
        point(maps.probability, maps.base_probability, on),
        point(maps.activity, maps.base_activity, on),
        *without,
    )


def _elsewhere(
    network: Network,
    images: ImageSet,
    preprocess: Preprocess,
    table: TopK,
    unit: Unit,
    index: int,
    others: int,
) -> tuple[Elsewhere, ...]:
    """A map's strongest other images, and its projection in each."""
    places = [
        (int(image), unit.at(int(row), int(column)) if unit.position else unit)
        for image, row, column, value in zip(
            table.image[unit.channel],
            table.row[unit.channel],
            table.column[unit.channel],
            table.value[unit.channel],
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
