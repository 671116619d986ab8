"""How bytes become numbers. A CustomScaling is the arithmetic, RECIPES the ones that have names.

    x = (bytes / 255 · white − mean) / std          channels in `order`

mean and std are in units of x and in the network's own channel order. A recipe of one's own is a
YAML file:

    scale: 255               # the value of a white pixel: 255, or 1
    mean: [104, 117, 123]    # taken off after that, one number per channel, in `order`
    std: [1, 1, 1]           # divided by after that
    order: BGR               # or RGB

Only `scale` must be there; the others default to 0, 1 and RGB.
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

Triple = tuple[float, float, float]


class Scaling(StrEnum):
    """How bytes become numbers; RECIPES holds the numbers."""

    IMAGENET = "imagenet"
    UNIT = "unit"
    PAPER = "paper"
    CAFFE = "caffe"
    CUSTOM = "custom"


class Order(StrEnum):
    """The order of the three channels in the tensor."""

    RGB = "RGB"
    BGR = "BGR"


@dataclass(frozen=True)
class CustomScaling:
    """The numbers of a scaling.

    Attributes:
        white: The value of a white pixel before the mean is subtracted: 1 or 255.
        mean: Subtracted after that, one number per channel.
        std: Divided by after that, one number per channel.
        order: The order of the channels.

    Raises:
        BadOption: Numbers are not finite, a std is not above 0, or mean and std belong to another
            white (0.485 to pixels of 0..255).
    """

    white: float = 1.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    order: Order = Order.RGB

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", Order(self.order))
        if self.white not in (1.0, 255.0):
            raise BadOption(f"scale {self.white:g}: a white pixel is 255 or 1")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)):
            raise BadOption("mean and std must be finite numbers")
        if min(self.std) <= 0:
            raise BadOption(f"std {listed(self.std)}: each must be above 0")
        if self.white == 1.0 and max(self.mean) > 1:
            raise BadOption(f"mean {listed(self.mean)} is outside pixels 0..1: use scale: 255")
        if self.white == 255.0 and (0 < max(self.mean) <= 1 or max(self.std) < 1):
            raise BadOption(
                f"mean {listed(self.mean)} and std {listed(self.std)} belong to pixels 0..1,"
                " not 0..255: use scale: 1"
            )

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
        unknown = sorted(set(map(str, record)) - KEYS)
        if unknown or "scale" not in record:
            found = f"unknown {', '.join(unknown)}" if unknown else "no scale"
            raise BadOption(f"{found}: a recipe has the keys scale, mean, std, order")
        order = str(record.get("order", "RGB")).upper()
        if order not in list(Order):
            raise BadOption(f"order {order}: it is RGB or BGR")
        return cls(
            white=_number("scale", record["scale"]),
            mean=_triple("mean", record.get("mean", (0, 0, 0))),
            std=_triple("std", record.get("std", (1, 1, 1))),
            order=Order(order),
        )


KEYS = {"scale", "mean", "std", "order"}

RECIPES = {
    Scaling.IMAGENET: CustomScaling(
        1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ),  # torchvision's
    Scaling.UNIT: CustomScaling(1.0),
    # paper §2: mean-subtracted, not divided. ImageNet's mean in 0..255, unless data gave its own
    Scaling.PAPER: CustomScaling(255.0, (123.675, 116.28, 103.53)),
    Scaling.CAFFE: CustomScaling(255.0, (104.0, 117.0, 123.0), order=Order.BGR),
}


def read_custom_scaling(path: str | Path) -> CustomScaling:
    """Read the recipe in a YAML file.

    Raises:
        BadOption: The file cannot be read or is no recipe; it is named.
    """
    try:
        record = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if not isinstance(record, Mapping):
            raise BadOption("not a table of scale, mean, std, order")
        return CustomScaling.from_dict(record)
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise BadOption(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except BadOption as error:
        raise BadOption(f"{path}: {error}") from None


def _triple(name: str, values: Any) -> Triple:
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise BadOption(f"{name} {values!r}: three numbers, one per channel")
    first, second, third = (_number(name, value) for value in values)
    return first, second, third


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadOption(f"{name} {value!r}: not a number")
    return float(value)


def listed(triple: Triple) -> str:
    """Format three numbers, such as "(104, 117, 123)"."""
    return "(" + ", ".join(f"{value:g}" for value in triple) + ")"
