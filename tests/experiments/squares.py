"""Pictures with a red or a green square, and a network built to see these colours and no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from convscope.errors import BadImage
from convscope.images.files import Decoded
from convscope.images.fitting import Fit
from convscope.images.image_set import Content, ImageSet
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.weights import module_sha256
from convscope.models.zoo import Model

SIDE = 28
CLASSES = ("red", "green")


class Squares(ImageSet):
    """Grey noise with a square of a colour, whose class it is, somewhere in it."""

    def __init__(self, count: int, *, seed: int = 0, broken: Sequence[int] = ()) -> None:
        super().__init__("squares", CLASSES)
        self._broken, self.read = set(broken), 0
        dice = np.random.default_rng(seed)
        self.sides = dice.integers(7, 13, (count, 2))
        self.corners = (dice.random((count, 2)) * (SIDE - self.sides)).astype(int)

    def __len__(self) -> int:
        return len(self.sides)

    def name(self, index: int) -> str:
        return f"{index:04d}.png"

    def label(self, index: int) -> int:
        return index % 2

    def box(self, index: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the square."""
        (top, left), (height, width) = self.corners[index], self.sides[index]
        return int(top), int(left), int(top + height), int(left + width)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """uint8 (SIDE, SIDE, 3)."""
        grey = np.random.default_rng(index).integers(90, 110, (SIDE, SIDE, 1))
        found = np.repeat(grey, 3, 2).astype(np.uint8)
        top, left, bottom, right = self.box(index)
        found[top:bottom, left:right] = (230, 20, 20) if self.label(index) == 0 else (20, 230, 20)
        return found

    def content(self, index: int) -> Content:
        if index in self._broken:
            raise BadImage(f"{self.name(index)}: is broken")

        def decode() -> Decoded:
            self.read += 1
            return Decoded(Image.fromarray(self.pixels(index)))

        return Content(repr((index, self.box(index))).encode(), decode)

    def rows(self) -> list[str]:
        """Lines of a .csv of the boxes."""
        lines = ["file,label,left,top,right,bottom"]
        for index in range(len(self)):
            top, left, bottom, right = self.box(index)
            label = CLASSES[self.label(index)]
            lines.append(f"{self.name(index)},{label},{left},{top},{right},{bottom}")
        return lines


def colour_model() -> Model:
    """Two maps, of what is red and of what is green; a class has the mean of its map."""
    module = nn.Sequential(
        nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, -1, 0], [-1, 1, 0]])[:, :, None, None])
        module[0].bias.fill_(-0.1)
        module[4].weight.copy_(20 * torch.eye(2))
        module[4].bias.zero_()
    preprocess = Preprocess((3, SIDE, SIDE), Scaling.UNIT, Fit.STRETCH)
    return Model(module.eval(), preprocess, "colours", module_sha256(module), False, CLASSES)
