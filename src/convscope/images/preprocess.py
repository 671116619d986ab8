"""Preprocessing: from a picture to the numbers a network wants, and back.

A Preprocess is written down once, with the weights, so that nobody feeds a network wrongly in
silence.

Two steps: `fit` makes the picture exactly the input's size, `scaling` turns its bytes into numbers
(scaling.py). The arithmetic is float32, as in torchvision's ToTensor and Normalize. Resampling is
Pillow's bilinear, which averages over what a pixel covers when it shrinks ("antialias"), as
torchvision's Resize does with PIL images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from convscope.errors import BadImage, BadOption
from convscope.images.files import PIXEL_LIMIT
from convscope.images.scaling import (
    RECIPES,
    CustomScaling,
    Order,
    Scaling,
    Triple,
    listed,
    read_custom_scaling,
)

CROP_SHARE = 0.875  # of the resized picture's side is kept by the crop: 224 of 256
PER_PIXEL = "per-pixel"  # stands in a record for a mean that travels beside it as a tensor

COLOURS = {"grey": (128, 128, 128), "black": (0, 0, 0), "white": (255, 255, 255)}  # of a fill

Shape = tuple[int, int, int]


class Fit(StrEnum):
    """How a picture of any size becomes one of the input's size."""

    CROP = "crop"
    STRETCH = "stretch"
    NONE = "none"


