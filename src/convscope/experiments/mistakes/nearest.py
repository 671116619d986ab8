"""The images nearest to each image, by the cosine of their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.progress import Progress, silent

__all__ = ["Neighbours", "nearest"]

BLOCK = 2**27  # bytes of cosines that are in memory at once


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest other images of each image, nearest first.

    Shape:
        rows, cosines: (n, k).
    """

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]

    def agreement(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """The share of each image's neighbours that have its label."""
        return np.asarray((labels[self.rows] == labels[:, None]).mean(1))

    def mutual(self) -> list[tuple[int, int, float]]:
        """Pairs of images that are each other's nearest, with their cosine."""
        first = self.rows[:, 0]
        own = np.arange(len(first))
        pairs = np.flatnonzero((first[first] == own) & (own < first))
        return [(int(i), int(first[i]), float(self.cosines[i, 0])) for i in pairs]


def nearest(
    values: NDArray[np.float32], count: int, *, progress: Progress | None = None
) -> Neighbours:
    """Find the images nearest to each.

    Args:
        values: features.
        count: how many neighbours; fewer where there are not so many images.
        progress: called with (what, done, total).

    Shape:
        values: (n, D).
    """
    tell, n = progress or silent, len(values)
    count = min(count, n - 1)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit = (values / np.where(norms > 0, norms, 1)).astype(np.float32)
    rows, cosines = np.empty((n, count), np.int64), np.empty((n, count), np.float32)
    step = max(1, BLOCK // (4 * n))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        alike = unit[part] @ unit.T
        alike[np.arange(len(alike)), np.arange(part.start, part.stop)] = -np.inf
        best = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        own = np.take_along_axis(alike, best, 1)
        order = np.lexsort((best, -own), axis=1)
        rows[part] = np.take_along_axis(best, order, 1)
        cosines[part] = np.take_along_axis(own, order, 1)
        tell("nearest images", part.stop, n)
    return Neighbours(rows, cosines)
