"""Tests and intervals, against answers worked out by hand or by counting every case."""

from __future__ import annotations

import math
import statistics
from itertools import product

import numpy as np
import pytest
from scipy import special, stats

from convscope.stats import (
    Rate,
    bootstrap,
    contrast_of_means,
    interval,
    jackknife,
    left_out,
    mean_of,
    over_folds,
    rank_correlation,
    rank_correlations,
    rank_values,
    roc_auc,
    sign_test,
)


def test_the_chance_of_so_many_hits_is_counted_over_all_outcomes() -> None:
    chances = [0.1, 0.5, 0.7, 0.2]
    found = Rate.of([True, False, True, True], chances)
    expected = 0.0
    for outcome in product([0, 1], repeat=4):
        if sum(outcome) >= 3:
            expected += np.prod([c if o else 1 - c for o, c in zip(outcome, chances, strict=True)])
    assert found.p == pytest.approx(expected)
    assert (found.hits, found.count, found.rate) == (3, 4, 0.75)
    assert found.expected == pytest.approx(sum(chances) / 4)


def test_a_rate_s_interval_is_wilson_s() -> None:
    found = Rate.of([True] * 15 + [False] * 5, [0.5] * 20)
    assert (found.low, found.high) == pytest.approx((0.5313, 0.8881), abs=1e-4)
    nothing = Rate.of([False] * 10, [0.5] * 10)
    assert nothing.low == 0 and 0 < nothing.high < 0.35 and nothing.p == 1


def test_detection_is_how_often_a_positive_beats_a_negative() -> None:
    assert roc_auc([1, 2, 3, 4], [False, False, True, True]) == 1
    assert roc_auc([4, 3, 2, 1], [False, False, True, True]) == 0
    assert roc_auc([1, 2, 2, 3], [False, True, False, True]) == pytest.approx(3.5 / 4)
    assert roc_auc([5, 5, 5], [True, False, True]) == 0.5
    assert roc_auc([1, 2], [True, True]) == 0.5


def test_equals_share_their_ranks() -> None:
    assert rank_values([30, 10, 20, 10]).tolist() == [4, 1.5, 3, 1.5]
    assert rank_correlation([1, 2, 3], [10, 100, 1000]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0


def test_an_interval_over_folds_of_one_set_is_wider_than_over_independent_values() -> None:
    found = over_folds([1.0, 2.0, 3.0], learned=30, tested=15)
    assert (found.mean, found.deviation, found.count) == (2, 1, 3)
    half = 4.302653 * (1 / 3 + 15 / 30) ** 0.5  # Student's t of 2 degrees; variance 1
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-6)
    many = over_folds([1.0, 2.0, 3.0], learned=10**9, tested=1)
    plain = mean_of([1.0, 2.0, 3.0])
    assert (many.low, many.high) == pytest.approx((plain.low, plain.high))
    one = over_folds([0.4], learned=30, tested=15)
    assert (one.low, one.high) == (0.4, 0.4)


def test_the_jackknife_leaves_every_image_out_once() -> None:
    table = np.random.default_rng(0).random((6, 6))
    table = (table + table.T) / 2
    without = []
    for gone in range(6):
        kept = [i for i in range(6) if i != gone]
        without.append(np.mean([table[i, j] for i in kept for j in kept if i != j]))
    expected = np.sqrt(5 / 6 * ((np.array(without) - np.mean(without)) ** 2).sum())
    assert left_out(table) == pytest.approx(without)
    assert jackknife(left_out(table)) == pytest.approx(expected)
    half = 2.570582 * expected  # t(5)
    assert interval(0.5, left_out(table)) == pytest.approx((0.5 - half, 0.5 + half), rel=1e-6)


def test_two_images_are_one_pair_and_have_no_interval() -> None:
    assert left_out(np.ones((2, 2))) == ()
    assert jackknife(()) is None and interval(0.5, ()) == (None, None)


def test_a_mean_s_interval_holds_it_and_is_the_same_each_time() -> None:
    values = [0.2, 0.9, 0.4, 0.6, 0.5]
    found = mean_of(values)
    assert found.mean == pytest.approx(0.52) and found.low < 0.52 < found.high
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    assert mean_of(values) == found


def test_one_value_has_no_spread_and_no_interval() -> None:
    found = mean_of([0.3])
    assert found.mean == pytest.approx(0.3)
    assert (found.deviation, found.low, found.high) == (None, None, None)


def test_the_sign_test_counts_signs_and_leaves_zeros_out() -> None:
    assert sign_test([1.0] * 5 + [0.0]) == pytest.approx(2 / 32)
    assert sign_test([1, -1, 2, -2]) == 1
    assert sign_test([0.0]) == 1


