"""Images as the network learns from them: grey, of one size, contrast-normalised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadData, BadImage
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.training.deconvolution.contrast import contrast_normalised

__all__ = ["ReadImages", "in_batches", "read_images"]

BATCH = 64  # images that are read at once


@dataclass(frozen=True, eq=False)
class ReadImages:
    """Images that could be read.

    Attributes:
        indices: Of the images, in their set.
        pixels: Contrast-normalised.
        shown: As they are, in colour.
        unread: Index and reason of those that could not be read.

    Shape:
        pixels: (N, 1, size, size). shown: uint8 (N, size, size, 3).
    """

    indices: tuple[int, ...]
    pixels: Tensor
    shown: NDArray[np.uint8]
    unread: tuple[tuple[int, str], ...]


def read_images(
    images: ImageSet, indices: Sequence[int], size: int, device: torch.device | None = None
) -> ReadImages:
    """Read images of a set; those that cannot be read are named.

    Args:
        images: The set.
        indices: Which.
        size: Pixels of a side.
        device: Where the pixels go.

    Raises:
        BadData: None of them can be read.
    """
    there: list[int] = []
    unread: list[tuple[int, str]] = []
    grey, colour = (Preprocess((bands, size, size), Scaling.UNIT) for bands in (1, 3))
    pixels, shown = [], []
    for index in indices:
        try:
            picture = images.picture_as(index, colour.form)
            pixels.append(grey.tensor(grey.of_form(picture)))
            shown.append(colour.shown(picture))
        except BadImage as error:
            unread.append((index, str(error)))
            continue
        there.append(index)
    if not there:
        why = f", such as {unread[0][1]}" if unread else ""
        raise BadData(f"{images.spec}: none of {len(indices)} images can be read{why}")
    evened = contrast_normalised(torch.stack(pixels).to(device))
    return ReadImages(tuple(there), evened, np.stack(shown), tuple(unread))


def in_batches(count: int) -> Iterator[range]:
    """The indices of all images, some at a time."""
    for first in range(0, count, BATCH):
        yield range(first, min(first + BATCH, count))
