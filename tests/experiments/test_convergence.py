"""When a map stays as it ends, and whether lower layers get there first."""

from __future__ import annotations

import numpy as np
import pytest

from convscope.experiments.evolution.convergence import (
    converged,
    lower_first,
    similar_from,
    unchanged_from,
)


def test_a_map_converges_where_it_comes_to_stay_similar() -> None:
    similarity = np.array(
        [
            [0.95, 0.95, 0.95, 1.0],  # always
            [0.95, 0.20, 0.95, 1.0],  # similar, then not: from the third on
            [0.10, 0.20, 0.89, 1.0],  # never before the end
            [0.10, 0.90, 0.90, 1.0],  # at the threshold
            [0.00, 0.00, 0.00, 0.0],  # nothing to compare with: the end all the same
        ]
    )
    assert similar_from(similarity, 0.9).tolist() == [0, 2, 3, 1, 3]


def test_a_winner_stays_from_where_it_leads_to_the_end() -> None:
    winners = np.array([[7, 7, 7], [7, 3, 7], [-1, 4, 4], [1, 2, 3]])
    assert unchanged_from(winners).tolist() == [0, 2, 1, 2]


def test_a_layer_converges_at_the_median_of_its_maps_which_is_a_kept_epoch() -> None:
    found = converged(np.array([0, 0, 1, 3]), (0, 1, 5, 20))
    assert found is not None
    assert found.epochs == (0, 0, 1, 20)
    assert (found.lower, found.median, found.upper) == (0, 0, 1)
    assert found.to_the_end == 0.25
    assert found.words() == "epoch 0 (quartiles 0 to 1)"
    assert converged(np.array([], int), (0, 1)) is None


def test_the_trend_is_spearmans_correlation_with_its_permutation_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    dice = np.random.default_rng(0)
    layers = [dice.integers(0, 5 + depth, 12).tolist() for depth in range(4)]
    depth = np.repeat(np.arange(4), 12)
    expected = stats.spearmanr(depth, np.concatenate(layers))
    found = lower_first(layers)
    assert found.rho == pytest.approx(expected.statistic, abs=1e-4)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert found.low < found.rho < found.high
    assert lower_first(layers, seed=0) == found


def test_layers_in_order_and_the_other_way_round() -> None:
    up = lower_first([[1, 1, 2, 1], [2, 2, 3, 3], [5, 5, 4, 5]])
    down = lower_first([[5, 5, 4, 5], [2, 2, 3, 3], [1, 1, 2, 1]])
    assert up.rho > 0.8 and up.words().startswith("lower layers converge first (Spearman +0.")
    assert down.rho == -up.rho and down.words().startswith("upper layers converge first")


def test_a_few_maps_that_differ_little_give_no_order() -> None:
    found = lower_first([[3, 3, 3], [3, 3, 5]])
    assert found.p > 0.05 and found.words().startswith("no clear order")


@pytest.mark.parametrize("layers", [[[2, 2], [2, 2]], [[1, 2, 3]], [[], []], []])
def test_where_nothing_differs_nothing_is_claimed(layers: list[list[int]]) -> None:
    found = lower_first(layers)
    assert found.rho is None and "no order" in found.words()
