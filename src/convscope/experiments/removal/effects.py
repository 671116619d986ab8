"""What taking units away does to classes, with intervals and a null: arrays -> arrays.

The null: labels say nothing of a unit. So they are dealt to the images anew, and the statistic, the
mean rise over a class's images less that over all others, is found again. It is measured in its own
standard deviation over all ways of dealing, which is known, so that units of large and small
effects and classes of many and few images can be compared; the largest one over all units and
classes of each dealing is what chance reaches somewhere (the max-statistic of Westfall & Young
1993, "Resampling-based multiple testing"). It controls how often anything at all is found by
chance, however the units depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.stats import t_quantile

__all__ = ["Means", "Null", "class_means", "permutation_test"]

Numbers = NDArray[np.float64]

EQUAL = 1e-9
"""Standardised statistics that differ by less are equal: the same sum, added in another order."""


@dataclass(frozen=True, eq=False)
class Means:
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


def class_means(values: Numbers, classes: NDArray[np.int64], count: int) -> Means:
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
    return Means(mean, mean - half, mean + half)


def permutation_test(
    values: Numbers, classes: NDArray[np.int64], count: int, *, draws: int, seed: int
) -> Null:
    """Test whether values are larger in a class's images than in the others.

    Args:
        values: Of each image.
        classes: The class of each image, from 0; at least two have images.
        count: How many classes there are.
        draws: How often the classes are dealt to the images anew.
        seed: Of the dealings.

    Shape:
        values: (U, N). classes: (N,).
    """
    images = values.shape[1]
    sizes = np.bincount(classes, minlength=count)
    centred = values - values.mean(1, keepdims=True)
    others = images - sizes
    # sum over the class / its size, less the rest's: the sums of centred values add up to 0
    per_sum = 1 / sizes + 1 / others
    deviation = centred.std(1, ddof=1)[:, None] * np.sqrt(per_sum)
    scale = np.divide(per_sum, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    sums = _sums(centred, classes, count)
    found = sums * scale
    reached, anywhere = np.ones(found.shape), np.ones(found.shape)
    dice = np.random.default_rng(seed)
    for _ in range(draws):
        dealt = _sums(centred, dice.permutation(classes), count) * scale
        reached += dealt >= found - EQUAL
        anywhere += dealt.max() >= found - EQUAL
    return Null(sums * per_sum, reached / (1 + draws), anywhere / (1 + draws))


def _sums(values: Numbers, classes: NDArray[np.int64], count: int) -> Numbers:
    """(U, C), the sum over each class's images."""
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], np.arange(count))
    sums: Numbers = np.add.reduceat(values[:, order], starts, axis=1)
    return sums
