"""Images and networks whose features are known: a picture of one colour is its colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
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
from convscope.network.network import Network, open_network

SIDE = 8


class Painted(ImageSet):
    """Pictures of one colour each; `truth` are labels, or targets."""

    def __init__(
        self,
        colours: Sequence[tuple[int, int, int]],
        truth: Sequence[int] | Sequence[tuple[int, ...]],
        *,
        classes: tuple[str, ...] = ("even", "odd"),
        broken: Sequence[int] = (),
    ) -> None:
        super().__init__("painted", classes)
        self._colours, self._truth, self._broken = colours, truth, set(broken)
        self.multi_label = isinstance(truth[0], tuple)
        self.read = 0

    def __len__(self) -> int:
        return len(self._colours)

    def name(self, index: int) -> str:
        return f"{index:04d}"

    def label(self, index: int) -> int | None:
        truth = self._truth[index]
        return None if isinstance(truth, tuple) else truth

    def targets(self, index: int) -> tuple[int, ...]:
        truth = self._truth[index]
        return truth if isinstance(truth, tuple) else super().targets(index)

    def content(self, index: int) -> Content:
        if index in self._broken:
            raise BadImage(f"{self.name(index)}: is broken")
        colour = self._colours[index]

        def decode() -> Decoded:
            self.read += 1
            return Decoded(Image.new("RGB", (SIDE, SIDE), colour))

        return Content(repr((index, colour)).encode(), decode)


def xor_images(count: int, *, seed: int = 0, broken: Sequence[int] = ()) -> Painted:
    """Class `odd` where exactly one of red and green is bright: no line between them in colour."""
    dice = np.random.default_rng(seed)
    bright = dice.integers(0, 2, (count, 2))
    bright[:4] = [(0, 0), (0, 1), (1, 0), (1, 1)]
    levels = 60 + 130 * bright + dice.integers(-20, 21, (count, 2))
    colours = [(int(r), int(g), int(b)) for (r, g), b in zip(levels, dice.integers(0, 256, count))]  # noqa: B905
    return Painted(colours, (bright[:, 0] ^ bright[:, 1]).tolist(), broken=broken)


def xor_model() -> Model:
    """Layer `0`/`1` holds the colours; `2`/`3` the differences of red and green, which tell."""
    module = nn.Sequential(
        nn.Conv2d(3, 3, 1),
        nn.ReLU(),
        nn.Conv2d(3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 2),
    )
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(3)[:, :, None, None])
        module[0].bias.zero_()
        module[2].weight.copy_(torch.tensor([[1.0, -1, 0], [-1, 1, 0]])[:, :, None, None])
        module[2].bias.zero_()
        module[6].weight.copy_(torch.tensor([[-1.0, -1], [1, 1]]))
        module[6].bias.copy_(torch.tensor([0.2, -0.2]))
    preprocess = Preprocess((3, SIDE, SIDE), Scaling.UNIT, Fit.STRETCH)
    return Model(module.eval(), preprocess, "xor", module_sha256(module), False, None)


def opened(model: Model) -> Network:
    return open_network(model.module, model.input_shape)
