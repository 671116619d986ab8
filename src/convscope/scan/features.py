"""The observer behind transfer and probes: it writes a row of features per image and layer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.distributed import Ranks
from convscope.errors import NonFinite
from convscope.images.batches import Batch, Skipped
from convscope.images.image_set import ImageSet
from convscope.network.network import Network
from convscope.scan.observer import Observer
from convscope.scan.pooling import Pooling
from convscope.text import some_maps

__all__ = ["FeatureSettings", "FeatureWriter", "Features", "Rows", "Unread", "shared_rows"]

PIECE_BYTES = 2**26  # of rows that are sent at once

Rows = NDArray[Any]
"""(N, D), float32 or float16."""
Unread = dict[int, tuple[str, str | None]]
"""Index of an image that could not be read -> the reason, and the digest of its bytes if known."""


@dataclass(frozen=True)
class FeatureSettings:
    """How a layer's values become features.

    Attributes:
        pooling: of a layer with a grid; `scan.pooling` has the names.
        flips: take the mean over each image and its mirror image.
        half: store them in float16, which takes half the space and rounds to 3 digits.
    """

    pooling: str = "auto"
    flips: bool = False
    half: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type in which features are stored."""
        return np.dtype(np.float16 if self.half else np.float32)

    def pooling_of(self, network: Network, layer: str) -> Pooling:
        """The pooling that a layer gets.

        Args:
            network: that has the layer.
            layer: its name.

        Raises:
            NoSuchLayer: with the nearest names.
            BadOption: no such pooling.
        """
        return Pooling(self.pooling).settle(network.layer(layer).shape)

    def length_of(self, network: Network, layer: str) -> int:
        """D, how many features an image has at a layer."""
        return Pooling(self.pooling).length(network.layer(layer).shape)


