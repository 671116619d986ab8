"""Which images are looked at, of what class, and where that class's objects are in the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData
from convscope.experiments.localization.asked import MappedClass
from convscope.geometry.overlap import areas, clipped
from convscope.images.image_set import ImageSet
from convscope.images.marked_boxes import BoxedImages, MarkedBox
from convscope.images.placing import placing
from convscope.images.preprocess import Preprocess
from convscope.methods.classes import Head
from convscope.network.network import Network
from convscope.store.fingerprint import text_fingerprint
from convscope.text import printable

__all__ = [
    "MarkedImage",
    "Placed",
    "boxes_fingerprint",
    "dealt",
    "draw_images",
    "lacking_classes",
    "network_labels",
    "place_boxes",
]

SOME = 4  # classes that are named in a line


@dataclass(frozen=True)
class MarkedImage:
    """An image to look at.

    Attributes:
        index: Of the image in its set.
        target: The class of the network that is asked for; None is the one that it predicts.
        boxes: Of the class that is looked for.
    """

    index: int
    target: int | None
    boxes: tuple[MarkedBox, ...]


@dataclass(frozen=True, eq=False)
class Placed:
    """Boxes of a picture in the network's input.

    Attributes:
        edges: (top, left, bottom, right), as far as the input shows them.
        seen: Which of the boxes the input shows anything of; `edges` are of these.
        beyond: How many reached beyond the picture, and were cut.

    Shape:
        edges: (n, 4). seen: bool, (boxes,).
    """

    edges: NDArray[np.float64]
    seen: NDArray[np.bool_]
    beyond: int


def network_labels(
    boxed: BoxedImages, network: Network, classes: Sequence[str] | None
) -> list[int | None]:
    """For each class of the boxes its number among the network's; None where it has none.

    Args:
        boxed: The boxes.
        network: Says how many classes there are.
        classes: The names of the network's outputs, if known.
    """
    if classes is not None:
        places = {name: number for number, name in enumerate(classes)}
        named = [places.get(name) for name in boxed.classes]
        if any(place is not None for place in named):
            return named
    if len(boxed.classes) == Head.of(network).classes and classes is None:
        return list(range(len(boxed.classes)))
    return [None] * len(boxed.classes)


def draw_images(
    images: ImageSet,
    boxed: BoxedImages,
    labels: Sequence[int | None],
    asked: MappedClass,
    *,
    most: int,
    seed: int,
    classes: Sequence[str] | None = None,
) -> list[MarkedImage]:
    """Draw images that have an object of a class that can be asked for, none of them twice.

    What is looked for in an image is the class of its first object, of those that need be found.

    Args:
        images: The set.
        boxed: Where its objects are.
        labels: The network's number of each of their classes.
        asked: Of which class the maps are.
        most: How many images at most.
        seed: Of their order.
        classes: The names of the network's outputs, if known, for the error.

    Raises:
        BadData: There is none.
    """
    found: list[MarkedImage] = []
    indices = list(boxed.boxes)
    for place in np.random.default_rng(seed).permutation(len(indices)).tolist():
        if len(found) == most:
            break
        needed = [box for box in boxed.boxes[indices[place]] if not box.difficult]
        if asked is MappedClass.MARKED:
            needed = [box for box in needed if labels[box.label] is not None]
        if needed:
            label = needed[0].label
            target = labels[label] if asked is MappedClass.MARKED else None
            same = tuple(box for box in needed if box.label == label)
            found.append(MarkedImage(indices[place], target, same))
    if not found:
        known = "have no names" if classes is None else f"are {_some(classes)}"
        raise BadData(
            f"{images.spec}: none of its objects is of a class of the network's; theirs are "
            f"{_some(boxed.classes)}, the network's {known}. Name the network's as the boxes do, "
            "with --classes, or take maps of what it predicts, --of predicted"
        )
    return found


def lacking_classes(boxed: BoxedImages, labels: Sequence[int | None]) -> str:
    """Say which classes of the boxes the network lacks, so that their objects are not looked for.

    Args:
        boxed: The boxes.
        labels: The network's number of each of their classes.

    Returns:
        Empty where it lacks none.
    """
    lacking = [name for name, label in zip(boxed.classes, labels, strict=True) if label is None]
    if not lacking:
        return ""
    return (
        f"{len(lacking)} of the boxes' {len(labels)} classes the network lacks; their objects are "
        f"left out: {_some(lacking)}"
    )


def _some(names: Sequence[str]) -> str:
    """The first few; they may hold commas."""
    more = f" and {len(names) - SOME} more" if len(names) > SOME else ""
    return "; ".join(names[:SOME]) + more


def boxes_fingerprint(images: Sequence[MarkedImage]) -> str:
    """What is looked for, in a word: a study goes on only where it is the same.

    The words that are hashed stand in studies that people have: they stay, whatever is renamed.

    Args:
        images: In the order in which they were drawn.

    Returns:
        16 hex digits.
    """
    return text_fingerprint(f"[{', '.join(map(_hashed, images))}]")[:16]


def _hashed(image: MarkedImage) -> str:
    boxes = [
        f"MarkedBox(label={box.label}, edges={box.edges}, difficult={box.difficult})"
        for box in image.boxes
    ]
    end = "," if len(boxes) == 1 else ""
    return f"Subject(index={image.index}, target={image.target}, boxes=({', '.join(boxes)}{end}))"


def dealt(
    there: Sequence[MarkedImage], wanted: int, others: int
) -> tuple[Sequence[MarkedImage], Sequence[MarkedImage]]:
    """Deal images out: some to be judged, others to choose on. Of few, a third is for choosing.

    Args:
        there: The images.
        wanted: How many to judge, at most.
        others: How many to choose on, at most.

    Raises:
        BadData: There are fewer than two.
    """
    if len(there) < 2:
        raise BadData(
            "only one image with a box: give 2 or more, as thresholds are chosen on others than "
            "those that are judged"
        )
    kept = min(others, max(1, len(there) // 3))
    judged = there[: min(wanted, len(there) - kept)]
    return judged, there[len(judged) : len(judged) + others]


def place_boxes(
    boxes: Sequence[MarkedBox], preprocess: Preprocess, size: tuple[int, int], name: str
) -> Placed:
    """Map boxes of a picture to the network's input, and cut them by its edge.

    Args:
        boxes: Of the picture.
        preprocess: Says how it is fitted.
        size: (width, height) of the picture.
        name: Of the picture, for the error.

    Raises:
        BadData: A box lies wholly outside its picture.
    """
    width, height = size
    given = np.array([box.edges for box in boxes], np.float64)
    inside = clipped(given, height, width)
    if not areas(inside).all():
        top, left, bottom, right = given[int(areas(inside).argmin())]
        raise BadData(
            f"{printable(name)}: the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) lies "
            f"outside the picture, {width}×{height} pixels, which count from its top left"
        )
    where = placing(preprocess, height, width)
    ends = [(*where.point(*box[:2]), *where.point(*box[2:])) for box in inside]
    edges = clipped(ends, *where.size)
    seen = areas(edges) > 0
    return Placed(edges[seen], seen, int((inside != given).any(1).sum()))
