"""How much of a finding chance would give: tests and intervals for few images.

Every random number is drawn from a seed, so a finding is the same each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Estimate", "Rate", "detection", "jackknife", "mean_of", "rank_correlation", "ranks",
    "sign_test",
]  # fmt: skip

RESAMPLES = 4000
Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Estimate:
    """A mean over n values, their standard deviation, and a 95 % interval of the mean."""

    mean: float
    deviation: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, float]:
        """JSON-able."""
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "low": self.low,
            "high": self.high,
            "count": self.count,
        }


@dataclass(frozen=True)
class Rate:
    """How often something happened, and how often chance would have let it happen.

    expected : by chance;   low, high : 95 % interval of the rate (Wilson's)
    p : the probability that chance alone gives as many hits or more
    """

    hits: int
    count: int
    expected: float
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, hits: Sequence[bool], chances: Sequence[float]) -> Rate:
        """From each trial's outcome and its own chance: exact, by convolving the trials."""
        count, found = len(hits), sum(map(bool, hits))
        share, z = found / count, Z * Z / count
        middle, half = share + z / 2, Z * math.sqrt(share * (1 - share) / count + z / 4 / count)
        return cls(
            found,
            count,
            float(sum(chances)) / count,
            max(0.0, (middle - half) / (1 + z)),
            min(1.0, (middle + half) / (1 + z)),
            _at_least(found, chances),
        )

    @property
    def rate(self) -> float:
        """Hits in a trial, 0 to 1."""
        return self.hits / self.count

    def to_dict(self) -> dict[str, float]:
        """JSON-able."""
        return {
            "hits": self.hits,
            "count": self.count,
            "expected_rate": self.expected,
            "low": self.low,
            "high": self.high,
            "p": self.p,
        }


def _at_least(hits: int, chances: Sequence[float]) -> float:
    """P(number of successes >= hits), each trial with its own chance (Poisson binomial)."""
    number = np.array([1.0])
    for chance in chances:
        number = np.append(number, 0.0) * (1 - chance) + np.insert(number, 0, 0.0) * chance
    return float(min(1.0, number[hits:].sum()))


def mean_of(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean over images with a bootstrap interval over them (percentiles of 4000 resamples)."""
    numbers = np.asarray(values, dtype=np.float64)
    rows = np.random.default_rng(seed).integers(0, len(numbers), (RESAMPLES, len(numbers)))
    low, high = np.percentile(numbers[rows].mean(1), [2.5, 97.5])
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    return Estimate(float(numbers.mean()), deviation, float(low), float(high), len(numbers))


def jackknife(pairs: NDArray[np.float64]) -> float:
    """The standard error, over n images, of the mean over pairs of a symmetric (n, n) table.

    Pairs share images, so they are not independent: images are left out, one at a time.
    """
    n = len(pairs)
    if n < 3:
        return 0.0
    off = pairs - np.diag(np.diag(pairs))
    without = (off.sum() - 2 * off.sum(1)) / ((n - 1) * (n - 2))  # (n,)
    return float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))


def detection(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive scores above a negative; ties count half.

    0.5 is chance, and what is said where all are positive or none.
    """
    where = np.asarray(positive, dtype=bool).ravel()
    count, others = int(where.sum()), int((~where).sum())
    if not count or not others:
        return 0.5
    total = ranks(scores)[where].sum() - count * (count + 1) / 2
    return float(total / (count * others))


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """1 for the smallest; equals share the mean of their ranks."""
    _, place, counts = np.unique(np.ravel(values), return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[place].astype(np.float64)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's, -1 to 1; 0 where one of them does not vary."""
    a, b = ranks(first), ranks(second)
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else 0.0


def sign_test(differences: Sequence[float]) -> float:
    """Two-sided exact p that positive and negative differences are equally likely; zeros left out.
    """  # fmt: skip
    moved = [value for value in differences if value != 0]
    if not moved:
        return 1.0
    more = max(sum(value > 0 for value in moved), sum(value < 0 for value in moved))
    return min(1.0, 2 * _at_least(more, [0.5] * len(moved)))
