"""Labelled pictures as bytes, in memory: decoded or rendered once, then read every epoch."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadData, BadImage
from convscope.images.batches import Skipped
from convscope.images.datasets import ImageSet, SceneImages
from convscope.images.preprocess import Preprocess
from convscope.images.raster import AnyPicture
from convscope.progress import Progress
from convscope.text import printable

__all__ = [
    "LabelledPictures",
    "View",
    "check_labels",
    "load_pictures",
    "mean_of_sum",
    "mean_picture",
    "view_of",
]

CHUNK = 256  # pictures between two reports of progress
MEMORY_SHARE = 0.5  # of the machine's memory that pictures may take

View = Callable[[AnyPicture], AnyPicture]  # any RGB picture -> one of the wanted size


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """A labelled data set, decoded.

    Attributes:
        pixels: uint8 (N, H, W, 3), RGB; not to be written to.
        labels: int64 (N,), into `classes`.
        classes: The names of the classes.
        spec: The words that name the set of images.
        identity: The set's SHA-256 (`ImageSet.identity`).
        skipped: The images that could not be read, and are not among the N.
        mean: float32 (H, W, 3), the mean over N where it is known already.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    spec: str
    identity: str
    skipped: tuple[Skipped, ...] = ()
    mean: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


def load_pictures(
    images: ImageSet,
    view: View,
    side: int,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> LabelledPictures:
    """Decode every readable image of a set into memory.

    Args:
        images: A labelled set.
        view: Makes a picture of the wanted size out of any (`view_of`, `Preprocess.picture`).
        side: Height and width of what `view` makes, pixels.
        workers: Threads that decode; 0 is none besides this. Scenes rendered at that side are
            rendered by this many processes, so a script that asks for more than one needs
            `if __name__ == "__main__":`.
        progress: Called with (what, done, total).

    Raises:
        BadData: There are images without labels, nothing is readable, or the pictures take more
            than memory should hold.
    """
    classes = check_labels(images)
    _check_memory(images, side)
    if isinstance(images, SceneImages) and images.recipe.size == side and workers > 1:
        return _drawn(images, workers, progress)
    return _decoded(images, classes, view, side, workers, progress)


def check_labels(images: ImageSet) -> tuple[str, ...]:
    """Return the classes of a set, of which every image must have a label.

    Raises:
        BadData: An image has no label, or the set has no classes.
    """
    unlabelled = next((i for i in range(len(images)) if images.label(i) is None), None)
    if images.classes is None or unlabelled is not None:
        raise BadData(
            f"{images.spec} has no label for every image, which training needs: "
            "give a folder per class, or scenes"
        )
    return images.classes


def view_of(preprocess: Preprocess) -> tuple[View, int]:
    """Return how training holds a picture, and the side of that, in pixels.

    A picture is held as the network sees it; with a preprocessing that crops, together with what
    lies around that crop, so that other crops can be taken (paper §3).
    """
    if preprocess.crops:
        return preprocess.surrounding, preprocess.surroundings[1]
    return preprocess.picture, preprocess.shape[1]


def mean_picture(pixels: Tensor) -> Tensor:
    """Compute the mean of pictures, summed exactly.

    Shape:
        pixels: uint8 (N, H, W, 3). The result: float32 (H, W, 3).
    """
    total = torch.zeros(pixels.shape[1:], dtype=torch.int64)
    for part in pixels.split(CHUNK):
        total += part.sum(dim=0, dtype=torch.int64)
    return mean_of_sum(total, len(pixels))


def mean_of_sum(total: Tensor, count: int) -> Tensor:
    """Divide a sum of pictures by their number.

    Shape:
        total: int64 (H, W, 3). The result: float32 (H, W, 3).
    """
    return (total.double() / count).float()


def _drawn(images: SceneImages, workers: int, progress: Progress | None) -> LabelledPictures:
    from convscope.scenes.render import render_many

    what, count = f"drawing {images.spec}", len(images)
    if progress:
        progress(what, 0, count)
    pixels, labels = render_many(images.recipe, range(count), workers=workers)
    if progress:
        progress(what, count, count)
    return LabelledPictures(
        torch.from_numpy(pixels),
        torch.from_numpy(labels),
        images.recipe.classes,
        images.spec,
        images.identity(),
    )


def _decoded(
    images: ImageSet,
    classes: tuple[str, ...],
    view: View,
    side: int,
    workers: int,
    progress: Progress | None,
) -> LabelledPictures:
    pixels = np.empty((len(images), side, side, 3), np.uint8)
    failures: dict[int, str] = {}

    def fill(index: int) -> None:
        try:
            pixels[index] = np.asarray(view(images.picture(index)))
        except BadImage as error:
            failures[index] = str(error).removeprefix(f"{printable(images.name(index))}: ")

    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="convscope-images") as pool:
        for start in range(0, len(images), CHUNK):
            stop = min(start + CHUNK, len(images))
            list(pool.map(fill, range(start, stop)))
            if progress:
                progress(f"reading {images.spec}", stop, len(images))
    return _readable(images, classes, pixels, failures)


def _readable(
    images: ImageSet,
    classes: tuple[str, ...],
    pixels: NDArray[np.uint8],
    failures: dict[int, str],
) -> LabelledPictures:
    """Return the pictures without those that failed, which are named as skipped."""
    kept = [index for index in range(len(images)) if index not in failures]
    if not kept:
        first = min(failures)
        raise BadData(
            f"{images.spec}: none of its {len(images)} images can be read, "
            f"such as {images.name(first)}: {failures[first]}"
        )
    labels = [images.label(index) for index in kept]
    return LabelledPictures(
        torch.from_numpy(pixels[kept] if failures else pixels),
        torch.tensor(labels, dtype=torch.int64),
        classes,
        images.spec,
        images.identity(),
        tuple(Skipped(i, images.name(i), failures[i]) for i in sorted(failures)),
    )


def _check_memory(images: ImageSet, side: int) -> None:
    """Raise BadData if the pictures take more than MEMORY_SHARE of the machine's memory."""
    wanted = len(images) * side * side * 3
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # the machine does not tell
        return
    if wanted > MEMORY_SHARE * memory:
        raise BadData(
            f"{images.spec}: {len(images):,} images of {side}x{side} pixels take "
            f"{wanted / 2**30:.0f} GiB, and are kept in memory (this machine: "
            f"{memory / 2**30:.0f} GiB, of which half may be used): keep them on disk, --cache DIR"
        )
