"""From a picture of any size to one of the input's size."""

from __future__ import annotations

from enum import StrEnum

from PIL import Image

from convscope.errors import BadImage
from convscope.images.files import PIXEL_LIMIT
from convscope.images.raster import AnyPicture

__all__ = ["CROP_SHARE", "Fit", "covering_side", "cropped", "middle"]

CROP_SHARE = 0.875  # of the resized picture's side is kept by the crop: 224 of 256


class Fit(StrEnum):
    """How a picture of any size becomes one of the input's size.

    AUTO leaves a picture that has the input's size as it is, and crops others. CROP resizes that
    one too: 64 pixels become 73, of which 64 are kept, as networks are tested that learned from
    such crops.
    """

    AUTO = "auto"
    CROP = "crop"
    STRETCH = "stretch"
    NONE = "none"


def covering_side(side: int) -> int:
    """Return what the smallest side is resized to before `side` of it is cropped: 256 for 224."""
    return round(side / CROP_SHARE)


def middle(side: int, crop: int) -> int:
    """Return where a crop in the middle of `side` begins.

    Example:
        >>> middle(256, 224)
        16
    """
    return round((side - crop) / 2)


def cropped(
    picture: AnyPicture, height: int, width: int, rows_kept: int, columns_kept: int
) -> AnyPicture:
    """Resize until the picture covers what is needed, in its proportions, and cut out the centre.

    For a square input: torchvision's Resize(round(side / 0.875)) and CenterCrop(side), with
    their roundings; what is kept may reach equally far beyond that crop.
    """
    rows, columns = covering_side(height), covering_side(width)
    if picture.width * rows <= picture.height * columns:  # the width is what binds
        size = (columns, int(columns * picture.height / picture.width))
    else:
        size = (int(rows * picture.width / picture.height), rows)
    if size != picture.size:
        if size[0] * size[1] > PIXEL_LIMIT:
            raise BadImage(
                f"the picture is {picture.width}×{picture.height}: too long and thin to be"
                f" resized to {size[0]}×{size[1]}; use fit stretch or cut it first"
            )
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    left = middle(picture.width, width) - middle(columns_kept, width)
    top = middle(picture.height, height) - middle(rows_kept, height)
    return picture.crop((left, top, left + columns_kept, top + rows_kept))
