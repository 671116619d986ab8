"""Boxes of maps against marked boxes: what each image gives, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadData, BadImage
from convscope.experiments.correctly_classified import probabilities
from convscope.experiments.localization.maps import THRESHOLDS, MapMethod, Question, map_boxes
from convscope.experiments.localization.marked_images import MarkedImage, place_boxes
from convscope.experiments.localization.result import (
    CENTRED,
    RIGHT,
    WHOLE,
    BoxScore,
    Example,
)
from convscope.geometry.overlap import overlaps
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.methods.occluder import Fill
from convscope.network.network import Network
from convscope.stats import Share, mean_of, sign_test
from convscope.store.results import Arrays

__all__ = ["Looking", "Seen", "box_examples", "chosen_threshold", "mean_box", "scored"]

Boxes = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Looking:
    """How images are looked at.

    Attributes:
        network: On its device.
        preprocess: From pictures to its input.
        layer: Of the spotlight, the contrastive map and grad-cam.
        methods: Whose maps are made.
        fill: What an occluder shows.
    """

    network: Network
    preprocess: Preprocess
    layer: str
    methods: tuple[MapMethod, ...]
    fill: Fill

    def at(self, images: ImageSet, marked: MarkedImage, *, maps: bool = False) -> Arrays:
        """Look at one image.

        Args:
            images: The set.
            marked: The image, and what is looked for in it.
            maps: Keep the maps, too, as bytes: 255 is the largest value.

        Returns:
            `truth` (n, 4), the marked boxes in the input; `beyond`, how many were cut; of each
            method its boxes at THRESHOLDS; `unread`, the reason, alone, of an image that cannot be
            read; `unseen`, alone, where the input shows no box.

        Raises:
            BadData: A box lies wholly outside its picture.
        """
        name = images.name(marked.index)
        try:
            picture = images.picture_as(marked.index, self.preprocess.form)
        except BadImage as error:
            return {"unread": np.array(str(error))}
        placed = place_boxes(marked.boxes, self.preprocess, picture.size, name)
        if not len(placed.edges):
            return {"unseen": np.array(True)}
        image = self.preprocess.tensor(picture).to(self.network.device)
        target = self._target(image) if marked.target is None else marked.target
        asked = Question(self.network, image, target, self.layer, self.fill)
        found: Arrays = {
            "truth": placed.edges, "beyond": np.array(placed.beyond), "target": np.array(target)
        }  # fmt: skip
        for method in self.methods:
            values = asked.map(method).numpy()
            found[f"boxes {method}"] = map_boxes(values)
            if maps:
                share = values / (values.max() or 1)
                found[f"map {method}"] = (255 * share).round().astype(np.uint8)
        return found

    def _target(self, image: Tensor) -> int:
        """The class that the network predicts."""
        return int(probabilities(self.network, image[None])[0].argmax())


@dataclass(frozen=True, eq=False)
class Seen:
    """What some images gave, of those that could be looked at.

    Attributes:
        names: Of the images.
        indices: Of the images, in their set.
        rows: What each gave.
        unread: (name, reason) of those that cannot be read.
        unseen: How many inputs show none of the marked boxes.
    """

    names: tuple[str, ...]
    indices: tuple[int, ...]
    rows: tuple[Arrays, ...]
    unread: tuple[tuple[str, str], ...]
    unseen: int

    @classmethod
    def of(cls, images: ImageSet, asked: Sequence[MarkedImage], found: Sequence[Arrays]) -> Seen:
        """Sort out what could be looked at.

        Raises:
            BadData: Nothing could.
        """
        names = [images.name(marked.index) for marked in asked]
        there = [i for i, row in enumerate(found) if "truth" in row]
        unread = [
            (n, str(row["unread"])) for n, row in zip(names, found, strict=True) if "unread" in row
        ]
        if not there:
            why = f", such as {unread[0][1]}" if unread else ": the input shows none of their boxes"
            raise BadData(f"{images.spec}: none of {len(found)} images can be looked at{why}")
        unseen = len(found) - len(there) - len(unread)
        rows = tuple(found[i] for i in there)
        indices = tuple(asked[i].index for i in there)
        return cls(tuple(names[i] for i in there), indices, rows, tuple(unread), unseen)

    @property
    def beyond(self) -> int:
        """How many boxes reached beyond their pictures."""
        return sum(int(row["beyond"]) for row in self.rows)

    def overlaps_of(self, method: str) -> NDArray[np.float64]:
        """(N, T), of a method's boxes at each threshold with the marked one that is nearest."""
        return np.stack([_best(row[f"boxes {method}"], row["truth"]) for row in self.rows])

    def overlaps_with(self, box: Boxes) -> NDArray[np.float64]:
        """(N,), of one box with the marked one that is nearest in each image."""
        return np.array([_best(box[None], row["truth"])[0] for row in self.rows])


