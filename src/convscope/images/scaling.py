"""How bytes become numbers. A CustomScaling is the arithmetic, RECIPES the ones that have names.

    x = (sample / white sample · white − mean) / std          channels in `order`

mean and std are in units of x and in the network's own channel order. A recipe of one's own is a
YAML file:

    scale: 255               # the value of a white pixel, such as 255 or 1
    mean: [104, 117, 123]    # taken off after that, one number per channel, in `order`
    std: [1, 1, 1]           # divided by after that
    order: BGR               # or RGB, which is also the order in the file
    range: [0, 10000]        # the samples that are black and white, where they have not 8 bits
    show_bands: [4, 3, 2]    # which channels are shown as red, green and blue; one number: in grey

Only `scale` must be there; mean and std default to 0 and 1, and may be one number for all channels.
`range` and `show_bands` are the options of that name (`Preprocess`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from convscope.errors import BadOption
from convscope.text import error_words

Numbers = tuple[float, ...]
"""One number per channel, or one for all."""


class Scaling(StrEnum):
    """How bytes become numbers; RECIPES holds the numbers."""

    IMAGENET = "imagenet"
    UNIT = "unit"
    PAPER = "paper"
    CAFFE = "caffe"
    CUSTOM = "custom"


class Order(StrEnum):
    """The order of three channels in the tensor."""

    RGB = "RGB"
    BGR = "BGR"


@dataclass(frozen=True)
class CustomScaling:
    """The numbers of a scaling.

    Attributes:
        white: The value of a white pixel before the mean is subtracted, such as 1 or 255.
        mean: Subtracted after that, one number per channel, or one for all.
        std: Divided by after that, likewise.
        order: The order of three channels.

    Raises:
        BadOption: Numbers are not finite, a std is not above 0, mean and std are of different
            numbers of channels, or belong to another white (0.485 to pixels of 0..255).
    """

    white: float = 1.0
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)
    order: Order = Order.RGB

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", Order(self.order))
        if not (math.isfinite(self.white) and self.white > 0):
            raise BadOption(f"scale {self.white:g}: the value of a white pixel, such as 255 or 1")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)):
            raise BadOption("mean and std must be finite numbers")
        if min(self.std) <= 0:
            raise BadOption(f"std {listed(self.std)}: each must be above 0")
        if self.channels is None:
            raise BadOption(f"mean {listed(self.mean)} and std {listed(self.std)}: not as many")
        if self.order is Order.BGR and self.channels not in (1, 3):
            raise BadOption(f"order BGR is for 3 channels, not {self.channels}")
        if self.white == 1.0 and max(self.mean) > 1:
            raise BadOption(f"mean {listed(self.mean)} is outside pixels 0..1: use scale: 255")
        if self.white == 255.0 and (0 < max(self.mean) <= 1 or max(self.std) < 1):
            raise BadOption(
                f"mean {listed(self.mean)} and std {listed(self.std)} belong to pixels 0..1,"
                " not 0..255: use scale: 1"
            )

    @property
    def channels(self) -> int | None:
        """How many channels the numbers are for; 1 is any, None is none: they contradict."""
        counts = {len(self.mean), len(self.std)} - {1}
        if len(counts) > 1 or 0 in counts:
            return None
        return counts.pop() if counts else 1

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON or YAML, with the keys of a recipe file."""
        return {
            "scale": self.white,
            "mean": list(self.mean),
            "std": list(self.std),
            "order": str(self.order),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> CustomScaling:
        """Convert from what `to_dict` returned, or from a recipe file.

        Raises:
            BadOption: There is an unknown key, or a value that is not allowed.
        """
        unknown = sorted(set(map(str, record)) - set(KEYS))
        if unknown or "scale" not in record:
            found = f"unknown {', '.join(unknown)}" if unknown else "no scale"
            raise BadOption(f"{found}: a recipe has the keys {', '.join(KEYS)}")
        order = str(record.get("order", "RGB")).upper()
        if order not in list(Order):
            raise BadOption(f"order {order}: it is RGB or BGR")
        return cls(
            white=_number("scale", record["scale"]),
            mean=_numbers("mean", record.get("mean", 0)),
            std=_numbers("std", record.get("std", 1)),
            order=Order(order),
        )


KEYS = ("scale", "mean", "std", "order")

RECIPES = {
    Scaling.IMAGENET: CustomScaling(
        1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ),  # torchvision's
    Scaling.UNIT: CustomScaling(1.0),  # of any number of channels
    # paper §2: mean-subtracted, not divided. ImageNet's mean in 0..255, unless data gave its own
    Scaling.PAPER: CustomScaling(255.0, (123.675, 116.28, 103.53)),
    Scaling.CAFFE: CustomScaling(255.0, (104.0, 117.0, 123.0), order=Order.BGR),
}


@dataclass(frozen=True)
class RecipeFile:
    """What a YAML file says: how samples become numbers, and how they are read and shown.

    Attributes:
        scaling: The numbers.
        range: The samples that are black and white, or None, as `Preprocess` has it.
        show_bands: The channels that are shown, or None, likewise.
    """

    scaling: CustomScaling
    range: Any = None
    show_bands: Any = None


def read_recipe_file(path: str | Path) -> RecipeFile:
    """Read the recipe in a YAML file.

    Raises:
        BadOption: The file cannot be read or is no recipe; it is named.

    Example:
        read_recipe_file("sentinel.yaml").scaling.mean
    """
    try:
        return recipe_of(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise BadOption(f"{path}: not YAML: {error_words(error)}") from None
    except BadOption as error:
        raise BadOption(f"{path}: {error}") from None


READING = ("range", "show_bands")


def recipe_of(record: Any) -> RecipeFile:
    """Read a recipe from the table that its file holds.

    Raises:
        BadOption: It is no such table.

    Example:
        >>> recipe_of({"scale": 1, "mean": 0.5, "std": 0.25}).scaling.std
        (0.25,)
    """
    if not isinstance(record, Mapping):
        raise BadOption(f"not a table of {', '.join((*KEYS, *READING))}")
    given = {key: record[key] for key in READING if record.get(key) is not None}
    numbers = {key: value for key, value in record.items() if key not in READING}
    return RecipeFile(CustomScaling.from_dict(numbers), **given)


def _numbers(name: str, values: Any) -> Numbers:
    if isinstance(values, list | tuple) and values:
        return tuple(_number(name, value) for value in values)
    if isinstance(values, list | tuple):
        raise BadOption(f"{name} {values!r}: a number for each channel, or one for all")
    return (_number(name, values),)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadOption(f"{name} {value!r}: not a number")
    return float(value)


def listed(numbers: Numbers) -> str:
    """Format numbers, such as "(104, 117, 123)", or "0.5" where it is one, or one for many."""
    words = [f"{value:g}" for value in numbers]
    alike = len(words) > 3 and len(set(words)) == 1
    return words[0] if len(words) == 1 or alike else f"({', '.join(words)})"
