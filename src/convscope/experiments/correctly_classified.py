"""Which images a study looks at, and what is known to be true of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadData, BadImage
from convscope.experiments.samples import in_random_order, true_label
from convscope.images.datasets import SceneImages
from convscope.images.image_set import ImageSet
from convscope.images.parts import Marked, marked_images
from convscope.images.preprocess import Preprocess
from convscope.methods.classes import Head
from convscope.network.network import Network

__all__ = [
    "ChosenImage", "Selection", "Truth", "correctly_classified", "marked_or_none", "probabilities",
    "truth_of",
]  # fmt: skip

TRIED = 12  # images tried, for one that is classified correctly

Truth = Callable[[int], NDArray[np.bool_] | None]
"""An image's index -> bool (h, w), its object's pixels, in the picture as it is; None: unknown."""


@dataclass(frozen=True)
class ChosenImage:
    """An image to look at.

    Attributes:
        index: of the image in its set.
        target: its true class, or what the network says.
        known: whether that is the true class.
    """

    index: int
    target: int
    known: bool


@dataclass(frozen=True)
class Selection:
    """Images that were drawn to be looked at.

    Attributes:
        chosen: the images.
        passed: how many were tried besides.
        unreadable: names of those that could not be read.
    """

    chosen: tuple[ChosenImage, ...]
    passed: int
    unreadable: tuple[str, ...] = ()


def correctly_classified(
    networks: Sequence[tuple[Network, Preprocess]],
    images: ImageSet,
    count: int,
    *,
    classes: Sequence[str] | None = None,
    indices: Sequence[int] | None = None,
    seed: int = 0,
) -> Selection:
    """Images drawn at random whose label every network names.

    An image without a known label is taken as it is, with what the first network says.

    Args:
        networks: each with how it wants its images.
        images: the set.
        count: how many at most.
        classes: the names of the networks' outputs.
        indices: draw from these only.
        seed: of the order in which images are tried.

    Raises:
        BadData: not one of those tried is named correctly.
    """
    allowed = None if indices is None else set(indices)
    chosen: list[ChosenImage] = []
    unreadable: list[str] = []
    passed = 0
    for index in in_random_order(images, seed):
        if len(chosen) == count or passed > TRIED * count:
            break
        if allowed is not None and index not in allowed:
            continue
        label = true_label(images, index, networks[0][0], classes)
        try:
            said = [_says(network, preprocess, images, index) for network, preprocess in networks]
        except BadImage:
            passed += 1
            unreadable.append(images.name(index))
            continue
        target = said[0] if label is None else label
        if all(answer == target for answer in said):
            chosen.append(ChosenImage(index, target, label is not None))
        else:
            passed += 1
    if not chosen:
        raise BadData(f"{images.spec}: of {passed} images tried not one is named correctly")
    return Selection(tuple(chosen), passed, tuple(unreadable))


def truth_of(images: ImageSet, marked: Sequence[Marked] = ()) -> Truth | None:
    """What is known about a set: the masks of scenes, or the boxes of marked objects."""
    if isinstance(images, SceneImages):
        return lambda index: images.scene(index).mask
    if not marked:
        return None
    boxes: Mapping[int, Marked] = {mark.index: mark for mark in marked}

    def mask(index: int) -> NDArray[np.bool_] | None:
        if index not in boxes:
            return None
        width, height = images.picture(index).size
        inside = np.zeros((height, width), dtype=bool)
        top, left, bottom, right = (max(0, round(edge)) for edge in boxes[index].box)
        inside[top:bottom, left:right] = True
        return inside

    return mask


def marked_or_none(images: ImageSet, parts: Path | None) -> tuple[Marked, ...]:
    """Read what lies with the images, if anything does.

    Args:
        images: The set. Of scenes the pixels are known, and nothing is read.
        parts: The file that was asked for; None is the one beside the images.

    Raises:
        BadData: The file that was asked for is not there, or is no such file.
    """
    if parts is None and isinstance(images, SceneImages):
        return ()
    try:
        return marked_images(images, parts)
    except BadData:
        if parts is not None:
            raise
        return ()


def _says(network: Network, preprocess: Preprocess, images: ImageSet, index: int) -> int:
    image = preprocess.tensor(images.picture_as(index, preprocess.form))[None]
    return int(probabilities(network, image)[0].argmax())


def probabilities(network: Network, images: Tensor) -> Tensor:
    """(N, classes), on the CPU."""
    head = Head.of(network)
    output = network.values(images, [network.output])[network.output]
    return head.probabilities(head.vectors(output).cpu())
