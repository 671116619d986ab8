"""Features kept on disk: read off the images once, and mapped by every study after that.

A cache is a folder; each layer's features are a folder in it, named by what they depend on:

    KEY/about.json      what they are of: weights, layer, pooling, preprocessing, images
    KEY/features.npy    (N, features), a row per image of the set, memory-mapped
    KEY/state.json      how many images are done, and which of them could not be read

The rows reach the disk before state.json counts them, so that a pass that was killed goes on where
it was. Whoever opens a cache maps it: of ImageNet's 1.3 million images only the rows in use are in
memory. Of several processes the first one writes; the others map its files, or, on a machine that
does not see them, are sent a copy.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.errors import BadData
from convscope.images.batches import Skipped
from convscope.images.image_set import ImageSet
from convscope.network.exported import Network
from convscope.network.ranks import Ranks
from convscope.network.zoo import Model
from convscope.scan.engine import Scan, Seen
from convscope.scan.features import Features, FeatureSettings, FeatureWriter, Unread
from convscope.scan.observer import Observer
from convscope.store.atomic import replace_file
from convscope.store.fingerprint import text_fingerprint

__all__ = ["FeatureCache", "FeatureTable", "extract", "identity_of"]

ABOUT, STATE, VALUES = "about.json", "state.json", "features.npy"
FORMAT = "convscope-features/1"
PIECE_BYTES = 2**26  # of features that are sent at once


@dataclass(eq=False)
class FeatureTable:
    """One layer's features, and how far they are.

    Attributes:
        folder: on the disk; None is in memory.
        values: (N, D).
        next: how many of the images are done.
        unread: those of them that could not be read.
    """

    folder: Path | None
    values: NDArray[Any]
    next: int = 0
    unread: Unread = field(default_factory=dict)

    @classmethod
    def opened(
        cls, cache: str | os.PathLike[str] | None, about: Mapping[str, Any], shape: tuple[int, int]
    ) -> FeatureTable:
        """What is there already, or an empty one.

        Args:
            cache: the folder of all tables; None makes one in memory.
            about: all that the features depend on, JSON-able.
            shape: (N, D).
        """
        dtype = np.dtype(about["dtype"])
        if cache is None:
            return cls(None, np.zeros(shape, dtype))
        words = json.dumps(about, sort_keys=True)
        folder = Path(cache) / text_fingerprint(words)[:24]
        if found := cls.found(folder, shape, dtype, "r+"):
            return found
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STATE).unlink(missing_ok=True)
        path = folder / VALUES
        values = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        replace_file(folder / ABOUT, json.dumps(about, indent=1, sort_keys=True).encode())
        return cls(folder, values)

    @classmethod
    def found(
        cls, folder: Path, shape: tuple[int, int], dtype: np.dtype[Any], mode: Any
    ) -> FeatureTable | None:
        """What is in a table's folder, mapped; None where there is nothing, or it is damaged."""
        try:
            state = json.loads((folder / STATE).read_text(encoding="utf-8"))
            values = np.lib.format.open_memmap(folder / VALUES, mode=mode)
            unread = {
                int(index): (why, digest) for index, (why, digest) in state["skipped"].items()
            }
            done = int(state["next"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if values.shape != shape or values.dtype != dtype:
            return None
        return cls(folder, values, done, unread)

    def commit(self, done: int, unread: Unread) -> None:
        """Count the images before `done`, after their rows are on the disk."""
        self.next, self.unread = max(self.next, done), self.unread | unread
        if self.folder is None:
            return
        assert isinstance(self.values, np.memmap)
        self.values.flush()
        state = {"next": self.next, "skipped": dict(sorted(self.unread.items()))}
        replace_file(self.folder / STATE, json.dumps(state).encode())


@dataclass(frozen=True)
class FeatureCache:
    """The tables that a scan with one `FeatureWriter` fills: `scan.engine.Commits`.

    Attributes:
        tables: layer -> its table. The scan begins where the one that is least far ends.
        images: of the scan.
    """

    tables: Mapping[str, FeatureTable]
    images: ImageSet

    def load(self, observers: Sequence[Observer]) -> Seen | None:
        """The place from which on a table misses rows."""
        (writer,) = observers
        assert isinstance(writer, FeatureWriter)
        start = min(table.next for table in self.tables.values())
        for table in self.tables.values():
            writer.unread |= {i: why for i, why in table.unread.items() if i < start}
        skipped = [(i, self.images.name(i), why) for i, (why, _) in sorted(writer.unread.items())]
        return Seen(next=start, skipped=tuple(skipped))

    def save(self, seen: Seen, observers: Sequence[Observer]) -> None:
        """Count the rows that are there."""
        (writer,) = observers
        assert isinstance(writer, FeatureWriter)
        for table in self.tables.values():
            table.commit(seen.next, writer.unread)


def extract(
    model: Model,
    scan: Scan,
    layers: Sequence[str],
    how: FeatureSettings | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
) -> dict[str, Features]:
    """The features of some layers for every image of a set; one forward pass serves all of them.

    Args:
        model: whose network the scan's is.
        scan: of all images of a set, in their order.
        layers: whose features.
        how: they are made; default as `FeatureSettings` has it.
        cache: a folder, shared by any number of studies; None keeps the features in memory.

    Returns:
        By layer, in every process the same.

    Raises:
        NoSuchLayer, BadOption: as `FeatureSettings.pooling_of`.
        BadData: no image can be read.
        NonFinite: a layer's value is NaN or infinite, or too large for float16.
    """
    how = how or FeatureSettings()
    network, images, ranks = scan.network, scan.images, scan.ranks
    pooled = {name: how.pooling_of(network, name).name for name in layers}
    shapes = {name: (len(images), how.length_of(network, name)) for name in pooled}
    tables: dict[str, FeatureTable] = {}
    if ranks.first:
        identity = images.identity() if cache is not None else ""
        for name, shape in shapes.items():
            settled = replace(how, pooling=pooled[name])
            about = _about(model, network, identity, name, settled)
            tables[name] = FeatureTable.opened(cache, about, shape)
    missing = ranks.from_first(lambda: [n for n, each in tables.items() if each.next < len(images)])
    if missing:
        open_ = {name: tables[name] for name in missing if ranks.first}
        values = {name: table.values for name, table in open_.items()} if ranks.first else None
        writer = FeatureWriter(network, images, missing, how, values)
        what = f"features of {Path(images.spec).name}"
        replace(scan, what=what).run(writer, commits=FeatureCache(open_, images))
    found = {}
    for name, shape in shapes.items():
        table = _for_all(tables.get(name), shape, how.dtype, ranks, network.device)
        if len(table.unread) == len(images):
            raise _nothing_readable(images, table.unread)
        skipped = (
            Skipped(index, images.name(index), *why) for index, why in sorted(table.unread.items())
        )
        found[name] = Features(name, pooled[name], table.values, tuple(skipped))
    return found


def _nothing_readable(images: ImageSet, unread: Unread) -> BadData:
    index = min(unread)
    return BadData(
        f"{images.spec}: none of its {len(images)} images can be read, "
        f"such as {images.name(index)}: {unread[index][0]}"
    )


def _for_all(
    table: FeatureTable | None,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    ranks: Ranks,
    device: torch.device,
) -> FeatureTable:
    """The first process's finished table, in all of them: mapped, or else a copy in memory."""

    def told() -> tuple[Path | None, int, Unread]:
        assert table is not None
        return table.folder, table.next, table.unread

    folder, done, unread = ranks.from_first(told)
    if table is None and folder is not None:
        table = FeatureTable.found(folder, shape, dtype, "r")
        table = table if table is not None and table.next == done else None
    if ranks.least(int(table is not None), device):
        assert table is not None
        return table
    values = np.empty(shape, dtype) if table is None else table.values
    step = max(1, PIECE_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(values), step):
        piece = np.ascontiguousarray(values[start : start + step])
        sent = torch.from_numpy(piece.view(np.uint8)).to(device)
        ranks.tensors_from_first([sent])
        if table is None:
            values[start : start + step] = sent.cpu().numpy().view(dtype)
    return table or FeatureTable(None, values, done, unread)


def _about(
    model: Model, network: Network, identity: str, layer: str, how: FeatureSettings
) -> dict[str, Any]:
    """Everything that a layer's features depend on, JSON-able: the key of the cache."""
    return {
        "format": FORMAT,
        **identity_of(model, network, layer),
        "layer": layer,
        "pooling": how.pooling,
        "flips": how.flips,
        "dtype": how.dtype.name,
        "images": identity,
    }


def identity_of(model: Model, network: Network, layer: str | None = None) -> dict[str, Any]:
    """What a layer's values depend on besides the images, or every layer's. JSON-able."""
    mean = model.preprocess.per_pixel_mean
    layers = [layer] if layer is not None else [each.name for each in network.layers]
    return {
        "weights_sha256": model.weights_sha256,
        "network": _structure(network, layers),
        "preprocess": model.preprocess.to_dict(),
        "mean_sha256": None if mean is None else hashlib.sha256(mean.tobytes()).hexdigest(),
    }


def _structure(network: Network, layers: Sequence[str]) -> str:
    """SHA-256 over the operations below layers, and themselves: kinds, settings and joints."""
    digest = hashlib.sha256()
    for node in network.below(layers):
        settings = sorted((key, repr(value)) for key, value in node.settings.items())
        inputs = network.layer(node.name).inputs
        digest.update(repr((node.name, node.kind, inputs, node.shape, settings)).encode())
    return digest.hexdigest()
