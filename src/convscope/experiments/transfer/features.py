"""Features: the values of chosen layers for every image of a set, streamed once, kept on disk.

A cache is a folder; each layer's features are a folder in it, named by what they depend on:

    KEY/about.json      what they are of: weights, layer, pooling, preprocessing, images
    KEY/features.npy    (N, features), a row per image of the set, memory-mapped
    KEY/state.json      how many images are done, and which of them could not be read

The rows reach the disk before state.json counts them, so that a pass that was killed goes on where
it was. Whoever opens a cache maps it: of ImageNet's 1.3 million images only the rows in use are in
memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadData, NonFinite
from convscope.experiments.transfer.pooling import Pooling
from convscope.images.batches import Batch, Skipped, batches
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.network.network import Network
from convscope.network.zoo import Model
from convscope.progress import Progress
from convscope.store.atomic import replace_file
from convscope.store.fingerprint import text_fingerprint

__all__ = ["Features", "extract", "identity_of"]

ABOUT, STATE, VALUES = "about.json", "state.json", "features.npy"
FORMAT = "convscope-features/1"
BATCH = 32
COMMIT_SECONDS = 30.0


@dataclass(frozen=True, eq=False)
class Features:
    """One layer's features of a set of images.

    values : float32 or float16 (N, D), a row per image of the set, in its order; zeros for those
        that could not be read, which are named in `skipped`
    pooling : as settled for this layer
    """

    layer: str
    pooling: str
    values: NDArray[Any]
    skipped: tuple[Skipped, ...] = ()

    def rows(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, D), the features of some images, in that order."""
        return np.asarray(self.values[np.asarray(indices, dtype=np.int64)], dtype=np.float32)


def extract(
    model: Model,
    network: Network,
    images: ImageSet,
    layers: Sequence[str],
    *,
    pooling: str = "auto",
    flips: bool = False,
    half: bool = False,
    cache: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Features]:
    """The features of some layers for every image, by layer; one forward pass serves all of them.

    network : `model`'s, on the device that is to be used
    pooling : pooling.py has the names; flips : the mean over each image and its mirror image
    half : kept in float16, half the space; rounded to 3 digits
    cache : a folder, shared by any number of studies; None keeps the features in memory

    Raises  NoSuchLayer;  BadOption: no such pooling;  BadData: no image can be read.
            NonFinite: a layer's value is NaN or infinite, or too large for float16.
    """
    settled = {name: Pooling(pooling).settle(network.layer(name).shape) for name in layers}
    identity = images.identity() if cache is not None else ""
    stores = {
        name: _Store.opened(
            cache,
            _about(model, network, identity, name, settled[name], flips=flips, half=half),
            (len(images), settled[name].length(network.layer(name).shape)),
        )
        for name in settled
    }
    missing = {name: store for name, store in stores.items() if store.next < len(images)}
    if missing:
        start = min(store.next for store in missing.values())
        passing = _Pass(network, model.preprocess, settled, missing, flips)
        passing.run(images, start, batch_size or BATCH, workers, progress)
    found = {name: stores[name].features(name, settled[name], images) for name in settled}
    for features in found.values():
        if len(features.skipped) == len(images):
            first = features.skipped[0]
            raise BadData(
                f"{images.spec}: none of its {len(images)} images can be read, "
                f"such as {first.name}: {first.reason}"
            )
    return found


