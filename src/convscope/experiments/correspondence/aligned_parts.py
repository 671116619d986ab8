"""Pictures of one kind of object with their parts, as the network gets them.

Each picture is cut to a square around its object, so that parts lie at nearly the same place and
have nearly the same size in all; or it is left as the network's preprocessing makes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from convscope.errors import BadData, BadImage, BadOption
from convscope.images.fitting import Fit
from convscope.images.image_set import ImageSet
from convscope.images.parts import Edges, Landmark, Marked
from convscope.images.placing import placing
from convscope.images.preprocess import Preprocess
from convscope.images.raster import AnyPicture, Raster

__all__ = ["CROP", "AlignedParts", "align_parts"]

CROP = 1.25  # of the larger side of the object's box


@dataclass(frozen=True, eq=False)
class AlignedParts:
    """N pictures of one kind of object with the same parts.

    Attributes:
        names: of the pictures.
        images: float (N, 3, H, W), preprocessed.
        pixels: uint8 (N, H, W, 3), the same to look at.
        points: part -> (row, column) in input pixels, one for each picture.
        crop: sides of the object's box that a picture shows; None is as preprocessing does.
        left_out: names of marked pictures that are not among the N.
        unreadable: those of them that could not be read; in the others a part is hidden or outside.
    """

    names: tuple[str, ...]
    images: Tensor
    pixels: NDArray[np.uint8]
    points: Mapping[str, tuple[Landmark, ...]]
    crop: float | None
    left_out: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.points)


def align_parts(
    images: ImageSet,
    marked: Sequence[Marked],
    preprocess: Preprocess,
    *,
    parts: Sequence[str] | None = None,
    crop: float | None = CROP,
    count: int | None = None,
) -> AlignedParts:
    """The first `count` marked pictures that show all the parts.

    Args:
        images: the set.
        marked: where the parts are, in some of the images.
        preprocess: of the network.
        parts: their names; default: every part that is marked in all pictures.
        crop: the side of what is cut out around an object's box, in the box's larger side; what
            lies outside the picture is the mean colour. None: as preprocessing does.
        count: how many pictures at most.

    Raises:
        BadOption: a part that nobody marked, or a crop that is not above 0.
        BadData: fewer than 2 pictures show all parts.
    """
    names = _parts(marked, parts)
    if crop is not None and crop <= 0:
        raise BadOption(f"crop {crop:g}: it is above 0, or left to preprocessing")
    kept: list[tuple[str, Tensor, dict[str, Landmark]]] = []
    left_out: list[str] = []
    unreadable: list[str] = []
    shown: Counter[str] = Counter()  # by part, in how many pictures it is seen
    for mark in marked:
        if count is not None and len(kept) == count:
            break
        name = images.name(mark.index)
        try:
            picture = images.picture_as(mark.index, preprocess.form)
        except BadImage:
            left_out.append(name)
            unreadable.append(name)
            continue
        tensor, points = _seen(picture, mark, preprocess, crop)
        shown.update(points.keys())
        if all(part in points for part in names):
            kept.append((name, tensor, {part: points[part] for part in names}))
        else:
            left_out.append(name)
    if len(kept) < 2:
        raise BadData(
            f"{images.spec}: {len(kept)} of {len(marked)} marked pictures show {', '.join(names)}; "
            f"2 are needed{_remedy(names, shown, len(marked) - len(unreadable))}"
        )
    tensors = torch.stack([tensor for _, tensor, _ in kept])
    return AlignedParts(
        names=tuple(name for name, _, _ in kept),
        images=tensors,
        pixels=preprocess.to_uint8(tensors),
        points={part: tuple(points[part] for _, _, points in kept) for part in names},
        crop=crop,
        left_out=tuple(left_out),
        unreadable=tuple(unreadable),
    )


def _parts(marked: Sequence[Marked], wanted: Sequence[str] | None) -> tuple[str, ...]:
    every = dict.fromkeys(name for mark in marked for name in mark.names)
    if wanted is None:
        names = tuple(n for n in every if all(n in mark.names for mark in marked))
        if not names:
            raise BadData("no part is marked in all pictures: name some with --points")
        return names
    unknown = [name for name in wanted if name not in every]
    if unknown:
        raise BadOption(f"no part {unknown[0]!r}: those marked are {', '.join(every)}")
    return tuple(dict.fromkeys(wanted))


def _seen(
    picture: AnyPicture, mark: Marked, preprocess: Preprocess, crop: float | None
) -> tuple[Tensor, dict[str, Landmark]]:
    """The input (C, H, W), and the parts that lie in it."""
    top = left = 0
    if crop is not None:
        preprocess = replace(preprocess, fit=Fit.STRETCH)
        picture, top, left = _cut(picture, mark.box, crop, preprocess)
    place = placing(preprocess, picture.height, picture.width)
    points = {n: place.point(row - top, column - left) for n, (row, column) in mark.points.items()}
    height, width = preprocess.size
    inside = {n: p for n, p in points.items() if 0 <= p[0] < height and 0 <= p[1] < width}
    return preprocess.tensor(picture), inside


def _cut(
    picture: AnyPicture, box: Edges, crop: float, preprocess: Preprocess
) -> tuple[AnyPicture, int, int]:
    """(what a rectangle of the input's shape shows, its top, its left), in the picture's pixels."""
    rows, columns = preprocess.size
    tall = crop * max(box[2] - box[0], (box[3] - box[1]) * rows / columns)
    height, width = max(1, round(tall)), max(1, round(tall * columns / rows))
    top = round((box[0] + box[2] - height) / 2)
    left = round((box[1] + box[3] - width) / 2)
    if isinstance(picture, Raster):  # what lies beyond it is black
        return picture.crop((left, top, left + width, top + height)), top, left
    colour = preprocess.to_uint8(preprocess.blank()).reshape(-1, 3).mean(0).round().astype(int)
    ground = Image.new("RGB", (width, height), tuple(colour.tolist()))
    ground.paste(picture, (-left, -top))
    return ground, top, left


def _remedy(names: Sequence[str], shown: Mapping[str, int], readable: int) -> str:
    """What to do where too few pictures show all parts: which part is seen least, if one is."""
    seldom = min(names, key=lambda name: shown.get(name, 0))
    if readable < 2 or len(names) == 1:
        return ": mark the parts in more pictures"
    return f", and {seldom} is seen in {shown.get(seldom, 0)}: leave parts out with --points"
