"""Tests and intervals, against answers worked out by hand or by counting every case."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from convscope.experiments.chance import (
    Rate,
    detection,
    interval,
    jackknife,
    left_out,
    mean_of,
    over_folds,
    rank_correlation,
    ranks,
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
    assert detection([1, 2, 3, 4], [False, False, True, True]) == 1
    assert detection([4, 3, 2, 1], [False, False, True, True]) == 0
    assert detection([1, 2, 2, 3], [False, True, False, True]) == pytest.approx(3.5 / 4)
    assert detection([5, 5, 5], [True, False, True]) == 0.5
    assert detection([1, 2], [True, True]) == 0.5


def test_equals_share_their_ranks() -> None:
    assert ranks([30, 10, 20, 10]).tolist() == [4, 1.5, 3, 1.5]
    assert rank_correlation([1, 2, 3], [10, 100, 1000]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0


def test_an_interval_over_folds_of_one_set_is_wider_than_over_independent_values() -> None:
    found = over_folds([1.0, 2.0, 3.0], learned=30, tested=15)
    assert (found.mean, found.deviation, found.count) == (2, 1, 3)
    half = 4.303 * (1 / 3 + 15 / 30) ** 0.5  # Student's t of 2 degrees; variance 1
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
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
    half = 2.571 * expected  # t(5)
    assert interval(0.5, left_out(table)) == pytest.approx((0.5 - half, 0.5 + half))


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