class _Store:
    """Where one layer's features are put: a folder, or memory."""

    def __init__(self, folder: Path | None, values: NDArray[Any], state: dict[str, Any]) -> None:
        self.folder, self.values = folder, values
        self.next: int = state["next"]
        self.skipped: dict[int, tuple[str, str | None]] = {
            int(index): (reason, digest) for index, (reason, digest) in state["skipped"].items()
        }

    @classmethod
    def opened(
        cls, cache: str | os.PathLike[str] | None, about: dict[str, Any], shape: tuple[int, int]
    ) -> _Store:
        """What is there already, or an empty one."""
        dtype = np.dtype(about["dtype"])
        nothing: dict[str, Any] = {"next": 0, "skipped": {}}
        if cache is None:
            return cls(None, np.zeros(shape, dtype), nothing)
        words = json.dumps(about, sort_keys=True)
        folder = Path(cache) / text_fingerprint(words)[:24]
        path = folder / VALUES
        try:
            state = json.loads((folder / STATE).read_text(encoding="utf-8"))
            values = np.lib.format.open_memmap(path, mode="r+")
            if values.shape == shape and values.dtype == dtype:
                return cls(folder, values, state)
        except (OSError, ValueError, KeyError):
            pass  # not there, or damaged: made anew
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STATE).unlink(missing_ok=True)
        values = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        replace_file(folder / ABOUT, json.dumps(about, indent=1, sort_keys=True).encode())
        return cls(folder, values, nothing)

    def put(self, batch: Batch, rows: Tensor) -> None:
        self.values[batch.indices.numpy()] = rows.cpu().numpy()

    def commit(self, done: int) -> None:
        """Count the images before `done`, after their rows are on the disk."""
        self.next = max(self.next, done)
        if self.folder is None:
            return
        assert isinstance(self.values, np.memmap)
        self.values.flush()
        state = {"next": self.next, "skipped": self.skipped}
        replace_file(self.folder / STATE, json.dumps(state).encode())

    def features(self, layer: str, pooling: Pooling, images: ImageSet) -> Features:
        skipped = tuple(
            Skipped(index, images.name(index), reason, digest)
            for index, (reason, digest) in sorted(self.skipped.items())
        )
        return Features(layer, pooling.name, self.values, skipped)


class _Pass:
    """One pass over the images, for the layers whose features are not all there."""

    def __init__(
        self,
        network: Network,
        preprocess: Preprocess,
        poolings: Mapping[str, Pooling],
        stores: Mapping[str, _Store],
        flips: bool,
    ) -> None:
        self.network, self.preprocess, self.flips = network, preprocess, flips
        self.poolings, self.stores = poolings, stores

    def run(
        self,
        images: ImageSet,
        start: int,
        batch_size: int,
        workers: int | None,
        progress: Progress | None,
    ) -> None:
        what, total, done = f"features of {Path(images.spec).name}", len(images), start
        saved = time.monotonic()
        for batch in batches(
            images,
            self.preprocess,
            batch_size=batch_size,
            workers=workers,
            indices=range(start, total),
        ):
            done += len(batch) + len(batch.skipped)
            self._take(images, batch)
            if done == total or time.monotonic() - saved >= COMMIT_SECONDS:
                for store in self.stores.values():
                    store.commit(done)
                saved = time.monotonic()
            if progress:
                progress(what, done, total)

    @torch.no_grad()
    def _take(self, images: ImageSet, batch: Batch) -> None:
        for store in self.stores.values():
            for image in batch.skipped:
                store.skipped[image.index] = (image.reason, image.digest)
        if not len(batch):
            return
        tensors = batch.tensors.to(self.network.device)
        views = [tensors, tensors.flip(3)] if self.flips else [tensors]
        sums: dict[str, Tensor] = {}
        for view in views:
            view = view.contiguous(memory_format=torch.channels_last)
            for name, value in self.network.stream(view, self.stores):
                pooled = self.poolings[name](value).float() / len(views)
                sums[name] = sums[name] + pooled if name in sums else pooled
        for name, rows in sums.items():
            kept = rows.half() if self.stores[name].values.dtype == np.float16 else rows
            self._check(images, batch, name, kept)
            self.stores[name].put(batch, kept)

    def _check(self, images: ImageSet, batch: Batch, name: str, rows: Tensor) -> None:
        finite = rows.isfinite().all(1)
        if bool(finite.all()):
            return
        index = int(batch.indices[int((~finite).nonzero()[0])])
        too_large = rows.dtype == torch.float16
        remedy = "; keep its features in float32" if too_large else ": its weights have diverged"
        raise NonFinite(f"layer {name} is NaN or infinite for {images.name(index)}{remedy}")


def _about(
    model: Model,
    network: Network,
    identity: str,
    layer: str,
    pooling: Pooling,
    *,
    flips: bool,
    half: bool,
) -> dict[str, Any]:
    """Everything that a layer's features depend on, JSON-able: the key of the cache."""
    return {
        "format": FORMAT,
        **identity_of(model, network, layer),
        "layer": layer,
        "pooling": pooling.name,
        "flips": flips,
        "dtype": "float16" if half else "float32",
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