@dataclass(frozen=True, eq=False)
class Preprocess:
    """What is done to a picture before the network sees it.

    Attributes:
        shape: (3, H, W) of the network's input, pixels.
        scaling: How bytes become numbers.
        fit: How a picture of any size becomes one of H × W pixels.
        mean: For `paper` only, RGB in 0..255: 3 numbers, or float32 (3, H, W), a mean per pixel;
            None is ImageNet's mean.
        recipe: The numbers of the scaling, for `custom` only.

    Raises:
        BadOption: The shape has not 3 channels, or numbers do not belong to the scaling.

    Example:
        >>> Preprocess((3, 224, 224)).describe()[:40]
        '3×224×224; crop: resized to cover 256×25'
    """

    shape: Shape
    scaling: Scaling = Scaling.IMAGENET
    fit: Fit = Fit.CROP
    mean: Triple | NDArray[np.float32] | None = None
    recipe: CustomScaling | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        object.__setattr__(self, "scaling", Scaling(self.scaling))
        object.__setattr__(self, "fit", Fit(self.fit))
        object.__setattr__(self, "mean", _checked_mean(self.mean, self.scaling, self.shape))
        if self.recipe is None and self.scaling is Scaling.CUSTOM:
            raise BadOption("scaling custom needs a recipe: scale, mean, std, order")
        if self.recipe is not None and self.scaling is not Scaling.CUSTOM:
            raise BadOption(f"scaling {self.scaling} has its own numbers; a recipe is for custom")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the network's input, pixels."""
        return self.shape[1:]

    @property
    def numbers(self) -> CustomScaling:
        """The numbers in force; where `mean` is per pixel, it counts in place of their mean."""
        recipe = self.recipe or RECIPES[self.scaling]
        if isinstance(self.mean, tuple):
            return CustomScaling(recipe.white, self.mean, recipe.std, recipe.order)
        return recipe

    @property
    def per_pixel_mean(self) -> NDArray[np.float32] | None:
        """float32 (3, H, W), RGB 0..255, or None where the mean is three numbers."""
        return self.mean if isinstance(self.mean, np.ndarray) else None

    # pictures and numbers

    def picture(self, picture: Image.Image) -> Image.Image:
        """Fit a picture to exactly H × W pixels, RGB: what the network sees, still as bytes.

        Raises:
            BadImage: `fit` is none and the size differs, or the picture is so long and thin that
                resizing it would take more than PIXEL_LIMIT pixels.
        """
        picture = picture if picture.mode == "RGB" else picture.convert("RGB")
        height, width = self.size
        if self.fit is Fit.CROP:
            return _cropped(picture, height, width, height, width)
        if picture.size == (width, height):
            return picture
        if self.fit is Fit.STRETCH:
            return picture.resize((width, height), Image.Resampling.BILINEAR)
        raise BadImage(
            f"the picture is {picture.width}×{picture.height}, the network takes {width}×{height}"
            f" and fit none resizes nothing: use fit crop or stretch"
        )

    @property
    def surroundings(self) -> Shape:
        """(3, H, W) of what `surrounding` makes: 256 for an input of 224."""
        return (3, _needed(self.size[0]), _needed(self.size[1]))

    def surrounding(self, picture: Image.Image) -> Image.Image:
        """Resize a picture and keep more around the crop that `picture` makes, for more crops.

        The result has the size of `surroundings`; its middle is exactly what `picture` makes. For
        an input of 224, the smallest side becomes 256 and the centre is kept (paper §3).

        Raises:
            BadOption: `fit` is not crop.
            BadImage: As `picture` raises it.
        """
        if self.fit is not Fit.CROP:
            raise BadOption(f"fit {self.fit} leaves nothing around the picture: use fit crop")
        picture = picture if picture.mode == "RGB" else picture.convert("RGB")
        return _cropped(picture, *self.size, *self.surroundings[1:])

    def tensor(self, picture: Image.Image) -> torch.Tensor:
        """Preprocess one picture.

        Returns:
            float32 (3, H, W), as the network wants it.

        Raises:
            BadImage: As `picture` raises it.
        """
        return torch.from_numpy(self.scaled(np.asarray(self.picture(picture))))

    def tensors(self, pictures: NDArray[np.uint8] | Iterable[Image.Image]) -> torch.Tensor:
        """Preprocess pictures, or a uint8 RGB array of them.

        Args:
            pictures: N pictures, or uint8 (N, h, w, 3). An array that is H × W already is taken
                as it is, whatever `fit` says.

        Returns:
            float32 (N, 3, H, W), as the network wants them.

        Raises:
            BadImage: As `picture` raises it.
        """
        if isinstance(pictures, np.ndarray):
            if pictures.shape[1:] == (*self.size, 3):
                return torch.from_numpy(self.scaled(pictures))
            pictures = [Image.fromarray(pixels) for pixels in pictures]
        fitted = [np.asarray(self.picture(picture)) for picture in pictures]
        pixels = np.stack(fitted) if fitted else np.empty((0, *self.size, 3), np.uint8)
        return torch.from_numpy(self.scaled(pixels))

    def scaled(
        self, pixels: NDArray[np.uint8], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Scale the bytes of fitted pictures to the network's numbers.

        Args:
            pixels: RGB bytes.
            out: Where the result is written; None makes a new array.

        Shape:
            pixels: uint8 (..., H, W, 3). The result: float32 (..., 3, H, W).
        """
        recipe, planes = self.numbers, np.moveaxis(pixels, -1, -3)  # (..., 3, H, W)
        if recipe.order is Order.BGR:
            planes = planes[..., ::-1, :, :]
        out = np.empty(planes.shape, np.float32) if out is None else out
        out[...] = planes
        if recipe.white == 1.0:
            out /= np.float32(255)
        out -= self._mean_planes()
        if recipe.std != (1.0, 1.0, 1.0):
            out /= _planes(recipe.std)
        return out

    def to_uint8(self, tensor: torch.Tensor | NDArray[np.float32]) -> NDArray[np.uint8]:
        """Convert the network's numbers back to RGB bytes for display, rounded and clipped.

        Args:
            tensor: Any h and w, unless the mean is per pixel.

        Shape:
            tensor: float (..., 3, h, w). The result: uint8 (..., h, w, 3).
        """
        recipe = self.numbers
        values = torch.as_tensor(tensor).detach().float().cpu().numpy()
        values = np.nan_to_num(values, nan=0.0) * _planes(recipe.std) + self._mean_planes()
        values *= np.float32(255 / recipe.white)
        pixels = np.moveaxis(np.rint(values).clip(0, 255).astype(np.uint8), -3, -1)
        return np.ascontiguousarray(pixels[..., ::-1] if recipe.order is Order.BGR else pixels)

    def rgb(self, planes: torch.Tensor) -> torch.Tensor:
        """Bring colour planes, such as a projection, from the network's order to RGB.

        Shape:
            planes: (..., 3, h, w); the result has the same shape.
        """
        return planes.flip(-3) if self.numbers.order is Order.BGR else planes

    def fill(self, text: str) -> torch.Tensor:
        """Make a colour as the network gets it, for what covers part of an image.

        Args:
            text: grey (RGB 128), black, white, mean (what this scaling subtracts: zeros), a level
                0..255, or r,g,b.

        Returns:
            float32 (3, H, W).

        Raises:
            BadOption: It is another word, a number outside 0..255, or mean where the scaling
                subtracts none.
        """
        word = text.strip().lower()
        if word == "mean":
            if not self._takes_a_mean_off:
                raise BadOption(f"fill mean: scaling {self.scaling} takes no mean off; use grey")
            return torch.zeros(self.shape)
        numbers = COLOURS.get(word) or tuple(number.strip() for number in word.split(","))
        numbers = numbers * 3 if len(numbers) == 1 else numbers
        whole = all(str(number).isdecimal() and int(number) <= 255 for number in numbers)
        if len(numbers) != 3 or not whole:
            raise BadOption(f"fill {text!r}: it is {', '.join(COLOURS)}, mean, 0..255, or r,g,b")
        pixels = np.empty((*self.size, 3), np.uint8)
        pixels[...] = [int(number) for number in numbers]
        return torch.from_numpy(self.scaled(pixels))

    def blank(self) -> torch.Tensor:
        """Make an empty image, float32 (3, H, W): the mean if one is subtracted, else grey."""
        return self.fill("mean" if self._takes_a_mean_off else "grey")

    @property
    def _takes_a_mean_off(self) -> bool:
        return self.per_pixel_mean is not None or self.numbers.mean != (0.0, 0.0, 0.0)

    def _mean_planes(self) -> NDArray[np.float32]:
        mean = self.per_pixel_mean
        return _planes(self.numbers.mean) if mean is None else mean

    # records and words

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, which only names a mean per pixel."""
        record: dict[str, Any] = {
            "shape": list(self.shape),
            "scaling": str(self.scaling),
            "fit": str(self.fit),
        }
        if self.mean is not None:
            record["mean"] = list(self.mean) if isinstance(self.mean, tuple) else PER_PIXEL
        if self.recipe is not None:
            record["recipe"] = self.recipe.to_dict()
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], mean: Any = None) -> Preprocess:
        """Convert from what `to_dict` returned.

        Args:
            record: The dictionary.
            mean: The tensor (3, H, W) of a record that names a mean per pixel.

        Raises:
            BadOption: The record lacks a key or holds a value that is not allowed.
        """
        stored = record.get("mean")
        if stored == PER_PIXEL and mean is None:
            raise BadOption("preprocessing record: its mean per pixel is missing beside it")
        try:
            numbers = record.get("recipe")
            return cls(
                shape=tuple(record["shape"]),
                scaling=Scaling(record["scaling"]),
                fit=Fit(record["fit"]),
                mean=mean if stored == PER_PIXEL else stored,
                recipe=None if numbers is None else CustomScaling.from_dict(numbers),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BadOption):
                raise
            raise BadOption(f"preprocessing record: {type(error).__name__} {error}") from None

    def describe(self) -> str:
        """Describe it in one line: size, fit, scaling, and the numbers behind their names."""
        (height, width), recipe = self.size, self.numbers
        rows, columns = _needed(height), _needed(width)
        how = {
            Fit.CROP: f"crop: resized to cover {rows}×{columns}, bilinear antialias, centre",
            Fit.STRETCH: "stretch: resized, bilinear antialias",
            Fit.NONE: "none: pictures have that size",
        }[self.fit]
        words = f"{self.scaling}: {recipe.order} 0..{recipe.white:g}"
        if self.per_pixel_mean is not None:
            words += " minus a mean per pixel"
        elif recipe.mean != (0.0, 0.0, 0.0):
            words += f" minus {listed(recipe.mean)}"
        if recipe.std != (1.0, 1.0, 1.0):
            words += f" over {listed(recipe.std)}"
        return f"3×{height}×{width}; {how}; {words}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preprocess) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        mean = self.mean.tobytes() if isinstance(self.mean, np.ndarray) else self.mean
        return (self.shape, self.scaling, self.fit, self.recipe, mean)


