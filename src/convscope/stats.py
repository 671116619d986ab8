"""Statistics: intervals and tests for few images, folds or seeds. Numbers only, over scipy.stats.

Every interval is of 95 %. What scipy has is scipy's; written here is what it has not: a weighted
sum of means with Welch's degrees of freedom, the variance corrected for folds that share images,
and the jackknife over pairs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = [
    "Contrast",
    "Estimate",
    "Rate",
    "bootstrap",
    "contrast",
    "detection",
    "interval",
    "jackknife",
    "left_out",
    "mean_of",
    "over_folds",
    "rank_correlation",
    "rank_correlations",
    "ranks",
    "sign_test",
]  # fmt: skip

LEVEL = 0.95
"""How often an interval holds what it is made for."""


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
        """From each trial's outcome and its own chance of a hit."""
        count, found = len(hits), sum(map(bool, hits))
        wilson = stats.binomtest(found, count).proportion_ci(LEVEL, method="wilson")
        # so many hits or more are so few misses or fewer: summed from the small end, which keeps
        # the digits of a small p
        misses = stats.poisson_binom([1.0 - chance for chance in chances])
        return cls(
            hits=found,
            count=count,
            expected=float(sum(chances)) / count,
            low=float(wilson.low),
            high=float(wilson.high),
            p=float(misses.cdf(count - found)),
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
    """A weighted sum of means, Σ weight · mean(values), with its interval and its size.

    The interval is Welch's: every row of values has a variance of its own, and the degrees of
    freedom, which need not be whole, follow from how they add up.

    Args:
        terms: A (weight, values by seed) for each row.

    Source: Welch 1947, "The generalization of 'Student's' problem", Biometrika 34; for a sum of
    several variances, Satterthwaite 1946.
    """
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
    """How many standard errors an interval reaches to either side: Student's t quantile."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


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
    total = ranks(np.ravel(scores))[where].sum() - count * (count + 1) / 2
    return float(total / (count * others))


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """1 for the smallest of a row; equals share the mean of their ranks.

    Shape: values (..., N) -> (..., N).
    """
    found: NDArray[np.float64] = stats.rankdata(values, axis=-1)
    return found


def rank_correlations(first: ArrayLike, rows: ArrayLike) -> NDArray[np.float64]:
    """Spearman's rank correlation of one list with each of many; NaN where one does not vary.

    For permutations and resamplings, where scipy's `spearmanr` would be called thousands of times.

    Shape: first (N,), rows (D, N) -> (D,).
    """
    a, b = ranks(first), ranks(rows)
    a, b = a - a.mean(), b - b.mean(-1, keepdims=True)
    sizes = np.sqrt((a**2).sum() * (b**2).sum(-1))
    return np.divide(b @ a, sizes, out=np.full(len(b), np.nan), where=sizes > 0)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation, -1 to 1; 0 where one of them does not vary."""
    (found,) = rank_correlations(np.ravel(first), np.ravel(second)[None])
    return 0.0 if np.isnan(found) else float(found)


def sign_test(differences: Sequence[float]) -> float:
    """Two-sided exact p that positive and negative differences are equally likely.

    Differences of zero are left out. On which of two classifiers told an image right, it is
    McNemar's exact test.
    """
    up, down = (sum(value * sign > 0 for value in differences) for sign in (1, -1))
    return float(stats.binomtest(up, up + down).pvalue) if up + down else 1.0


def bootstrap(
    measure: Callable[[NDArray[np.int64]], float], count: int, *, draws: int, seed: Sequence[int]
) -> tuple[float, float]:
    """The interval of a number that is measured on `count` samples (percentile bootstrap).

    Args:
        measure: From the indices of samples, drawn with replacement, to the number.
        count: Samples there are. Of a single one, both ends are its own number.
        draws: How often samples are drawn again.
        seed: Of the draws.
    """
    every = np.arange(count)
    if count < 2:
        return measure(every), measure(every)
    found = stats.bootstrap(
        (every,), measure, n_resamples=draws, batch=1, vectorized=False,
        confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
