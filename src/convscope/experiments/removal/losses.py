"""The observer of a removal: every image's loss with the whole network, and without each unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.errors import BadOption, NonFinite, NoSuchUnit
from convscope.images.batches import Batch
from convscope.images.image_set import ImageSet
from convscope.methods.removal import remove_units
from convscope.network.from_export import INPUT
from convscope.network.network import Network
from convscope.network.unit import Unit
from convscope.scan.observer import Observer

__all__ = ["RemovalLosses", "find_units"]

TABLE_BYTES = 2**32
"""Of the rises of all images, classes and units."""


def find_units(network: Network, words: Sequence[str]) -> tuple[Unit, ...]:
    """Find the feature maps that are to be taken away.

    Args:
        network: The network.
        words: Units (`layer/channel`), and layers, which stand for all of their maps. Of a
            convolution it is its activation that is taken away.

    Returns:
        Each once, in the order of the words.

    Raises:
        NoSuchLayer, NoSuchUnit: There is no such feature map, or a position is given.
        BadOption: Nothing is named.
    """
    names = {layer.name for layer in network.layers}
    found: list[Unit] = []
    for word in words:
        if word in names:
            layer = network.feature_layer(network.activation(word))
            found += [network.unit(Unit(layer.name, channel)) for channel in range(layer.channels)]
            continue
        unit = network.unit(word)
        if unit.position is not None:
            raise NoSuchUnit(f"{unit}: a whole feature map is taken away, leave its position out")
        found.append(network.unit(Unit(network.activation(unit.layer), unit.channel)))
    if not found:
        raise BadOption("no unit is named: give units, such as conv5/12, or layers")
    return tuple(dict.fromkeys(found))


class RemovalLosses(Observer):
    """Takes units away, each alone, and keeps what becomes of every image.

    Args:
        network: On the device that is used.
        images: The set.
        units: Feature maps.
        labels: The class of each image of the set, -1 where it has none.
        means: What is put in a map's place, by layer; None is zero.

    Attributes:
        present: (K,) int64, the classes that images have.
        loss: (N,) float64, of the whole network, a row per image of the set; NaN where the image
            was not seen.
        rise: (N, K, U) float32, by how much the loss rises without each unit, were the image of
            each of these classes.
        right: (N, 1 + U) bool, whether the image's class was the most probable one, with the whole
            network and without each unit.

    Raises:
        BadOption: The table would be larger than TABLE_BYTES.
    """

    key = "removal/"

    def __init__(
        self,
        network: Network,
        images: ImageSet,
        units: Sequence[Unit],
        labels: Tensor,
        *,
        means: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.network, self.images, self.units = network, images, tuple(units)
        self.labels, self.means = labels, means
        self.present = labels[labels >= 0].unique()
        count, known, maps = len(images), len(self.present), len(self.units)
        self.image_bytes = 4 * known * maps
        if count * self.image_bytes > TABLE_BYTES:
            raise BadOption(
                f"{maps} units, {known} classes and {count} images: their table would take "
                f"{count * self.image_bytes / 2**30:.0f} GB; give fewer units, or a smaller set"
            )
        self.loss = torch.full((count,), torch.nan, dtype=torch.float64)
        self.rise = torch.zeros(count, known, maps)
        self.right = torch.zeros(count, 1 + maps, dtype=torch.bool)
        self._part: list[tuple[Tensor, ...]] = []

    @property
    def layers(self) -> Sequence[str]:
        return (INPUT,)

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        labels = self.labels[batch.indices]
        removed = remove_units(self.network.trace(value), self.units, labels, means=self.means)
        rise = (removed.classes_without - removed.classes)[:, :, self.present].permute(1, 2, 0)
        right = torch.cat([removed.right[None], removed.right_without]).T
        finite = rise.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            index = int(batch.indices[int((~finite).nonzero()[0])])
            raise NonFinite(f"the loss of {self.images.name(index)} is NaN or infinite")
        self._part.append((batch.indices, removed.loss.cpu(), rise.float().cpu(), right.cpu()))

    def part(self) -> list[tuple[Tensor, ...]]:
        part, self._part = self._part, []
        return part

    def take(self, parts: Sequence[Any]) -> None:
        for indices, loss, rise, right in (batch for part in parts for batch in part):
            self.loss[indices], self.rise[indices], self.right[indices] = loss, rise, right

    def state(self) -> Mapping[str, Tensor]:
        return {"loss": self.loss, "rise": self.rise, "right": self.right.to(torch.uint8)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.loss, self.rise = state["loss"].clone(), state["rise"].clone()
        self.right = state["right"].bool()
