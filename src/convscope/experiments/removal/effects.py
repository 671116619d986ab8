"""What taking units away does to classes, with intervals and a null: arrays -> arrays.

The null: the labels say nothing of the images. So they are dealt to the images anew, each image's
loss is that of the class it is dealt, and the statistic, the mean rise over a class's images less
that over all others, is found again. A unit that raises a class's score in every image alike, like
a bias, stands out no more with the true labels than with dealt ones, and is not found.

Units have large and small effects, and classes many and few images. So each statistic is measured
in its own standard deviation over the dealings, the true one among them; the largest over all units
and classes of each dealing is what chance reaches somewhere (the max-statistic of Westfall & Young
1993, "Resampling-based multiple testing"). It controls how often anything at all is found by
chance, however the units depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.progress import Progress, silent
from convscope.stats import t_quantile

__all__ = ["ClassMeans", "Null", "class_means", "permutation_test"]

Numbers = NDArray[np.float64]

EQUAL = 1e-9
"""Standardised statistics that differ by less are equal: the same sum, added in another order."""
CONSTANT = 1e-12
"""A statistic that varies by less than this share of the largest one does not vary."""


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """The means over the images of each class, with 95 % t-intervals over these images.

    Shape:
        mean, low, high: (U, C). low and high are NaN for a class of one image.
    """

    mean: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True, eq=False)
class Null:
    """How a unit's effect on a class stands out from that on the other classes.

    Attributes:
        contrast: the mean over the class's images less that over all others.
        p: how often chance reaches it, one-sided: 1 + the dealings that do, over 1 + dealings.
        corrected: how often chance reaches it for any unit and class.

    Shape:
        (U, C) each.
    """

    contrast: Numbers
    p: Numbers
    corrected: Numbers


def class_means(values: Numbers, classes: NDArray[np.int64], count: int) -> ClassMeans:
    """Compute the means of each class.

    Args:
        values: Of each image.
        classes: The class of each image, from 0; each has an image at least.
        count: How many classes there are.

    Shape:
        values: (U, N). classes: (N,).
    """
    sizes = np.bincount(classes, minlength=count)
    mean = _sums(values, classes, count) / sizes
    squares = _sums((values - mean[:, classes]) ** 2, classes, count)
    quantile = np.array([t_quantile(n - 1) if n > 1 else np.nan for n in sizes.tolist()])
    with np.errstate(invalid="ignore", divide="ignore"):
        half = quantile * np.sqrt(squares / (sizes - 1) / sizes)
    return ClassMeans(mean, mean - half, mean + half)


def permutation_test(
    rises: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    *,
    draws: int,
    seed: int,
    progress: Progress | None = None,
) -> Null:
    """Test whether the loss rises more in a class's images than in the others.

    Args:
        rises: Of the loss of each image, were it of each class, without each unit.
        classes: The class of each image, from 0; each has an image, and two have at least.
        draws: How often the classes are dealt to the images anew.
        seed: Of the dealings.
        progress: Is called with (what, done, total).

    Shape:
        rises: (N, C, U). classes: (N,).
    """
    tell = progress or silent
    found = _contrasts(rises, classes)
    total, squares = found.copy(), found**2
    for number, dealt in enumerate(_dealings(classes, draws, seed), 1):
        contrast = _contrasts(rises, dealt)
        total += contrast
        squares += contrast**2
        tell("dealings", number, 2 * draws)
    mean = total / (1 + draws)
    deviation = np.sqrt(np.maximum(squares / (1 + draws) - mean**2, 0))
    varies = deviation > CONSTANT * np.abs(found).max()
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
    own = (found - mean) * scale
    reached, anywhere = np.ones(own.shape), np.ones(own.shape)
    for number, dealt in enumerate(_dealings(classes, draws, seed), 1):
        other = (_contrasts(rises, dealt) - mean) * scale
        reached += other >= own - EQUAL
        anywhere += other.max() >= own - EQUAL
        tell("dealings", draws + number, 2 * draws)
    return Null(found, reached / (1 + draws), anywhere / (1 + draws))


def _dealings(classes: NDArray[np.int64], draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    dice = np.random.default_rng(seed)
    for _ in range(draws):
        yield dice.permutation(classes)


def _contrasts(rises: NDArray[np.floating[Any]], classes: NDArray[np.int64]) -> Numbers:
    """(U, C), the mean rise over each class's images less that over all others."""
    own = rises[np.arange(len(classes)), classes].T.astype(np.float64)  # (U, N)
    sizes = np.bincount(classes, minlength=rises.shape[1])
    sums = _sums(own, classes, len(sizes))
    others = sums.sum(1, keepdims=True) - sums
    contrasts: Numbers = sums / sizes - others / (len(classes) - sizes)
    return contrasts


def _sums(values: Numbers, classes: NDArray[np.int64], count: int) -> Numbers:
    """(U, C), the sum over each class's images."""
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], np.arange(count))
    sums: Numbers = np.add.reduceat(values[:, order], starts, axis=1)
    return sums
