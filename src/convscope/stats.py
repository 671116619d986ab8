"""Statistics: intervals and tests for few images, folds or seeds. Numbers only, over scipy.stats.

Every interval is of 95 %. What scipy has is scipy's; written here is what it lacks: a weighted sum
of means with Welch's degrees of freedom, the variance corrected for folds that share images, and
the jackknife over pairs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from convscope.record import Record, key

__all__ = [
    "Estimate",
    "MeansContrast",
    "Rate",
    "Share",
    "bootstrap",
    "contrast_of_means",
    "interval",
    "jackknife",
    "left_out",
    "mean_of",
    "over_folds",
    "rank_correlation",
    "rank_correlations",
    "rank_values",
    "roc_auc",
    "sign_test",
    "t_quantile",
]  # fmt: skip

LEVEL = 0.95
"""How often an interval holds what it is made for."""

TOGETHER = 2**20
"""Draws times samples of a bootstrap that are in memory at once."""


@dataclass(frozen=True)
class Estimate(Record):
    """A mean with its standard deviation and its 95 % interval.

    The deviation and the interval are None for a single value, which has no spread.

    Attributes:
        mean: The mean of the values.
        deviation: Their standard deviation.
        low: The interval's lower end.
        high: The interval's upper end.
        count: How many values there are.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Share(Record):
    """How often something happened.

    Attributes:
        hits: How often it happened.
        count: The number of trials.
        low: The lower end of the share's 95 % interval (Wilson's).
        high: Its upper end.
    """

    also = ("share",)

    hits: int
    count: int
    low: float
    high: float

    @classmethod
    def of(cls, hits: Sequence[bool]) -> Share:
        """Compute the share of hits.

        Args:
            hits: The outcome of each trial.
        """
        count, happened = len(hits), sum(map(bool, hits))
        wilson = stats.binomtest(happened, count).proportion_ci(LEVEL, method="wilson")
        return cls(happened, count, float(wilson.low), float(wilson.high))

    @property
    def share(self) -> float:
        """Hits per trial, 0 to 1."""
        return self.hits / self.count


@dataclass(frozen=True)
class Rate(Record):
    """How often something happened, and how often chance would have let it happen.

    Attributes:
        hits: How often it happened.
        count: The number of trials.
        expected: The rate that chance gives.
        low: The lower end of the rate's 95 % interval (Wilson's).
        high: Its upper end.
        p: The probability that chance alone gives as many hits or more.
    """

    hits: int
    count: int
    expected: float = field(metadata=key("expected_rate"))
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, hits: Sequence[bool], chances: Sequence[float]) -> Rate:
        """Compute the rate of hits.

        Args:
            hits: The outcome of each trial.
            chances: Each trial's own probability of a hit by chance.
        """
        share = Share.of(hits)
        count, happened = share.count, share.hits
        # so many hits or more are so few misses or fewer: summed from the small end, which keeps
        # the digits of a small p
        misses = stats.poisson_binom([1.0 - chance for chance in chances])
        return cls(
            hits=happened,
            count=count,
            expected=float(sum(chances)) / count,
            low=share.low,
            high=share.high,
            p=float(misses.cdf(count - happened)),
        )

    @property
    def rate(self) -> float:
        """Hits per trial, 0 to 1."""
        return self.hits / self.count


@dataclass(frozen=True)
class MeansContrast(Record):
    """A weighted sum of means over seeds, in shares of the images (0.01 is a percentage point).

    Attributes:
        value: The sum.
        low: The lower end of its 95 % interval; None where a row has one seed only.
        high: Its upper end, or None likewise.
        spreads: The value in standard deviations over the seeds (root mean square over the rows);
            None where there is no spread.
    """

    value: float
    low: float | None
    high: float | None
    spreads: float | None = field(metadata=key("in_seed_deviations"))


def contrast_of_means(terms: Sequence[tuple[float, Sequence[float]]]) -> MeansContrast:
    """Compute a weighted sum of means, Σ weight · mean(values), with its interval and its size.

    The interval is Welch's: each row of values has a variance of its own, and the degrees of
    freedom, which need not be whole, follow from how the variances add up.

    Args:
        terms: For each row (weight, values by seed).

    Source:
        Welch 1947, "The generalization of 'Student's' problem", Biometrika 34; for a sum of
        several variances, Satterthwaite 1946.
    """
    value = math.fsum(weight * statistics.fmean(values) for weight, values in terms)
    if min(len(values) for _, values in terms) < 2:
        return MeansContrast(value, None, None, None)
    variances = [statistics.variance(values) for _, values in terms]
    shares = [
        (weight**2 * variance / len(values), len(values) - 1)
        for (weight, values), variance in zip(terms, variances, strict=True)
    ]
    total = math.fsum(part for part, _ in shares)
    if total == 0:
        return MeansContrast(value, value, value, None)
    freedom = total**2 / math.fsum(part**2 / degrees for part, degrees in shares)
    half = t_quantile(freedom) * math.sqrt(total)
    spread = math.sqrt(statistics.fmean(variances))
    return MeansContrast(value, value - half, value + half, value / spread)


