"""Small networks whose answers are known, and a set of images in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from convscope.images.files import Decoded
from convscope.images.fitting import Fit
from convscope.images.image_set import Content, ImageSet
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.network.network import Network, open_network

SIDE = 24


class Forward(nn.Module):
    """A convolution that passes the image on, and then a function of it."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(torch.relu(self.conv(x)))


def channel_means(x: Tensor) -> Tensor:
    """(N, 3): each channel's mean."""
    return x.mean((2, 3))


def network_of(function: Callable[[Tensor], Tensor], side: int = SIDE) -> Network:
    """(N, 3, side, side) in 0..1 -> what the function makes of it."""
    return open_network(Forward(function), (3, side, side))


def network_reading(weight: Tensor, side: int = SIDE) -> Network:
    """weight (C, 3, side, side) : what each class's score reads of the image, linearly"""
    readout = nn.Linear(weight[0].numel(), len(weight), bias=False)
    with torch.no_grad():
        readout.weight.copy_(weight.flatten(1))
    module = Forward(torch.nn.Identity())
    module.function = nn.Sequential(nn.Flatten(), readout)
    return open_network(module, (3, side, side))


def unit_preprocess(side: int = SIDE, fit: Fit = Fit.STRETCH) -> Preprocess:
    return Preprocess((3, side, side), Scaling.UNIT, fit)


class Drawn(ImageSet):
    """Pictures that are there already, uint8 (H, W, 3) each."""

    def __init__(
        self,
        pictures: Sequence[np.ndarray],
        labels: Sequence[int] | None = None,
        classes: tuple[str, ...] | None = None,
        spec: str = "drawn",
    ) -> None:
        super().__init__(spec, classes)
        self.pictures, self.labels = pictures, labels

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        return f"{index}.png"

    def label(self, index: int) -> int | None:
        return None if self.labels is None else self.labels[index]

    def content(self, index: int) -> Content:
        pixels = self.pictures[index]
        return Content(pixels.tobytes(), lambda: Decoded(Image.fromarray(pixels)))


class Stopped(Exception):
    """An interruption."""


def stop_at(counted: str, number: int) -> Callable[[str, int, int], None]:
    """Progress that ends a study once so many are done."""

    def tell(what: str, done: int, total: int) -> None:
        if (what, done) == (counted, number):
            raise Stopped

    return tell


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
