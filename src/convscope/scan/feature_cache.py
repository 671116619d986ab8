"""Features kept on disk: computed once, and memory-mapped by every study after that.

A cache is a folder; each layer's features are a folder in it, named by what they depend on:

    KEY/about.json      what they depend on: weights, layer, pooling, preprocessing, images
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
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import BadData
from convscope.images.batches import Skipped
from convscope.images.image_set import ImageSet
from convscope.models.zoo import Model
from convscope.network.network import Network
from convscope.scan.engine import Scan, ScanState
from convscope.scan.features import (
    Features,
    FeatureSettings,
    FeatureWriter,
    Rows,
    Unread,
    shared_rows,
)
from convscope.scan.observer import Observer
from convscope.store.atomic import remove_leftovers, replace_file
from convscope.store.fingerprint import text_fingerprint
from convscope.store.lock import LOCK, held

__all__ = ["FeatureCache", "FeatureTable", "extract", "identity_of"]

ABOUT, STATE, VALUES = "about.json", "state.json", "features.npy"
FORMAT = "convscope-features/1"
BUSY = (
    "another study is reading features of {layer} into {cache}: wait for it, or give another folder"
)


@dataclass(eq=False)
class FeatureTable:
    """The table of one layer's features, which may not be whole yet.

    Attributes:
        folder: on the disk; None where the table is in memory.
        values: (N, D), a row per image.
        next: how many of the images are done.
        unread: those of them that could not be read.
    """

    folder: Path | None
    values: Rows
    next: int = 0
    unread: Unread = field(default_factory=dict)

    @classmethod
    def opened(
        cls,
        cache: str | os.PathLike[str] | None,
        about: Mapping[str, Any],
        shape: tuple[int, int],
        locks: ExitStack,
    ) -> FeatureTable:
        """Open the table that is there already, or make an empty one.

        Args:
            cache: the folder of all tables; None makes one in memory.
            about: all that the features depend on, JSON-able.
            shape: (N, D).
            locks: on which the table's lock is put, where the table is not whole.

        Raises:
            FolderInUse: another study is writing it.
        """
        dtype = np.dtype(about["dtype"])
        if cache is None:
            return cls(None, np.zeros(shape, dtype))
        words = json.dumps(about, sort_keys=True)
        folder = Path(cache) / text_fingerprint(words)[:24]
        whole = cls.found(folder, shape, dtype, "r")
        if whole is not None and whole.next >= shape[0]:
            return whole
        folder.mkdir(parents=True, exist_ok=True)
        locks.enter_context(held(folder / LOCK, BUSY.format(layer=about["layer"], cache=cache)))
        remove_leftovers(folder)
        if begun := cls.found(folder, shape, dtype, "r+"):
            return begun
        (folder / STATE).unlink(missing_ok=True)
        path = folder / VALUES
        values = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        replace_file(folder / ABOUT, json.dumps(about, indent=1, sort_keys=True).encode())
        return cls(folder, values)

    @classmethod
    def found(
        cls, folder: Path, shape: tuple[int, int], dtype: np.dtype[Any], mode: Any
    ) -> FeatureTable | None:
        """Map the table in a folder.

        Args:
            folder: of the table.
            shape: (N, D), as it should be.
            dtype: as it should be.
            mode: "r" to read, "r+" to write, too.

        Returns:
            The table; None where there is none, or it is damaged or of another form.
        """
        try:
            state = json.loads((folder / STATE).read_text(encoding="utf-8"))
            values = np.lib.format.open_memmap(folder / VALUES, mode=mode)
            unread = {
                int(index): (why, digest) for index, (why, digest) in state["skipped"].items()
            }
            done = int(state["next"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if values.shape != shape or values.dtype != dtype:
            return None
        return cls(folder, values, done, unread)

    def commit(self, done: int, unread: Unread) -> None:
        """Record that the images before `done` are done, once their rows are on the disk.

        Args:
            done: how many.
            unread: those of them that could not be read.
        """
        self.next, self.unread = max(self.next, done), self.unread | unread
        if self.folder is None:
            return
        assert isinstance(self.values, np.memmap)
        self.values.flush()
        state = {"next": self.next, "skipped": dict(sorted(self.unread.items()))}
        replace_file(self.folder / STATE, json.dumps(state).encode())


@dataclass(frozen=True)
class FeatureCache:
    """The checkpoint of a scan with one `FeatureWriter` (see `scan.engine.Commits`).

    Attributes:
        tables: layer -> its table. The scan begins with the first image that one of them lacks.
        images: of the scan.
    """

    tables: Mapping[str, FeatureTable]
    images: ImageSet

    def load(self, observers: Sequence[Observer]) -> ScanState | None:
        """The place from which on a table lacks rows."""
        (writer,) = observers
        assert isinstance(writer, FeatureWriter)
        start = min(table.next for table in self.tables.values())
        for table in self.tables.values():
            writer.unread |= {i: why for i, why in table.unread.items() if i < start}
        skipped = [(i, self.images.name(i), why) for i, (why, _) in sorted(writer.unread.items())]
        return ScanState(next=start, skipped=tuple(skipped))

    def save(self, seen: ScanState, observers: Sequence[Observer]) -> None:
        """Record in all tables how many rows are there."""
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
    """Compute the features of some layers for every image of a set, in one forward pass.

    Args:
        model: whose network the scan's is.
        scan: of all images of a set, in their order.
        layers: names of the layers.
        how: from a layer's value to features; by default as `FeatureSettings` has it.
        cache: a folder, shared by any number of studies; None keeps the features in memory.

    Returns:
        The features by layer, the same in every process.

    Raises:
        NoSuchLayer: with the nearest names.
        BadOption: no such pooling.
        BadData: no image can be read.
        FolderInUse: another study is reading the same features into the cache.
        NonFinite: a layer's value is NaN or infinite, or too large for float16.

    Example:
        >>> features = extract(model, Scan(network, images, model.preprocess), ["pool5"])
        >>> features["pool5"].values.shape
    """
    how = how or FeatureSettings()
    images, ranks = scan.images, scan.ranks
    pooled = {name: how.pooling_of(scan.network, name).name for name in layers}
    with ExitStack() as locks:
        tables = _opened(model, scan, pooled, how, cache, locks) if ranks.first else {}
        rows = _read_missing(scan, tables, how)
    unread = ranks.from_first(lambda: {name: table.unread for name, table in tables.items()})
    features = {}
    for name in pooled:
        if len(unread[name]) == len(images):
            raise _nothing_readable(images, unread[name])
        if name not in rows:
            own = tables[name].values if ranks.first else None
            rows[name] = shared_rows(own, ranks, scan.network.device)
        skipped = (Skipped(i, images.name(i), *why) for i, why in sorted(unread[name].items()))
        features[name] = Features(name, pooled[name], rows[name], tuple(skipped))
    return features


def _opened(
    model: Model,
    scan: Scan,
    pooled: Mapping[str, str],
    how: FeatureSettings,
    cache: str | os.PathLike[str] | None,
    locks: ExitStack,
) -> dict[str, FeatureTable]:
    """A table for each layer, with the rows that are there already.

    Args:
        model: whose features they are.
        scan: of the images.
        pooled: layer -> the name of its pooling.
        how: from a layer's value to features.
        cache: the folder; None keeps the tables in memory.
        locks: on which the locks of unfinished tables are put.
    """
    network, images = scan.network, scan.images
    identity = images.identity() if cache is not None else ""
    tables = {}
    for name, pooling in pooled.items():
        about = _about(model, network, identity, name, replace(how, pooling=pooling))
        shape = (len(images), how.length_of(network, name))
        tables[name] = FeatureTable.opened(cache, about, shape, locks)
    return tables


def _read_missing(
    scan: Scan, tables: Mapping[str, FeatureTable], how: FeatureSettings
) -> dict[str, Rows]:
    """Fill the tables that are not whole, in one pass, and give their rows to every process."""
    images, ranks = scan.images, scan.ranks
    missing = ranks.from_first(
        lambda: [name for name, table in tables.items() if table.next < len(images)]
    )
    if not missing:
        return {}
    waiting = {name: tables[name] for name in missing} if ranks.first else {}
    values = {name: table.values for name, table in waiting.items()} if ranks.first else None
    writer = FeatureWriter(scan.network, images, missing, how, values)
    what = f"features of {Path(images.spec).name}"
    replace(scan, what=what).run(writer, commits=FeatureCache(waiting, images))
    return dict(writer.tables or {})


def _nothing_readable(images: ImageSet, unread: Unread) -> BadData:
    index = min(unread)
    return BadData(
        f"{images.spec}: none of its {len(images)} images can be read, "
        f"such as {images.name(index)}: {unread[index][0]}"
    )


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
    """What the values of a layer depend on besides the images, JSON-able.

    Args:
        model: how images are preprocessed, and the weights.
        network: the same model's.
        layer: name of the layer; None is all of them.
    """
    mean = model.preprocess.per_pixel_mean
    layers = [layer] if layer is not None else [node.name for node in network.layers]
    return {
        "weights_sha256": model.weights_sha256,
        "network": _structure(network, layers),
        "preprocess": model.preprocess.to_dict(),
        "mean_sha256": None if mean is None else hashlib.sha256(mean.tobytes()).hexdigest(),
    }


def _structure(network: Network, layers: Sequence[str]) -> str:
    """SHA-256 of the operations of layers and below them: kinds, settings and connections."""
    digest = hashlib.sha256()
    for node in network.below(layers):
        settings = sorted((key, repr(value)) for key, value in node.settings.items())
        inputs = network.layer(node.name).inputs
        digest.update(repr((node.name, node.kind, inputs, node.shape, settings)).encode())
    return digest.hexdigest()
