"""The features of a set of images, with the images' names and labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.display import Brief
from convscope.errors import BadOption
from convscope.images.batches import Skipped
from convscope.images.image_set import ImageSet
from convscope.models.zoo import Model
from convscope.network.feature_layers import last_hidden_layer
from convscope.network.network import Network
from convscope.scan.engine import Scan
from convscope.scan.feature_cache import extract
from convscope.scan.features import Features, FeatureSettings

__all__ = ["RESERVED", "FeatureSet", "layers_of_features", "read_features"]

PIECE = 2**24  # bytes of rows that are in memory at once
RESERVED = ("about", "class", "classes", "label", "labels", "name", "names", "targets")
"""What a file calls its other columns, so that no layer may be called so."""


@dataclass(frozen=True, eq=False)
class FeatureSet(Brief):
    """Features of all images that could be read, in their order.

    Attributes:
        images: the set.
        features: by layer, a row for each image of the set, read or not.
        shapes: of each layer's value, without the batch.

    Example:
        >>> found = convscope.features("zfnet-small", "scenes:val:8", ["conv5"], pooling="mean")
        >>> found["conv5"].shape, found.names[0], found.labels[0]
    """

    images: ImageSet
    features: Mapping[str, Features]
    shapes: Mapping[str, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, layer: str) -> NDArray[np.float32]:
        """One layer's features, (images, features), as float32 in memory."""
        return self.features[layer].rows(self.indices)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The images that could not be read; they have no row."""
        return next(iter(self.features.values())).skipped

    @cached_property
    def indices(self) -> NDArray[np.int64]:
        """The images that have a row, by their index in the set."""
        read = np.ones(len(self.images), bool)
        read[[skip.index for skip in self.skipped]] = False
        return np.flatnonzero(read)

    @property
    def names(self) -> list[str]:
        """Of the images, in the order of the rows."""
        return [self.images.name(index) for index in self.indices.tolist()]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names that labels count through; None where there are none."""
        return self.images.classes

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each image, -1 for none; of images of several classes 1, 0 and -1 of each.

        Shape:
            (images,), or (images, classes) where an image may show several.
        """
        if self.images.multi_label:
            return np.array([self.images.targets(i) for i in self.indices.tolist()], np.int64)
        labels = (self.images.label(index) for index in self.indices.tolist())
        return np.array([-1 if label is None else label for label in labels], np.int64)

    def pieces(self, layer: str) -> Iterator[NDArray[Any]]:
        """A layer's features some rows at a time, as they are stored: float32 or float16."""
        values = self.features[layer].values
        step = max(1, PIECE // max(1, values.itemsize * values.shape[1]))
        for start in range(0, len(self), step):
            yield np.ascontiguousarray(values[self.indices[start : start + step]])

    def to_dict(self) -> dict[str, Any]:
        """What there is, JSON-able; not the numbers themselves."""
        layers = [
            {
                "layer": name,
                "shape": list(self.shapes[name]),
                "pooling": each.pooling,
                "features": each.values.shape[1],
                "dtype": each.values.dtype.name,
            }
            for name, each in self.features.items()
        ]
        skipped = [{"name": skip.name, "reason": skip.reason} for skip in self.skipped]
        return {"images": len(self), "layers": layers, "skipped": skipped}

    def words(self) -> list[str]:
        """What there is, for a person, a line for each layer."""
        return [
            f"{name}: {each.values.shape[1]:,} features ({each.pooling}) of {len(self):,} images"
            for name, each in self.features.items()
        ]


def layers_of_features(network: Network, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The layers whose features are read.

    Args:
        network: that has them.
        asked: their names; None is the last hidden one, the classifier's own features.

    Raises:
        NoSuchLayer: with the nearest names.
        BadOption: a layer is called what a file calls its other columns.
    """
    if asked is None:
        return (last_hidden_layer(network),)
    names = tuple(dict.fromkeys(network.feature_layer(name).name for name in asked))
    for name in names:
        if name in RESERVED:
            raise BadOption(
                f"layer {name!r} is called what a file of features calls a column of its own: "
                "give another layer, or rename it in the network"
            )
    return names


def read_features(
    model: Model,
    scan: Scan,
    layers: Sequence[str],
    how: FeatureSettings | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
) -> FeatureSet:
    """Read the features of some layers for every image, in one pass.

    Args:
        model: whose network the scan's is.
        scan: of all images of a set, in their order.
        layers: names of the layers.
        how: from a layer's value to features; by default as `FeatureSettings` has it.
        cache: a folder that keeps the rows; None keeps them in memory.

    Raises:
        NoSuchLayer, BadOption, BadData, FolderInUse, NonFinite: as `scan.feature_cache.extract`.

    Source:
        Donahue et al. 2014, "DeCAF: a deep convolutional activation feature for generic visual
        recognition".
    """
    found = extract(model, scan, layers, how, cache=cache)
    shapes = {name: tuple(scan.network.layer(name).shape) for name in layers}
    return FeatureSet(scan.images, found, shapes)
