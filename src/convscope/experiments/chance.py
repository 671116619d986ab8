"""How much of a finding chance would give: tests and intervals for few images, folds or seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Contrast",
    "Estimate",
    "Rate",
    "Z",
    "contrast",
    "detection",
    "interval",
    "jackknife",
    "left_out",
    "mean_of",
    "over_folds",
    "rank_correlation",
    "ranks",
    "sign_test",
]  # fmt: skip

Z = 1.959964  # of a 95 % interval
_T = (
    12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t: 97.5 % lie below, by degrees of freedom from 1."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n values, their standard deviation, and a 95 % interval of the mean.

    deviation, low, high : None of a single value, which has no spread
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int

    def to_dict(self) -> dict[str, float | None]:
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


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of means over seeds, in shares of the images (0.01 is a point).

    low, high : its 95 % interval; None where a row has one seed only
    spreads : the value in standard deviations over the seeds (root mean square over the rows);
        None where there is no spread
    """

    value: float
    low: float | None
    high: float | None
    spreads: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "in_seed_deviations": self.spreads,
        }


def contrast(terms: Sequence[tuple[float, Sequence[float]]]) -> Contrast:
    """Σ weight · mean(values), its interval and its size.   terms : (weight, values by seed)"""
    value = math.fsum(weight * statistics.fmean(values) for weight, values in terms)
    if min(len(values) for _, values in terms) < 2:
        return Contrast(value, None, None, None)
    variances = [statistics.variance(values) for _, values in terms]
    parts = [
        (weight**2 * variance / len(values), len(values) - 1)
        for (weight, values), variance in zip(terms, variances, strict=True)
    ]
    whole = math.fsum(part for part, _ in parts)
    if whole == 0:
        return Contrast(value, value, value, None)
    freedom = whole**2 / math.fsum(part**2 / degrees for part, degrees in parts)
    half = _t(freedom) * math.sqrt(whole)
    spread = math.sqrt(statistics.fmean(variances))
    return Contrast(value, value - half, value + half, value / spread)


def _t(freedom: float) -> float:
    return _T[int(freedom) - 1] if freedom < len(_T) + 1 else Z


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean over images and its t-interval; one image has no interval."""
    found = contrast([(1.0, values)])
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Estimate(found.value, deviation, found.low, found.high, len(values))


def over_folds(values: Sequence[float], learned: int, tested: int) -> Estimate:
    """The mean over random folds of one set of images, and its corrected resampled t-interval.

    Folds share images, so the variance of their mean is more than the variance over the count: it
    is taken as (1/k + tested/learned) times the variance, for k folds. Of one fold, the mean is
    both ends.

    learned, tested : images in a fold.   Source: Nadeau & Bengio 2003, "Inference for the
    generalization error", Machine Learning 52, eq. 11
    """
    count, mean = len(values), statistics.fmean(values)
    if count < 2:
        return Estimate(mean, 0.0, mean, mean, count)
    deviation = statistics.stdev(values)
    half = _t(count - 1) * deviation * math.sqrt(1 / count + tested / learned)
    return Estimate(mean, deviation, mean - half, mean + half, count)


def left_out(pairs: NDArray[np.float64]) -> tuple[float, ...]:
    """The mean over the pairs of a symmetric (n, n) table without each of its n images.

    Fewer than 3 images leave no pair: then there is none.
    """
    n = len(pairs)
    if n < 3:
        return ()
    off = pairs - np.diag(np.diag(pairs))
    without = (off.sum() - 2 * off.sum(1)) / ((n - 1) * (n - 2))  # (n,)
    return tuple(without.tolist())


def jackknife(without: Sequence[float]) -> float | None:
    """The standard error over n images of what was found without each of them; None of none.

    For means over pairs, which share images and so are not independent, and for what is made of
    several such means.     Source: Efron & Tibshirani 1993, §11.2
    """
    n = len(without)
    if not n:
        return None
    values = np.array(without)
    return float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))


def interval(value: float, without: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """(low, high), 95 %, by the jackknife and Student's t; of nothing left out there is none."""
    error = jackknife(without)
    if error is None:
        return None, None
    half = _t(len(without) - 1) * error
    return value - half, value + half


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