@dataclass(frozen=True, eq=False)
class Features:
    """One layer's features of a set of images.

    Attributes:
        layer: its name.
        pooling: that this layer got.
        values: float32 or float16 (N, D), a row per image of the set, in its order; zeros for
            those that could not be read.
        skipped: the images that could not be read.
    """

    layer: str
    pooling: str
    values: Rows
    skipped: tuple[Skipped, ...] = ()

    def rows(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """The features of some images, float32 (n, D).

        Args:
            indices: of the images; the rows are in this order.
        """
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
        layers: names of the layers.
        how: from a layer's value to features.
        tables: layer -> (N, D), a row per image of the set, to be written into; None in all
            processes but the first, where rows wait until the first one takes them.

    Attributes:
        tables: after a scan, in every process.
        unread: the images that could not be read.

    Raises:
        NoSuchLayer: with the nearest names.
        BadOption: no such pooling.
    """

    key = "features/"

    def __init__(
        self,
        network: Network,
        images: ImageSet,
        layers: Sequence[str],
        how: FeatureSettings,
        tables: Mapping[str, Rows] | None,
    ) -> None:
        self.images, self.tables, self.device = images, tables, network.device
        self.half, self.mirrored = how.half, how.flips
        self.poolings = {name: how.pooling_of(network, name) for name in layers}
        length = sum(how.length_of(network, name) for name in layers)
        self.image_bytes = length * how.dtype.itemsize
        self.unread: Unread = {}
        self._sums: dict[str, Tensor] = {}  # of the batch that is looked at
        self._lost: dict[str, str] = {}  # layer -> its maps that are not finite there
        self._part = _Part()

    @property
    def layers(self) -> Sequence[str]:
        return tuple(self.poolings)

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        rows = self.poolings[layer](value).float()
        if not bool(rows.isfinite().all()):
            lost = ~value.isfinite().transpose(0, 1).flatten(1).all(1)
            self._lost[layer] = f", in {some_maps(lost.nonzero().flatten().tolist(), len(lost))}"
        if self.mirrored:
            rows = rows / 2
        self._sums[layer] = self._sums[layer] + rows if layer in self._sums else rows

    def end(self, batch: Batch, number: int) -> None:
        part = _Part(unread={skip.index: (skip.reason, skip.digest) for skip in batch.skipped})
        if len(batch):
            part.indices.append(batch.indices.numpy())
            part.rows = {name: [self._kept(name, batch)] for name in self.poolings}
        self._sums = {}
        if self.tables is None:
            _add(self._part, part)
        else:  # at once: the tables may lie on the disk, where they need no memory
            self.take([part])

    def part(self) -> _Part:
        part, self._part = self._part, _Part()
        return part

    def take(self, parts: Sequence[_Part]) -> None:
        assert self.tables is not None
        for part in parts:
            self.unread |= part.unread
            for name, rows_of_batches in part.rows.items():
                for indices, rows in zip(part.indices, rows_of_batches, strict=True):
                    self.tables[name][indices] = rows

    def state(self) -> dict[str, Tensor]:
        assert self.tables is not None
        words = json.dumps(self.unread).encode()
        tables = {f"{i}": torch.from_numpy(table) for i, table in enumerate(self.tables.values())}
        return {"unread": torch.tensor(list(words), dtype=torch.uint8), **tables}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        assert self.tables is not None
        words = json.loads(bytes(state["unread"].tolist()))
        self.unread = {int(index): tuple(why) for index, why in words.items()}
        for i, table in enumerate(self.tables.values()):
            table[:] = state[f"{i}"].numpy()

    def share(self, ranks: Ranks) -> None:
        self.unread = ranks.from_first(lambda: self.unread)
        own: Mapping[str, Rows] = self.tables or {}
        self.tables = {n: shared_rows(own.get(n), ranks, self.device) for n in self.layers}

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
            where = self._lost.get(layer, "")
            raise NonFinite(f"layer {layer} is NaN or infinite for {name}{where}{remedy}")
        return rows.cpu().numpy()


def _add(whole: _Part, more: _Part) -> None:
    whole.indices += more.indices
    whole.unread |= more.unread
    for name, rows in more.rows.items():
        whole.rows.setdefault(name, []).extend(rows)


def shared_rows(rows: Rows | None, ranks: Ranks, device: torch.device) -> Rows:
    """Give the first process's rows to all processes.

    Args:
        rows: (N, D) in the first process, None in the others.
        ranks: which process this is.
        device: on which the processes exchange tensors.

    Returns:
        The rows: the first process's file, mapped, or else a copy in memory.
    """

    def description() -> tuple[tuple[int, ...], str, _File | None]:
        assert rows is not None
        return rows.shape, rows.dtype.str, _file_of(rows)

    shape, dtype, file = ranks.from_first(description)
    mapped = rows if rows is not None else _mapped(file, shape, dtype)
    if ranks.least(int(mapped is not None), device):
        assert mapped is not None
        return mapped
    values = np.empty(shape, dtype) if rows is None else rows
    step = max(1, PIECE_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(values), step):
        piece = np.array(values[start : start + step])  # a memory map may be read-only
        sent = torch.from_numpy(piece.view(np.uint8)).to(device)
        ranks.tensors_from_first([sent])
        if rows is None:
            values[start : start + step] = sent.cpu().numpy().view(dtype)
    return values


_File = tuple[str, int, int, int]
"""A file's path, and what tells it from another one of that path on another machine."""


def _file_of(rows: Rows) -> _File | None:
    """The file of rows that are a memory map."""
    path = getattr(rows, "filename", None)
    return None if path is None else _file_at(os.fspath(path))


def _file_at(path: str) -> _File:
    status = Path(path).stat()
    return path, status.st_ino, status.st_size, status.st_mtime_ns


def _mapped(file: _File | None, shape: tuple[int, ...], dtype: str) -> Rows | None:
    """The rows of a file, mapped; None where this machine does not see that file."""
    try:
        if file is None or _file_at(file[0]) != file:
            return None
        values = np.lib.format.open_memmap(file[0], mode="r")
    except (OSError, ValueError):
        return None
    return values if (values.shape, values.dtype.str) == (shape, dtype) else None