def t_quantile(freedom: float) -> float:
    """How many standard errors a 95 % interval reaches to either side: Student's t quantile."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def mean_of(values: Sequence[float]) -> Estimate:
    """Compute the mean over images and its t-interval; a single image has no interval.

    Args:
        values: A number for each image.
    """
    over_images = contrast_of_means([(1.0, values)])
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Estimate(over_images.value, deviation, over_images.low, over_images.high, len(values))


def over_folds(values: Sequence[float], learned: int, tested: int) -> Estimate:
    """Compute the mean over random folds of one set of images, with its corrected t-interval.

    Folds share images, so the variance of their mean is more than the variance over the count: it
    is taken as (1/k + tested/learned) times the variance, for k folds. With one fold, both ends of
    the interval are the mean.

    Args:
        values: A number for each fold.
        learned: How many images a fold is fitted on.
        tested: How many images a fold is tested on.

    Source:
        Nadeau & Bengio 2003, "Inference for the generalization error", Machine Learning 52, eq. 11.
    """
    count, mean = len(values), statistics.fmean(values)
    if count < 2:
        return Estimate(mean, 0.0, mean, mean, count)
    deviation = statistics.stdev(values)
    half = t_quantile(count - 1) * deviation * math.sqrt(1 / count + tested / learned)
    return Estimate(mean, deviation, mean - half, mean + half, count)


def left_out(pairs: NDArray[np.float64]) -> tuple[float, ...]:
    """Compute the mean over the pairs of images, without each of the images in turn.

    Args:
        pairs: A symmetric table of a number for each pair of images; the diagonal does not count.

    Returns:
        n means, one for each image left out; none if there are fewer than 3 images, which leave
        no pair.

    Shape:
        pairs: (n, n).
    """
    n = len(pairs)
    if n < 3:
        return ()
    off = pairs - np.diag(np.diag(pairs))
    without = (off.sum() - 2 * off.sum(1)) / ((n - 1) * (n - 2))  # (n,)
    return tuple(without.tolist())


def jackknife(without: Sequence[float]) -> float | None:
    """Compute the standard error, over n images, of a number known without each of them.

    It holds for means over pairs, which share images and so are not independent, and for numbers
    made of several such means.

    Args:
        without: The number without each image in turn.

    Returns:
        The standard error; None if `without` is empty.

    Source:
        Efron & Tibshirani 1993, §11.2.
    """
    n = len(without)
    if not n:
        return None
    values = np.array(without)
    return float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))


def interval(value: float, without: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Compute a 95 % interval by the jackknife and Student's t.

    Args:
        value: The number over all images.
        without: The number without each image in turn.

    Returns:
        (low, high); (None, None) if `without` is empty.
    """
    error = jackknife(without)
    if error is None:
        return None, None
    half = t_quantile(len(without) - 1) * error
    return value - half, value + half


def roc_auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Compute the area under the ROC curve: how often a positive scores above a negative.

    Ties count half. 0.5 is chance, and is returned where all samples are positive or none is.

    Args:
        scores: A number for each sample, flattened.
        positive: Whether each sample is positive.
    """
    where = np.asarray(positive, dtype=bool).ravel()
    count, others = int(where.sum()), int((~where).sum())
    if not count or not others:
        return 0.5
    total = rank_values(np.ravel(scores))[where].sum() - count * (count + 1) / 2
    return float(total / (count * others))


def rank_values(values: ArrayLike) -> NDArray[np.float64]:
    """Rank the values of each row: 1 for the smallest; equal values share the mean of their ranks.

    Shape:
        values: (..., N); the result has the same shape.
    """
    ranked: NDArray[np.float64] = stats.rankdata(values, axis=-1)
    return ranked


def rank_correlations(first: ArrayLike, rows: ArrayLike) -> NDArray[np.float64]:
    """Compute Spearman's rank correlation of one list with each of many.

    For permutations and resamplings, where scipy's `spearmanr` would be called thousands of times.

    Returns:
        -1 to 1 for each row; NaN where one of the two lists does not vary.

    Shape:
        first: (N,). rows: (D, N). The result: (D,).
    """
    a, b = rank_values(first), rank_values(rows)
    a, b = a - a.mean(), b - b.mean(-1, keepdims=True)
    sizes = np.sqrt((a**2).sum() * (b**2).sum(-1))
    return np.divide(b @ a, sizes, out=np.full(len(b), np.nan), where=sizes > 0)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Compute Spearman's rank correlation of two lists, -1 to 1; 0 where one does not vary."""
    (correlation,) = rank_correlations(np.ravel(first), np.ravel(second)[None])
    return 0.0 if np.isnan(correlation) else float(correlation)


def sign_test(differences: Sequence[float]) -> float:
    """Test whether positive and negative differences are equally likely.

    Applied to which of two classifiers is right about an image, it is McNemar's exact test.

    Args:
        differences: A difference for each image; those of zero are left out.

    Returns:
        The two-sided exact p.
    """
    up, down = (sum(value * sign > 0 for value in differences) for sign in (1, -1))
    return float(stats.binomtest(up, up + down).pvalue) if up + down else 1.0


def bootstrap(
    measure: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    count: int,
    *,
    draws: int,
    seed: Sequence[int],
) -> tuple[float, float]:
    """Compute the 95 % interval of a number measured on samples, by the percentile bootstrap.

    Args:
        measure: Computes the number of each draw from how often it holds each sample.
        count: How many samples there are. With a single one, both ends are its own number.
        draws: How often samples are drawn again, with replacement.
        seed: The seed of the draws.

    Returns:
        (low, high).

    Shape:
        measure: int64 (draws, count) -> (draws,).
    """
    if count < 2:
        (alone,) = measure(np.ones((1, count), np.int64))
        return float(alone), float(alone)

    def measured(drawn: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
        return measure(np.stack([np.bincount(each, minlength=count) for each in drawn]))

    percentiles = stats.bootstrap(
        (np.arange(count),), measured, n_resamples=draws, batch=max(1, TOGETHER // count),
        vectorized=True, confidence_level=LEVEL, method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(percentiles.low), float(percentiles.high)
