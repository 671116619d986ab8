"""Pictures shifted, enlarged and turned: what a network's features are tested against.

The picture moves, not its frame. What comes in at an edge is what the picture holds beyond the
network's crop, as far as it reaches (16 pixels at least, of 224, where the fit is crop), and then
the mean colour. Shifts are by whole pixels; sizes and angles are resampled, bilinear, from the
picture as it was resized for the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from convscope.errors import BadOption
from convscope.images.placing import Placing, placing
from convscope.images.preprocess import Preprocess
from convscope.images.raster import AnyPicture

__all__ = ["SMALL", "Moving", "Transform", "TransformRange", "papers_transforms"]

REACH = 60 / 224  # of the input's height: the paper's largest shift
LARGEST = 1.8  # the paper's largest scale
STEPS = 10  # from nothing to the largest
SMALL = 0.1  # of a motion's range: what counts as a small transform


class Transform(StrEnum):
    """How a picture moves."""

    TRANSLATION = "translation"
    SCALE = "scale"
    ROTATION = "rotation"


@dataclass(frozen=True)
class TransformRange:
    """One motion by several amounts, one of which is none at all.

    Attributes:
        amounts: Of a shift: pixels of the input, downward is positive. Of an enlargement: the
            factor, 1 for none. Of a turn: degrees, counter-clockwise.
    """

    motion: Transform
    amounts: tuple[float, ...]

    @property
    def efforts(self) -> tuple[float, ...]:
        """How far each amount is from none: pixels, enlargement - 1, degrees up to 180."""
        if self.motion is Transform.TRANSLATION:
            return tuple(abs(amount) for amount in self.amounts)
        if self.motion is Transform.SCALE:
            return tuple(amount - 1 for amount in self.amounts)
        return tuple(min(amount % 360, -amount % 360) for amount in self.amounts)

    @property
    def words(self) -> str:
        """The axis of a figure."""
        return {
            Transform.TRANSLATION: "Vertical translation, pixels",
            Transform.SCALE: "Scale",
            Transform.ROTATION: "Rotation, degrees",
        }[self.motion]


def papers_transforms(height: int, steps: int = STEPS) -> tuple[TransformRange, ...]:
    """Make the paper's motions: ±60 of 224 pixels down, 1 to 1.8 times as large, once around.

    The paper does not state its steps; ours are 6 pixels, 0.08 and 18 degrees. A tenth of the range
    is always among the amounts; of a shift, the whole pixels around it.

    Args:
        height: Of the input, in pixels.
        steps: How many, from none to the largest amount.

    Raises:
        BadOption: There are fewer than 2 steps.

    Source:
        Zeiler & Fergus, arXiv:1311.2901, Fig. 5.
    """
    if steps < 2:
        raise BadOption(f"{steps} steps: a curve needs 2 or more")
    shares = sorted({SMALL, *(np.arange(steps + 1) / steps).tolist()})
    down = {round(REACH * height * part) for part in shares}
    tenth = SMALL * max(down)
    down |= {math.floor(tenth), math.ceil(tenth)}
    turns = {180 * part for part in shares}
    return (
        TransformRange(
            Transform.TRANSLATION, tuple(sorted({float(s * n) for n in down for s in (-1, 1)}))
        ),
        TransformRange(Transform.SCALE, tuple(1 + (LARGEST - 1) * part for part in shares)),
        TransformRange(Transform.ROTATION, tuple(sorted(turns | {360 - turn for turn in turns}))),
    )


class Moving:
    """One picture that can be moved before the network looks at it.

    Attributes:
        fill: What lies beyond the picture, preprocessed.

    Shape:
        fill: (C, H, W).
    """

    def __init__(self, picture: AnyPicture, preprocess: Preprocess) -> None:
        picture = preprocess.of_form(picture)
        self.preprocess = preprocess
        self.fill = preprocess.blank()
        self.still = preprocess.tensor(picture)
        self.place = placing(preprocess, picture.height, picture.width)
        self.plane = _plane(picture, self.place)
        self.white = 255.0 if np.asarray(picture).dtype == np.uint8 else 1.0

    def moved(self, motions: TransformRange) -> Tensor:
        """float32 (S, C, H, W), preprocessed, a row per amount."""
        return torch.stack([self._moved(motions.motion, amount) for amount in motions.amounts])

    def _moved(self, motion: Transform, amount: float) -> Tensor:
        if amount == (1 if motion is Transform.SCALE else 0):
            return self.still
        rows, columns = self._sources(motion, amount)
        height, width = self.place.resized
        grid = torch.stack([2 * columns / width - 1, 2 * rows / height - 1], -1)  # (H, W, 2)
        seen = F.grid_sample(self.plane[None], grid[None], align_corners=False)[0]  # (C + 1, H, W)
        cover = seen[-1:]
        colours = (seen[:-1] / cover.clip(min=1e-9)).clip(0, self.white).permute(1, 2, 0).float()
        numbers = torch.from_numpy(self.preprocess.scaled(colours.numpy(), white=self.white))
        return torch.lerp(self.fill, numbers, cover.float())

    def _sources(self, motion: Transform, amount: float) -> tuple[Tensor, Tensor]:
        """For each pixel of the input, the (row, column) of the resized picture that it shows."""
        (height, width), place = self.place.size, self.place
        down = torch.arange(height, dtype=torch.float64)[:, None] + 0.5 - height / 2
        across = torch.arange(width, dtype=torch.float64)[None] + 0.5 - width / 2
        down, across = down.expand(height, width), across.expand(height, width)
        if motion is Transform.TRANSLATION:
            down = down - amount
        elif motion is Transform.SCALE:
            down, across = down / amount, across / amount
        else:
            cos, sin = math.cos(math.radians(amount)), math.sin(math.radians(amount))
            down, across = across * sin + down * cos, across * cos - down * sin
        return down + height / 2 + place.top, across + width / 2 + place.left


def example_amounts(motions: TransformRange, count: int) -> Sequence[int]:
    """`count` of the amounts, evenly from the first to the last, as indices."""
    return [round(i) for i in np.linspace(0, len(motions.amounts) - 1, count).tolist()]


def _plane(picture: AnyPicture, place: Placing) -> Tensor:
    """float64 (C + 1, h, w): the picture as it is resized for the network, and ones where it is."""
    height, width = place.resized
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    colours = torch.from_numpy(np.array(picture)).permute(2, 0, 1).double()
    return torch.cat([colours, torch.ones_like(colours[:1])])