def _best(boxes: Boxes, truth: Boxes) -> NDArray[np.float64]:
    best: NDArray[np.float64] = overlaps(boxes, truth).max(1)
    return best


def mean_box(tuning: Seen, size: tuple[int, int]) -> Boxes:
    """The box in the middle of the input that is as large as the marked ones on average.

    Args:
        tuning: The images whose boxes count: others than those judged.
        size: (height, width) of the input.

    Shape:
        The result: (4,), (top, left, bottom, right).
    """
    marked = np.concatenate([row["truth"] for row in tuning.rows])
    sides = (marked[:, 2:] - marked[:, :2]).mean(0)
    corner = (np.array(size) - sides) / 2
    return np.concatenate([corner, corner + sides])


def chosen_threshold(tuning: Seen, method: str, given: float | None) -> int:
    """The number of the threshold at which a method's boxes overlap the marked ones most.

    Args:
        tuning: The images to choose on.
        method: The method.
        given: The threshold to take instead; it is rounded to one of THRESHOLDS.

    Returns:
        Of THRESHOLDS; of equals the first.
    """
    if given is not None:
        return int(np.abs(np.array(THRESHOLDS) - given).argmin())
    return int(tuning.overlaps_of(method).mean(0).argmax())


def scored(
    judged: Seen, thresholds: Mapping[str, int], centred: Boxes, size: tuple[int, int]
) -> tuple[BoxScore, ...]:
    """Score every method's boxes, the centred box and the whole image.

    Args:
        judged: The images.
        thresholds: By method, which of THRESHOLDS was chosen.
        centred: The centred box.
        size: (height, width) of the input.
    """
    chance = judged.overlaps_with(centred)
    found = {name: judged.overlaps_of(name)[:, at] for name, at in thresholds.items()}
    whole = judged.overlaps_with(np.array([0.0, 0.0, *size]))
    rows = [
        _score(name, over, chance, THRESHOLDS[thresholds[name]]) for name, over in found.items()
    ]
    return (*rows, _score(CENTRED, chance, None), _score(WHOLE, whole, chance))


def _score(
    name: str,
    found: NDArray[np.float64],
    chance: NDArray[np.float64] | None,
    threshold: float | None = None,
) -> BoxScore:
    right = found >= RIGHT
    lead, p = None, None
    if chance is not None:
        lead = mean_of((found - chance).tolist())
        p = sign_test((right.astype(float) - (chance >= RIGHT)).tolist())
    return BoxScore(
        name, threshold, Share.of(right.tolist()), mean_of(found.tolist()), lead, p,
        tuple(found.tolist()),
    )  # fmt: skip


def box_examples(
    judged: Seen, thresholds: Mapping[str, int], shown: Callable[[int], NDArray[np.uint8]]
) -> tuple[Example, ...]:
    """The images whose maps were kept, with the box of each method.

    Args:
        judged: The images.
        thresholds: By method, which of THRESHOLDS was chosen.
        shown: Gives the picture of an index as the network sees it, uint8 (H, W, 3).
    """
    found = []
    for name, index, row in zip(judged.names, judged.indices, judged.rows, strict=True):
        maps = {method: row[f"map {method}"] for method in thresholds if f"map {method}" in row}
        if maps:
            boxes = {method: row[f"boxes {method}"][at] for method, at in thresholds.items()}
            target = int(row["target"])
            found.append(Example(name, target, shown(index), row["truth"], maps, boxes))
    return tuple(found)