def quantile_of_t(freedom: float, share: float = 0.975) -> float:
    """Student's t, from the incomplete beta function and bisection: no use of scipy.stats."""
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        tail = special.betainc(freedom / 2, 0.5, freedom / (freedom + middle**2)) / 2
        low, high = (middle, high) if tail > 1 - share else (low, middle)
    return low


@pytest.mark.parametrize(
    ("freedom", "tabled"),
    [(1, 12.706), (2, 4.303), (10, 2.228), (30, 2.042), (31, 2.040), (40, 2.021), (120, 1.980)],
)
def test_a_mean_s_interval_is_student_s_for_any_number_of_values(
    freedom: int, tabled: float
) -> None:
    """The quantiles are those of the tables in textbooks."""
    values = np.random.default_rng(freedom).normal(size=freedom + 1).tolist()
    found = mean_of(values)
    half = (found.high - found.low) / 2 / (statistics.stdev(values) / math.sqrt(freedom + 1))
    assert half == pytest.approx(tabled, abs=5e-4)
    assert half == pytest.approx(quantile_of_t(freedom), rel=1e-9)


def test_welch_s_degrees_of_freedom_are_not_rounded() -> None:
    """Two pairs of variance 1 and 1.15: 1.99 degrees of freedom, where t is 4.32 and not t(1)."""
    a, b = [0.0, math.sqrt(2)], [0.0, math.sqrt(2 * 1.15)]
    parts = [statistics.variance(a) / 2, statistics.variance(b) / 2]
    freedom = sum(parts) ** 2 / sum(part**2 for part in parts)
    assert freedom == pytest.approx(1.99, abs=0.005)
    found = contrast_of_means([(1.0, a), (-1.0, b)])
    t = (found.high - found.value) / math.sqrt(sum(parts))
    assert t == pytest.approx(quantile_of_t(freedom), rel=1e-9)
    assert t == pytest.approx(4.32, abs=0.02)


@pytest.mark.parametrize(("first", "second"), [(3, 3), (5, 40), (60, 45)])
def test_a_difference_s_interval_is_scipy_s_welch_interval(first: int, second: int) -> None:
    dice = np.random.default_rng(0)
    a, b = dice.normal(1, 1, first).tolist(), dice.normal(0, 3, second).tolist()
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = contrast_of_means([(1.0, a), (-1.0, b)])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_a_small_chance_keeps_its_digits() -> None:
    """Twenty hits of chance 0.01 each are 1e-40, and not 0 or a rounding error of 1."""
    found = Rate.of([True] * 20, [0.01] * 20)
    assert found.p == pytest.approx(1e-40, rel=1e-6)
    certain = Rate.of([True, False], [1.0, 0.0])
    assert certain.p == 1


def test_rank_correlations_are_spearman_s_row_by_row() -> None:
    dice = np.random.default_rng(0)
    first, rows = dice.integers(0, 4, 30), dice.integers(0, 5, (6, 30))
    rows[3] = 2  # does not vary
    found = rank_correlations(first, rows)
    assert np.isnan(found[3]) and rank_correlation(first, rows[3]) == 0
    for i in (0, 1, 2, 4, 5):
        expected = stats.spearmanr(first, rows[i]).statistic
        assert found[i] == pytest.approx(expected)
        assert rank_correlation(first, rows[i]) == pytest.approx(expected)


@pytest.mark.parametrize(("up", "down"), [(1, 0), (7, 2), (2, 7), (6, 6), (60, 31)])
def test_the_sign_test_is_the_binomial_sum(up: int, down: int) -> None:
    n = up + down
    tail = sum(math.comb(n, k) for k in range(max(up, down), n + 1)) / 2**n
    assert sign_test([1.0] * up + [-1.0] * down) == pytest.approx(min(1.0, 2 * tail))


def test_the_bootstrap_of_a_mean_is_near_its_t_interval_and_repeats() -> None:
    values = np.random.default_rng(3).normal(size=200)

    def mean(times: np.ndarray) -> np.ndarray:
        return times @ values[: times.shape[1]] / times.sum(1)

    low, high = bootstrap(mean, 200, draws=2000, seed=[7, 3])
    plain = mean_of(values.tolist())
    assert (low, high) == pytest.approx((plain.low, plain.high), abs=0.02)
    assert bootstrap(mean, 200, draws=2000, seed=[7, 3]) == (low, high)
    dice = np.random.default_rng([7, 3])
    by_hand = [values[dice.integers(0, 200, 200)].mean() for _ in range(2000)]
    assert (low, high) == pytest.approx(tuple(np.quantile(by_hand, (0.025, 0.975))))
    assert bootstrap(mean, 1, draws=10, seed=[0]) == (values[0], values[0])
