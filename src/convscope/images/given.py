"""An image that is given in memory or as a path: what is read out of it, and how.

str, path       a file
Pillow's image  converted as a file of its kind would be: upright, without alpha, 8 bits
array           (H, W), (H, W, C) or (C, H, W), see `arrays`. uint8 is 0 to 255, bool is black
                and white, floats within 0 to 1 are 0 to 1; of all else the model's `range` says
                which samples are black and white, or it is refused
tensor          of whole numbers: as an array. Of others: preprocessed already, taken as it is
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from convscope.errors import BadImage
from convscope.images.arrays import channels_last
from convscope.images.files import PIXEL_LIMIT, as_form, of_samples, read_picture, turned_upright
from convscope.images.raster import AnyPicture, Form, Raster
from convscope.text import error_words

__all__ = ["THE_IMAGE", "Given", "GivenPicture", "decoded", "is_preprocessed"]

Given = str | os.PathLike[str] | AnyPicture | NDArray[Any] | Tensor
"""An image as it may be given; the module says how each is read."""

THE_IMAGE = "the image"
"""What one is called that has no name."""


@dataclass(frozen=True, eq=False)
class GivenPicture:
    """A picture that was read.

    Attributes:
        name: What it is called.
        image: The picture, of the form that was asked for.
        notes: What was converted, in words.
    """

    name: str
    image: AnyPicture
    notes: tuple[str, ...] = ()


def decoded(given: Given, form: Form) -> GivenPicture:
    """Read an image in whatever form it is given.

    Args:
        given: As the module says.
        form: What the network takes.

    Raises:
        BadImage: It cannot be read, its range is not known, or it is no image at all.

    Example:
        >>> decoded(np.zeros((8, 8, 3), np.uint8), Form()).image.size
        (8, 8)
    """
    if isinstance(given, str | os.PathLike):
        found = read_picture(Path(given), form=form)
        return GivenPicture(Path(given).name, found.image, found.notes)
    if isinstance(given, Raster):
        return GivenPicture(THE_IMAGE, given)
    if isinstance(given, Image.Image):
        name = Path(getattr(given, "filename", "") or THE_IMAGE).name
        found = _of_pillow(given, name, form)
        return GivenPicture(name, found.image, found.notes)
    if isinstance(given, Tensor):
        given = given.detach().cpu().numpy()
    if isinstance(given, np.ndarray):
        found = _of_array(given, form)
        return GivenPicture(THE_IMAGE, found.image, found.notes)
    raise BadImage(
        f"a {type(given).__name__} is no image: give a file, a picture of Pillow's, an array of "
        "pixels, or a preprocessed tensor"
    )


def is_preprocessed(given: object) -> TypeGuard[Tensor]:
    """Whether it is a tensor that the network takes as it is, and no pixels."""
    return isinstance(given, Tensor) and (given.is_floating_point() or given.is_complex())


def _of_pillow(image: Image.Image, name: str, form: Form) -> Any:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage(f"{name}: cannot be read: {error_words(error)}") from None
    if image.width * image.height > PIXEL_LIMIT or not image.width * image.height:
        raise BadImage(f"{name}: is {image.width}×{image.height}: give 1 to {PIXEL_LIMIT:,} pixels")
    return as_form(turned_upright(image), name, form)


def _of_array(array: NDArray[Any], form: Form) -> Any:
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.dtype.kind not in "biuf" or not array.size:
        raise BadImage(f"an array of {array.dtype} {array.shape} holds no pixels")
    samples = channels_last(array, THE_IMAGE, form.channels)
    if samples.dtype not in (np.uint8, np.bool_) and form.range is None:
        low, high = float(samples.min()), float(samples.max())
        if samples.dtype.kind != "f" or not (low >= 0 and high <= 1):
            raise BadImage(
                f"an array of {array.dtype}, {low:g} to {high:g}: its range is not known. uint8 is "
                "0 to 255, and floats within 0 to 1 are 0 to 1; of others say which samples are "
                "black and white, range=(LO, HI) where the model is opened, or give what is "
                "preprocessed already as a torch tensor"
            )
        form = Form(form.channels, (0.0, 1.0))
    return of_samples(np.ascontiguousarray(samples), THE_IMAGE, form)
