"""A small network, noise that it looks at, and observers whose answers are known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from convscope.errors import BadImage
from convscope.images.batches import Batch
from convscope.images.files import Decoded
from convscope.images.fitting import Fit
from convscope.images.image_set import Content, ImageSet
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.weights import module_sha256
from convscope.models.zoo import Model
from convscope.network.network import Network, open_network
from convscope.scan.engine import Scan
from convscope.scan.features import FeatureSettings, FeatureWriter
from convscope.scan.observer import Observer
from convscope.scan.strongest import Strongest

SIDE, BATCH, COUNT = 12, 3, 22
BROKEN, GREY = (4, 9, 10, 11, 21), (2, 13)
"""Images 9, 10 and 11 are a whole batch."""
LAYERS = ("1", "4", "6")
PREPROCESS = Preprocess((3, SIDE, SIDE), Scaling.UNIT, Fit.NONE)


class Noise(ImageSet):
    """Pictures of noise; some cannot be read, and some are said to have been grey."""

    def __init__(self, count: int = COUNT, broken: Collection[int] = BROKEN) -> None:
        super().__init__("noise", None)
        self._count, self._broken = count, set(broken)
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return f"{index:03d}"

    def label(self, index: int) -> None:
        return None

    def content(self, index: int) -> Content:
        if index in self._broken:
            raise BadImage(f"{self.name(index)}: is broken")

        def decode() -> Decoded:
            self.decoded.append(index)
            pixels = np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            return Decoded(Image.fromarray(pixels), ("grey",) if index in GREY else ())

        return Content(str(index).encode(), decode)


def noisy_model() -> Model:
    """Two rectified convolutions and a dense layer."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 7),
    ).eval()  # fmt: skip
    return Model(module, PREPROCESS, "noisy", module_sha256(module), False, None)


def noisy_network() -> Network:
    return open_network(noisy_model().module, (3, SIDE, SIDE))


class SumByBatch(Observer):
    """The sum of a layer's values in float32, which depends on the order of its terms."""

    key = "sum/"

    def __init__(self, layer: str) -> None:
        self.layer, self.total = layer, torch.zeros(())
        self._batch: Tensor | None = None
        self._waiting: dict[int, Tensor] = {}

    @property
    def layers(self) -> Collection[str]:
        return (self.layer,)

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        self._batch = value.flatten(1).sum(0)

    def end(self, batch: Batch, number: int) -> None:
        if self._batch is not None:
            self._waiting[number] = self._batch
        self._batch = None

    def part(self) -> dict[int, Tensor]:
        part, self._waiting = self._waiting, {}
        return part

    def take(self, parts: Sequence[dict[int, Tensor]]) -> None:
        together = {number: value for part in parts for number, value in part.items()}
        for _, value in sorted(together.items()):
            self.total = self.total + value

    def state(self) -> dict[str, Tensor]:
        return {"total": self.total}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.total = state["total"]


def features_of(
    network: Network, *, flips: bool = False, first: bool = True, count: int = COUNT
) -> FeatureWriter:
    how = FeatureSettings("mean+max" if flips else "auto", flips=flips)
    layers = LAYERS[:2] if flips else LAYERS
    shapes = {name: (count, how.length_of(network, name)) for name in layers}
    tables = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return FeatureWriter(network, Noise(), layers, how, tables if first else None)


def strongest_of(network: Network) -> Strongest:
    found = Strongest(network, {"0": "1", "3": "4"}, 3)
    found.key = "strongest/"
    return found


def observers_of(network: Network, *, first: bool = True) -> list[Observer]:
    """One of every kind."""
    return [features_of(network, first=first), strongest_of(network), SumByBatch("4")]


def states_of(observers: Sequence[Observer]) -> dict[str, Tensor]:
    """All that they know, by name."""
    return {
        f"{observer.key}{name}": tensor.clone()
        for observer in observers
        for name, tensor in observer.state().items()
    }


def scan_of(network: Network, **more) -> Scan:
    return Scan(network, Noise(), PREPROCESS, **{"batch_size": BATCH, **more})
