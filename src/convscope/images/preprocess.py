"""Preprocessing: from a picture to the numbers a network wants, and back.

A Preprocess is written down once, with the weights, so that nobody feeds a network wrongly in
silence.

Two steps: `fit` makes the picture exactly the input's size, `scaling` turns its samples into
numbers (scaling.py). The arithmetic is float32, as in torchvision's ToTensor and Normalize.
Resampling is Pillow's bilinear, which averages over what a pixel covers when it shrinks
("antialias"), as torchvision's Resize does with PIL images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from convscope.display import Brief
from convscope.errors import BadImage, BadOption
from convscope.images.fitting import Fit, covering_side, cropped
from convscope.images.preprocess_settings import (
    Shape,
    checked_bands,
    checked_mean,
    checked_shape,
    for_channels,
    parse_shape,
)
from convscope.images.raster import RGB, AnyPicture, Form, Range, Raster, checked_range
from convscope.images.scaling import (
    RECIPES,
    CustomScaling,
    Numbers,
    Order,
    Scaling,
    listed,
    read_recipe_file,
    recipe_of,
)
from convscope.text import is_number

AS_IT_IS = "had the input's size: neither resized nor cropped"
PER_PIXEL = "per-pixel"  # stands in a record for a mean that travels beside it as a tensor

COLOURS = {"grey": (128,), "black": (0,), "white": (255,)}  # of a fill


@dataclass(frozen=True, eq=False)
class Preprocess(Brief):
    """What is done to a picture before the network sees it.

    Attributes:
        shape: (C, H, W) of the network's input, pixels.
        scaling: How samples become numbers.
        fit: How a picture of any size becomes one of H × W pixels.
        mean: For `paper` only, RGB in 0..255: a number per channel, or float32 (C, H, W), a mean
            per pixel; None is ImageNet's mean.
        recipe: The numbers of the scaling, for `custom` only.
        range: (LO, HI), the samples that are black and white, of pictures of more than 8 bits a
            sample; None: as their files say, where they do.
        show_bands: The channels, counted from 1, that figures show as red, green and blue, or the
            one that they show in grey; None: all three of 3, the first three of more, else the
            first one.

    Raises:
        BadOption: Numbers do not belong to the scaling, or to another number of channels.

    Example:
        >>> Preprocess((3, 224, 224)).describe()[:48]
        '3×224×224; auto: of that size as it is, else res'
    """

    shape: Shape
    scaling: Scaling = Scaling.IMAGENET
    fit: Fit = Fit.AUTO
    mean: Numbers | NDArray[np.float32] | None = None
    recipe: CustomScaling | None = None
    range: Range | None = None
    show_bands: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checked_shape(self.shape))
        object.__setattr__(self, "scaling", Scaling(self.scaling))
        object.__setattr__(self, "fit", Fit(self.fit))
        object.__setattr__(self, "mean", checked_mean(self.mean, self.scaling, self.shape))
        if self.recipe is None and self.scaling is Scaling.CUSTOM:
            raise BadOption("scaling custom needs a recipe: scale, mean, std, order")
        if self.recipe is not None and self.scaling is not Scaling.CUSTOM:
            raise BadOption(f"scaling {self.scaling} has its own numbers; a recipe is for custom")
        if self.recipe is not None:
            object.__setattr__(self, "recipe", for_channels(self.recipe, self.channels))
        for_channels(self.numbers, self.channels)
        object.__setattr__(self, "range", checked_range(self.range))
        object.__setattr__(self, "show_bands", checked_bands(self.show_bands, self.channels))

    @property
    def channels(self) -> int:
        """C of the network's input."""
        return self.shape[0]

    @property
    def form(self) -> Form:
        """What pictures have to be decoded to."""
        return Form(self.channels, self.range)

    @property
    def crops(self) -> bool:
        """Whether pictures of another size are resized and cropped."""
        return self.fit in (Fit.AUTO, Fit.CROP)

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
        if self.per_pixel_mean is not None:
            return CustomScaling(recipe.white, (0.0,), recipe.std, recipe.order)
        return recipe

    @property
    def per_pixel_mean(self) -> NDArray[np.float32] | None:
        """float32 (C, H, W), 0..255, or None where the mean is a number per channel."""
        return self.mean if isinstance(self.mean, np.ndarray) else None

    # pictures and numbers

    def picture(self, picture: AnyPicture) -> AnyPicture:
        """Fit a picture to exactly H × W pixels: what the network sees, not yet scaled.

        Raises:
            BadImage: `fit` is none and the size differs, or the picture is so long and thin that
                resizing it would take more than PIXEL_LIMIT pixels.
        """
        picture, (height, width) = self.of_form(picture), self.size
        if self.fits(picture) and self.fit is not Fit.CROP:
            return picture
        if self.crops:
            return cropped(picture, height, width, height, width)
        if self.fit is Fit.STRETCH:
            return picture.resize((width, height), Image.Resampling.BILINEAR)
        raise BadImage(
            f"the picture is {picture.width}×{picture.height}, the network takes {width}×{height}"
            f" and fit none resizes nothing: use fit crop or stretch"
        )

    def fits(self, picture: AnyPicture) -> bool:
        """Whether a picture has the input's size already."""
        return picture.size == self.size[::-1]

    def fit_notes(self, picture: AnyPicture) -> tuple[str, ...]:
        """Note what is done to this picture that is not done to others."""
        return (AS_IT_IS,) if self.fit is Fit.AUTO and self.fits(picture) else ()

    @property
    def surroundings(self) -> Shape:
        """(C, H, W) of what `surrounding` makes: 256 for an input of 224."""
        return (self.channels, covering_side(self.size[0]), covering_side(self.size[1]))

    def surrounding(self, picture: AnyPicture) -> AnyPicture:
        """Resize a picture and keep more around the crop that `fit` crop makes, for more crops.

        The result has the size of `surroundings`; its middle is exactly what fit crop makes. For
        an input of 224, the smallest side becomes 256 and the centre is kept (paper §3).

        Raises:
            BadOption: `fit` is not crop or auto.
            BadImage: As `picture` raises it.
        """
        if not self.crops:
            raise BadOption(f"fit {self.fit} leaves nothing around the picture: use fit crop")
        return cropped(self.of_form(picture), *self.size, *self.surroundings[1:])

    def shown(self, picture: AnyPicture) -> NDArray[np.uint8]:
        """Fit a picture and make it RGB bytes to look at.

        Raises:
            BadImage: As `picture` raises it.

        Returns:
            uint8 (H, W, 3).
        """
        fitted = self.picture(picture)
        if isinstance(fitted, Image.Image):
            return np.array(fitted)
        samples = fitted.samples
        if samples.dtype != np.uint8:
            samples = np.rint(samples * np.float32(255)).clip(0, 255).astype(np.uint8)
        return self._bands(samples, -1)

    def tensor(self, picture: AnyPicture) -> torch.Tensor:
        """Preprocess one picture.

        Returns:
            float32 (C, H, W), as the network wants it.

        Raises:
            BadImage: As `picture` raises it.
        """
        return torch.from_numpy(self.scaled(np.asarray(self.picture(picture))))

    def tensors(self, pictures: NDArray[Any] | Iterable[AnyPicture]) -> torch.Tensor:
        """Preprocess pictures, or an array of them.

        Args:
            pictures: N pictures, or (N, h, w, C), uint8 or float32 as `Raster` has it. An array
                that is H × W already is taken as it is, whatever `fit` says.

        Returns:
            float32 (N, C, H, W), as the network wants them.

        Raises:
            BadImage: As `picture` raises it.
        """
        if isinstance(pictures, np.ndarray):
            if pictures.shape[1:] == (*self.size, self.channels):
                return torch.from_numpy(self.scaled(pictures))
            pictures = [Raster(samples) for samples in pictures]
        fitted = [np.asarray(self.picture(picture)) for picture in pictures]
        pixels = np.stack(fitted) if fitted else np.empty((0, *self.size, self.channels), np.uint8)
        return torch.from_numpy(self.scaled(pixels))

    def of_form(self, picture: AnyPicture) -> AnyPicture:
        """Return a picture with the input's channels, not fitted: RGB becomes grey for one.

        Raises:
            BadImage: It has other channels.
        """
        if isinstance(picture, Raster):
            if picture.samples.shape[2] != self.channels:
                raise BadImage(
                    f"the picture has {picture.samples.shape[2]} channels, "
                    f"the network takes {self.channels}"
                )
            return picture
        if self.channels == RGB.channels:
            return picture if picture.mode == "RGB" else picture.convert("RGB")
        if self.channels == 1:
            return Raster(np.array(picture.convert("L"))[..., None])
        raise BadImage(f"the picture is {picture.mode}, the network takes {self.channels} channels")

    def scaled(
        self,
        pixels: NDArray[Any],
        out: NDArray[np.float32] | None = None,
        *,
        white: float | None = None,
    ) -> NDArray[np.float32]:
        """Scale the samples of fitted pictures to the network's numbers.

        Args:
            pixels: Samples.
            out: Where the result is written; None makes a new array.
            white: The sample that is white; None: 255 of bytes, 1 of other numbers.

        Shape:
            pixels: (..., H, W, C). The result: float32 (..., C, H, W).
        """
        recipe, planes = self.numbers, np.moveaxis(pixels, -1, -3)  # (..., C, H, W)
        if recipe.order is Order.BGR:
            planes = planes[..., ::-1, :, :]
        out = np.empty(planes.shape, np.float32) if out is None else out
        out[...] = planes
        if white is None:
            white = 255.0 if pixels.dtype == np.uint8 else 1.0
        if recipe.white == 1.0 and white == 255.0:
            out /= np.float32(255)
        elif recipe.white != white:
            out *= np.float32(recipe.white / white)
        out -= self._mean_planes()
        if set(recipe.std) != {1.0}:
            out /= _planes(recipe.std)
        return out

    def to_uint8(self, tensor: torch.Tensor | NDArray[np.float32]) -> NDArray[np.uint8]:
        """Convert the network's numbers back to RGB bytes for display, rounded and clipped.

        Args:
            tensor: Any h and w, unless the mean is per pixel.

        Shape:
            tensor: float (..., C, h, w). The result: uint8 (..., h, w, 3), of `show_bands`.
        """
        recipe = self.numbers
        values = torch.as_tensor(tensor).detach().float().cpu().numpy()
        values = np.nan_to_num(values, nan=0.0) * _planes(recipe.std) + self._mean_planes()
        values *= np.float32(255 / recipe.white)
        pixels = np.moveaxis(np.rint(values).clip(0, 255).astype(np.uint8), -3, -1)
        pixels = pixels[..., ::-1] if recipe.order is Order.BGR else pixels
        return np.ascontiguousarray(self._bands(pixels, -1))

    def rgb(self, planes: torch.Tensor) -> torch.Tensor:
        """Bring planes, such as a projection, from the network's channels to R, G and B.

        Shape:
            planes: (..., C, h, w). The result: (..., 3, h, w), of `show_bands`.
        """
        planes = planes.flip(-3) if self.numbers.order is Order.BGR else planes
        shown = self._shown_bands
        return (
            planes
            if shown == (0, 1, 2) == tuple(range(self.channels))
            else planes[..., list(shown), :, :]
        )

    @property
    def _shown_bands(self) -> tuple[int, int, int]:
        """The channels, from 0, that are shown as red, green and blue."""
        bands = self.show_bands or ((1, 2, 3) if self.channels >= 3 else (1,))
        bands = bands * 3 if len(bands) == 1 else bands
        return bands[0] - 1, bands[1] - 1, bands[2] - 1

    def _bands(self, pixels: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
        shown = self._shown_bands
        if shown == (0, 1, 2) == tuple(range(self.channels)):
            return pixels
        return np.ascontiguousarray(np.take(pixels, shown, axis=axis))

    def fill(self, text: str) -> torch.Tensor:
        """Make a colour as the network gets it, for what covers part of an image.

        Args:
            text: grey (128 of 255), black, white, mean (what this scaling subtracts: zeros), a
                level 0..255 of all channels, or one of each, such as r,g,b.

        Returns:
            float32 (C, H, W).

        Raises:
            BadOption: It is another word, a number outside 0..255, or mean where the scaling
                subtracts none.
        """
        word = text.strip().lower()
        if word == "mean":
            if not self._takes_a_mean_off:
                raise BadOption(f"fill mean: scaling {self.scaling} takes no mean off; use grey")
            return torch.zeros(self.shape)
        numbers: tuple[int | str, ...] = COLOURS.get(word) or tuple(
            number.strip() for number in word.split(",")
        )
        numbers = numbers * self.channels if len(numbers) == 1 else numbers
        whole = all(is_number(str(number), 255) for number in numbers)
        if len(numbers) != self.channels or not whole:
            each = "r,g,b" if self.channels == 3 else f"{self.channels} levels"
            raise BadOption(f"fill {text!r}: it is {', '.join(COLOURS)}, mean, 0..255, or {each}")
        pixels = np.empty((*self.size, self.channels), np.uint8)
        pixels[...] = [int(number) for number in numbers]
        return torch.from_numpy(self.scaled(pixels))

    def blank(self) -> torch.Tensor:
        """Make an empty image, float32 (C, H, W): the mean if one is subtracted, else grey."""
        return self.fill("mean" if self._takes_a_mean_off else "grey")

    @property
    def _takes_a_mean_off(self) -> bool:
        return self.per_pixel_mean is not None or set(self.numbers.mean) != {0.0}

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
        if self.range is not None:
            record["range"] = list(self.range)
        if self.show_bands is not None:
            record["show_bands"] = list(self.show_bands)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], mean: Any = None) -> Preprocess:
        """Convert from what `to_dict` returned.

        Args:
            record: The dictionary.
            mean: The tensor (C, H, W) of a record that names a mean per pixel.

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
                range=record.get("range"),
                show_bands=record.get("show_bands"),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BadOption):
                raise
            raise BadOption(f"preprocessing record: {type(error).__name__} {error}") from None

    def describe(self) -> str:
        """Describe it in one line: size, fit, scaling, and the numbers behind their names."""
        (height, width), recipe = self.size, self.numbers
        rows, columns = covering_side(height), covering_side(width)
        crop = f"resized to cover {rows}×{columns}, bilinear antialias, centre"
        how = {
            Fit.AUTO: f"auto: of that size as it is, else {crop}",
            Fit.CROP: f"crop: {crop}",
            Fit.STRETCH: "stretch: resized, bilinear antialias",
            Fit.NONE: "none: pictures have that size",
        }[self.fit]
        order = {3: f"{recipe.order} ", 1: "grey "}.get(self.channels, "")
        words = f"{self.scaling}: {order}0..{recipe.white:g}"
        if self.per_pixel_mean is not None:
            words += " minus a mean per pixel"
        elif set(recipe.mean) != {0.0}:
            words += f" minus {listed(recipe.mean)}"
        if set(recipe.std) != {1.0}:
            words += f" over {listed(recipe.std)}"
        parts = [f"{self.channels}×{height}×{width}", how, words]
        if self.range is not None:
            parts.append(f"samples of {self.range[0]:g} to {self.range[1]:g}")
        if self.show_bands is not None:
            parts.append(f"shown: {', '.join(map(str, self.show_bands))}")
        return "; ".join(parts)

    def __repr__(self) -> str:
        return f"<Preprocess {self.describe()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preprocess) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        mean = self.mean.tobytes() if isinstance(self.mean, np.ndarray) else self.mean
        return (
            self.shape, self.scaling, self.fit, self.recipe, mean, self.range, self.show_bands
        )  # fmt: skip


def choose_preprocess(
    scaling: str | Mapping[str, Any],
    shape: str | Iterable[int],
    fit: str = Fit.AUTO,
    *,
    mean: Any = None,
    range: Any = None,
    show_bands: Any = None,
) -> Preprocess:
    """Make the Preprocess that the command line's words ask for.

    Args:
        scaling: imagenet, unit, paper, caffe, or a YAML file of one's own (scaling.py), or the
            table that such a file holds.
        shape: 3x224x224, or three numbers.
        fit: auto, crop, stretch or none.
        mean: For `paper` only, as in `Preprocess`.
        range, show_bands: As in `Preprocess`, or in words: "0,10000", "4,3,2". They count in place
            of those of the YAML file.

    Raises:
        BadOption: A word is not allowed, or the file is no recipe.

    Example:
        >>> choose_preprocess("caffe", "3x64x64", "stretch").size
        (64, 64)
    """
    names = [str(name) for name in Scaling if name is not Scaling.CUSTOM]
    if fit not in list(Fit):
        raise BadOption(f"fit {fit!r}: it is {', '.join(Fit)}")
    sides = parse_shape(shape) if isinstance(shape, str) else checked_shape(shape)
    if isinstance(scaling, str) and scaling in names:
        return Preprocess(sides, Scaling(scaling), Fit(fit), mean, None, range, show_bands)
    if isinstance(scaling, str) and not scaling.lower().endswith((".yaml", ".yml")):
        raise BadOption(f"preprocess {scaling!r}: it is {', '.join(names)}, or a file .yaml")
    file = read_recipe_file(scaling) if isinstance(scaling, str) else recipe_of(scaling)
    try:
        return Preprocess(
            sides, Scaling.CUSTOM, Fit(fit), mean, file.scaling,
            file.range if range is None else range,
            file.show_bands if show_bands is None else show_bands,
        )  # fmt: skip
    except BadOption as error:
        raise BadOption(f"{scaling}: {error}") from None


def _planes(numbers: Numbers) -> NDArray[np.float32]:
    return np.array(numbers, dtype=np.float32)[:, None, None]  # (C, 1, 1)
