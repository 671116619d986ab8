"""A map of images: near each other where a layer's features are alike (t-SNE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData, BadOption
from convscope.experiments.features.feature_set import FeatureSet
from convscope.images.subsets import evenly

__all__ = ["LEAST", "MOST", "ImageMap", "check_sklearn_installed", "image_map", "places_of"]

INSTALL = "pip install 'convscope[map]'"
MOST = 2000  # images that are placed, evenly chosen: a page shows no more
LEAST = 8  # images that a map needs
PERPLEXITY = 30.0  # neighbours that count, at most a quarter of the images
COMPONENTS = 50  # of the features' principal components that distances are taken in


@dataclass(frozen=True, eq=False)
class ImageMap:
    """Where each image lies.

    Attributes:
        layer: whose features were taken.
        indices: of the images in their set.
        places: of the images; no unit, and no axis means anything by itself.
        labels: the class of each image, -1 for none or several.
        classes: the names that labels count through.
        perplexity: about how many neighbours of an image counted.

    Shape:
        indices, labels: (n,). places: (n, 2).
    """

    layer: str
    indices: NDArray[np.int64]
    places: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    perplexity: float


def check_sklearn_installed() -> None:
    """Refuse a map where scikit-learn is not installed, before the work begins.

    Raises:
        BadOption: with what to install.
    """
    _sklearn()


def image_map(found: FeatureSet, layer: str | None = None, *, seed: int = 0) -> ImageMap:
    """Place images so that those with like features lie near each other.

    Each image's features are divided by their length, so that distances are those of directions,
    and taken in their first 50 principal components; scikit-learn's t-SNE does the rest.

    Args:
        found: the features.
        layer: whose; None is the last one.
        seed: of t-SNE's descent.

    Raises:
        BadOption: scikit-learn is not installed.
        BadData: there are fewer than 8 images, or all have the same features.

    Source:
        van der Maaten & Hinton 2008; DeCAF's figures, Donahue et al. 2014.
    """
    check_sklearn_installed()
    layer = list(found.features)[-1] if layer is None else layer
    if len(found) < LEAST:
        raise BadData(f"{len(found)} images of {found.images.spec}: a map needs {LEAST} at least")
    rows = np.array(evenly(len(found), MOST))
    places, perplexity = places_of(found.features[layer].rows(found.indices[rows]), seed)
    if places is None:
        raise BadData(f"all images have the same features of {layer}: there is no map of them")
    labels = found.labels[rows]
    return ImageMap(
        layer, found.indices[rows], places, labels if labels.ndim == 1 else np.full(len(rows), -1),
        found.classes or (), perplexity,
    )  # fmt: skip


def places_of(values: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float64] | None, float]:
    """Place features in the plane by t-SNE; None where all are the same. Also the perplexity.

    Args:
        values: a row for each image.
        seed: of t-SNE's descent.

    Raises:
        BadOption: scikit-learn is not installed.

    Shape:
        values: (N, D). The places: (N, 2).
    """
    decomposition, manifold = _sklearn()
    perplexity = min(PERPLEXITY, len(values) / 4)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    values = values / np.maximum(lengths, np.finfo(np.float32).tiny)
    if not np.ptp(values, axis=0).any():
        return None, perplexity
    components = min(COMPONENTS, *values.shape)
    reduced = decomposition.PCA(components, random_state=seed).fit_transform(values)
    places = manifold.TSNE(
        perplexity=perplexity, init="pca" if components > 1 else "random", random_state=seed
    ).fit_transform(reduced)
    return places.astype(np.float64), perplexity


def _sklearn() -> tuple[Any, Any]:
    """scikit-learn's modules decomposition and manifold."""
    try:
        from sklearn import decomposition, manifold
    except ImportError:
        raise BadOption(f"a map needs the package scikit-learn: {INSTALL}") from None
    return decomposition, manifold
