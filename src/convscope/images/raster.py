"""Pictures of any number of channels: what samples they are asked for in, and how these are kept.

Pictures of three channels of 8 bits are Pillow's; all others are a `Raster`, which is resized and
cut as Pillow does it, band by band. Functions here are samples -> Raster, or BadImage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.errors import BadImage, BadOption

__all__ = ["RGB", "AnyPicture", "Form", "Raster", "as_raster", "checked_range", "with_channels"]

LUMA = (0.299, 0.587, 0.114)  # of R, G and B in grey: ITU-R 601, as Pillow's convert("L")
BANDS = {1: "grey", 3: "RGB"}

Range = tuple[float, float]


@dataclass(frozen=True)
class Form:
    """What pictures are decoded to.

    Attributes:
        channels: Of the network's input.
        range: (LO, HI): the samples that stand for black and white where a sample has more than 8
            bits; None where the file's kind has to say it.

    Example:
        >>> Form(12, (0, 10000)).is_rgb
        False
    """

    channels: int = 3
    range: Range | None = None

    @property
    def is_rgb(self) -> bool:
        """Whether a picture of this form is Pillow's, RGB with 8 bits a sample."""
        return self.channels == 3 and self.range is None


RGB = Form()


@dataclass(frozen=True, eq=False)
class Raster:
    """An upright picture as an array of samples.

    Attributes:
        samples: (H, W, C): uint8, where 255 is white, or float32, where 1 is white.
    """

    samples: NDArray[Any]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.samples.shape[1]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.samples.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as Pillow has it."""
        return self.width, self.height

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.samples, dtype=dtype, copy=copy)

    def resize(self, size: tuple[int, int], resample: Any = Image.Resampling.BILINEAR) -> Raster:
        """Resize every band by itself, as Pillow does.

        Args:
            size: (width, height), pixels.
            resample: Pillow's filter.
        """
        return self._by_band(lambda band: band.resize(size, resample))

    def crop(self, box: tuple[int, int, int, int]) -> Raster:
        """Cut out (left, top, right, bottom), pixels; what lies beyond the picture is 0."""
        return self._by_band(lambda band: band.crop(box))

    def _by_band(self, change: Any) -> Raster:
        bands = [
            np.asarray(change(Image.fromarray(np.ascontiguousarray(self.samples[..., band]))))
            for band in range(self.samples.shape[2])
        ]
        return Raster(np.stack(bands, axis=-1))


AnyPicture = Image.Image | Raster
"""A picture: Pillow's, RGB, or one of another number of channels or of finer samples."""


def as_raster(
    samples: NDArray[Any], name: str, form: Form, *, full_scale: bool = True
) -> tuple[Raster, tuple[str, ...]]:
    """Scale stored samples: to uint8 where they have 8 bits, else to float32 by the form's range.

    Args:
        samples: (H, W, C), of whole or floating-point numbers.
        name: What errors call the picture.
        form: What is asked for; its channels are not looked at.
        full_scale: Whether a file of this kind says that the largest number of 16 bits is white.

    Returns:
        The picture, and notes of what was done.

    Raises:
        BadImage: Nothing says which sample is white, or one is NaN or infinite.
    """
    if samples.dtype == np.bool_:
        return Raster(samples.astype(np.uint8) * np.uint8(255)), ("1 bit a sample",)
    if samples.dtype == np.uint8:
        return Raster(samples), () if form.range is None else ("8 bits a sample: 0 to 255",)
    if form.range is not None:
        return _in_range(samples, name, form.range)
    if samples.dtype == np.uint16 and full_scale:
        notes = ("16 bits a sample: high byte kept",)
        return Raster((samples >> 8).astype(np.uint8)), notes
    low, high = samples.min(), samples.max()
    raise BadImage(
        f"{name}: has samples of {samples.dtype} without a stated range (here {low:g} to {high:g});"
        f" say which are black and white: --range LO,HI"
    )


def _in_range(samples: NDArray[Any], name: str, limits: Range) -> tuple[Raster, tuple[str, ...]]:
    low, high = limits
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise BadImage(f"{name}: has samples that are NaN or infinite")
    values = ((samples.astype(np.float64) - low) / (high - low)).astype(np.float32)
    notes = [f"samples of {low:g} to {high:g} taken for 0 to 1"]
    if values.min() < 0 or values.max() > 1:
        notes.append(f"samples outside {low:g} to {high:g} cut off there")
        values = values.clip(0, 1)
    return Raster(values), tuple(notes)


def with_channels(raster: Raster, channels: int, name: str) -> tuple[Raster, tuple[str, ...]]:
    """Give a picture the number of channels that a network takes.

    A grey picture is repeated for a network of three, and a picture of R, G and B becomes grey for
    a network of one; any other number must be the network's.

    Args:
        raster: The picture.
        channels: Of the network.
        name: What errors call the picture.

    Returns:
        The picture, and notes of what was done.

    Raises:
        BadImage: The numbers differ otherwise.
    """
    bands = raster.samples.shape[2]
    if bands == channels:
        return raster, ()
    if (bands, channels) == (1, 3):
        return Raster(np.repeat(raster.samples, 3, axis=2)), ("grey to RGB",)
    if (bands, channels) == (3, 1):
        return Raster(_luma(raster.samples)), ("RGB to grey",)
    raise BadImage(
        f"{name}: has {_counted(bands)}, and the network takes {_counted(channels)}: give it "
        f"pictures of {channels}, or a network (and --input) that takes {bands}"
    )


def _luma(samples: NDArray[Any]) -> NDArray[Any]:
    if samples.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(samples)).convert("L"))[..., None]
    return (samples @ np.array(LUMA, np.float32))[..., None]


def _counted(bands: int) -> str:
    word = f" ({BANDS[bands]})" if bands in BANDS else ""
    return f"{bands} {'channel' if bands == 1 else 'channels'}{word}"


def checked_range(given: str | Iterable[float] | None) -> Range | None:
    """Check the samples that stand for black and white.

    Args:
        given: "LO,HI", two numbers, or None.

    Raises:
        BadOption: It is something else, or LO is not below HI.

    Example:
        >>> checked_range("-1000,400")
        (-1000.0, 400.0)
    """
    if given is None:
        return None
    words = given.split(",") if isinstance(given, str) else list(given)
    try:
        low, high = (float(word) for word in words)
    except (TypeError, ValueError):
        low = high = float("nan")
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise BadOption(
            f"range {given!r}: it is LO,HI, the samples that are black and white, such as 0,10000"
        )
    return low, high