def choose_preprocess(
    scaling: str, shape: str | Iterable[int], fit: str = Fit.CROP, *, mean: Any = None
) -> Preprocess:
    """Make the Preprocess that the command line's words ask for.

    Args:
        scaling: imagenet, unit, paper, caffe, or a YAML file of one's own (scaling.py).
        shape: 3x224x224, or three numbers.
        fit: crop, stretch or none.
        mean: For `paper` only, as in `Preprocess`.

    Raises:
        BadOption: A word is not allowed, or the file is no recipe.

    Example:
        >>> choose_preprocess("caffe", "3x64x64", "stretch").size
        (64, 64)
    """
    names = [str(name) for name in Scaling if name is not Scaling.CUSTOM]
    if fit not in list(Fit):
        raise BadOption(f"fit {fit!r}: it is {', '.join(Fit)}")
    sides = parse_shape(shape) if isinstance(shape, str) else _checked_shape(shape)
    if scaling in names:
        return Preprocess(sides, Scaling(scaling), Fit(fit), mean)
    if not scaling.lower().endswith((".yaml", ".yml")):
        raise BadOption(f"preprocess {scaling!r}: it is {', '.join(names)}, or a file .yaml")
    return Preprocess(sides, Scaling.CUSTOM, Fit(fit), mean, read_custom_scaling(scaling))


