"""The observer behind transfer and probes: a row of features per image, of any number of layers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import NonFinite
from convscope.images.batches import Batch, Skipped
from convscope.images.image_set import ImageSet
from convscope.network.exported import Network
from convscope.scan.observer import Observer
from convscope.scan.pooling import Pooling

__all__ = ["FeatureSettings", "FeatureWriter", "Features", "Unread"]

Rows = NDArray[Any]
"""(N, D), float32 or float16."""
Unread = dict[int, tuple[str, str | None]]
"""Index of an image that could not be read -> the reason, and the digest of its bytes if known."""


@dataclass(frozen=True)
class FeatureSettings:
    """How a layer's values become features.

    Attributes:
        pooling: of a layer with a grid; `scan.pooling` has the names.
        flips: the mean over each image and its mirror image.
        half: stored in float16, half the space; rounded to 3 digits.
    """

    pooling: str = "auto"
    flips: bool = False
    half: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """As which features are stored."""
        return np.dtype(np.float16 if self.half else np.float32)

    def pooling_of(self, network: Network, layer: str) -> Pooling:
        """As it is settled for a layer.

        Raises:
            NoSuchLayer: with the nearest names.
            BadOption: no such pooling.
        """
        return Pooling(self.pooling).settle(network.layer(layer).shape)

    def length_of(self, network: Network, layer: str) -> int:
        """D, how many features an image has."""
        return Pooling(self.pooling).length(network.layer(layer).shape)


@dataclass(frozen=True, eq=False)
class Features:
    """One layer's features of a set of images.

    Attributes:
        layer: its name.
        pooling: as settled for this layer.
        values: float32 or float16 (N, D), a row per image of the set, in its order; zeros for
            those that could not be read.
        skipped: the images that could not be read.
    """

    layer: str
    pooling: str
    values: Rows
    skipped: tuple[Skipped, ...] = ()

    def rows(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, D), the features of some images, in that order."""
        return np.asarray(self.values[np.asarray(indices, dtype=np.int64)], dtype=np.float32)


@dataclass(eq=False)
class _Part:
    """What one process saw: the rows of some images by layer, and the images without any."""

    indices: list[NDArray[np.int64]] = field(default_factory=list)
    rows: dict[str, list[Rows]] = field(default_factory=dict)
    unread: Unread = field(default_factory=dict)


class FeatureWriter(Observer):
    """Writes each image's features into a table per layer.

    Args:
        network: on the device that is used.
        images: the set.
        layers: whose features.
        how: they are made.
        tables: layer -> (N, D), a row per image of the set, to be written into; None where this
            is not the first process: what it sees waits for the first one to take it.

    Attributes:
        unread: the images that could not be read; whole in the first process.

    Raises:
        NoSuchLayer, BadOption: as `FeatureSettings.pooling_of`.
    """

    def __init__(
        self,
        network: Network,
        images: ImageSet,
        layers: Sequence[str],
        how: FeatureSettings,
        tables: Mapping[str, Rows] | None,
    ) -> None:
        self.images, self.tables = images, tables
        self.half, self.mirrored = how.half, how.flips
        self.poolings = {name: how.pooling_of(network, name) for name in layers}
        length = sum(how.length_of(network, name) for name in layers)
        self.image_bytes = length * how.dtype.itemsize
        self.unread: Unread = {}
        self._sums: dict[str, Tensor] = {}  # of the batch that is looked at
        self._part = _Part()

    @property
    def layers(self) -> Sequence[str]:
        return tuple(self.poolings)

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        rows = self.poolings[layer](value).float()
        if self.mirrored:
            rows = rows / 2
        self._sums[layer] = self._sums[layer] + rows if layer in self._sums else rows

    def end(self, batch: Batch, number: int) -> None:
        part = _Part(unread={each.index: (each.reason, each.digest) for each in batch.skipped})
        if len(batch):
            part.indices.append(batch.indices.numpy())
            part.rows = {name: [self._kept(name, batch)] for name in self.poolings}
        self._sums = {}
        if self.tables is None:
            _add(self._part, part)
        else:  # at once: the tables may lie on the disk, where they need no memory
            self.take([part])

    def part(self) -> _Part:
        found, self._part = self._part, _Part()
        return found

    def take(self, parts: Sequence[_Part]) -> None:
        assert self.tables is not None
        for part in parts:
            self.unread |= part.unread
            for name, found in part.rows.items():
                for indices, rows in zip(part.indices, found, strict=True):
                    self.tables[name][indices] = rows

    def state(self) -> dict[str, Tensor]:
        assert self.tables is not None
        words = json.dumps(self.unread).encode()
        tables = {f"{i}": torch.from_numpy(each) for i, each in enumerate(self.tables.values())}
        return {"unread": torch.tensor(list(words), dtype=torch.uint8), **tables}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        assert self.tables is not None
        words = json.loads(bytes(state["unread"].tolist()))
        self.unread = {int(index): tuple(why) for index, why in words.items()}
        for i, table in enumerate(self.tables.values()):
            table[:] = state[f"{i}"].numpy()

    def _kept(self, layer: str, batch: Batch) -> Rows:
        """A layer's rows of the batch, as they are stored.

        Raises:
            NonFinite: one is NaN or infinite, or too large for float16.
        """
        rows = self._sums[layer].half() if self.half else self._sums[layer]
        finite = rows.isfinite().all(1)
        if not bool(finite.all()):
            index = int(batch.indices[int((~finite).nonzero()[0])])
            remedy = (
                "; keep its features in float32" if self.half else ": its weights have diverged"
            )
            name = self.images.name(index)
            raise NonFinite(f"layer {layer} is NaN or infinite for {name}{remedy}")
        return rows.cpu().numpy()


def _add(whole: _Part, more: _Part) -> None:
    whole.indices += more.indices
    whole.unread |= more.unread
    for name, rows in more.rows.items():
        whole.rows.setdefault(name, []).extend(rows)