def parse_shape(text: str) -> Shape:
    """Parse `3x224x224`.

    Raises:
        BadOption: It has another form, or not 3 channels.

    Example:
        >>> parse_shape("3x224x224")
        (3, 224, 224)
    """
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 3 or not all(side.strip().isdecimal() for side in sides):
        raise BadOption(f"input {text!r}: it is 3xHEIGHTxWIDTH, such as 3x224x224")
    return _checked_shape(int(side) for side in sides)


def _needed(side: int) -> int:
    """Return what the smallest side is resized to before `side` of it is cropped: 256 for 224."""
    return round(side / CROP_SHARE)


def middle(side: int, crop: int) -> int:
    """Return where a crop in the middle of `side` begins.

    Example:
        >>> middle(256, 224)
        16
    """
    return round((side - crop) / 2)


def _cropped(
    picture: Image.Image, height: int, width: int, rows_kept: int, columns_kept: int
) -> Image.Image:
    """Resize until the picture covers what is needed, in its proportions, and cut out the centre.

    For a square input: torchvision's Resize(round(side / 0.875)) and CenterCrop(side), with
    their roundings; what is kept may reach equally far beyond that crop.
    """
    rows, columns = _needed(height), _needed(width)
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


def _checked_shape(shape: Iterable[int]) -> Shape:
    sides = tuple(int(side) for side in shape)
    if len(sides) != 3 or sides[0] != 3 or min(sides) < 1:
        raise BadOption(
            f"input shape {'×'.join(map(str, sides))}: networks are fed RGB pictures, so it is"
            " 3×HEIGHT×WIDTH, such as 3x224x224"
        )
    return sides[0], sides[1], sides[2]


def _checked_mean(mean: Any, scaling: Scaling, shape: Shape) -> Any:
    if mean is None:
        return None
    if scaling is not Scaling.PAPER:
        raise BadOption(f"scaling {scaling} has its own mean; a mean belongs to scaling paper")
    if isinstance(mean, torch.Tensor):
        mean = mean.detach().cpu().numpy()
    values = np.array(mean, dtype=np.float32)
    if not np.isfinite(values).all():
        raise BadOption("the mean holds NaN or infinity")
    if values.shape == (3,):
        return tuple(float(value) for value in mean)
    if values.shape != shape:
        raise BadOption(f"the mean has shape {values.shape}; it is 3 numbers or {shape}")
    values.flags.writeable = False
    return values


def _planes(triple: Triple) -> NDArray[np.float32]:
    return np.array(triple, dtype=np.float32)[:, None, None]  # (3, 1, 1)
