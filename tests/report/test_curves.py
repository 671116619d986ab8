"""Where the points of a curve lie on its chart."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from convscope.report.curves import BOTTOM, HEIGHT, TOP, chart, number

FLOOR = HEIGHT - BOTTOM


def one(points, epochs=4, **how):
    return chart("t", [("a", "val", points)], epochs, **how)


def test_zero_lies_on_the_floor_and_the_highest_tick_at_the_top() -> None:
    found = one([(1, 0.0), (4, 4.0)])
    (x, y, _), (x2, y2, _) = found.curves[0].dots
    assert (y, y2) == (FLOOR, TOP)
    assert [label for _, label in found.rows] == ["0", "1", "2", "3", "4"]
    assert x2 - x == pytest.approx(found.columns[-1][0] - found.columns[0][0])


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (0.62, ["0 %", "20 %", "40 %", "60 %", "80 %"]),
        (1.0, ["0 %", "25 %", "50 %", "75 %", "100 %"]),
        (0.004, ["0 %", "0.1 %", "0.2 %", "0.3 %", "0.4 %"]),
    ],
)
def test_the_axis_has_round_numbers(highest: float, labels: list[str]) -> None:
    found = one([(1, highest)], percent=True)
    assert [label for _, label in found.rows] == labels


def test_on_a_logarithmic_axis_equal_factors_are_equal_steps() -> None:
    found = one([(1, 1e-2), (2, 1e-3), (3, 1e-4)], log=True)
    heights = [y for _, y, _ in found.curves[0].dots]
    assert heights == [TOP, pytest.approx((TOP + FLOOR) / 2), FLOOR]
    assert [label for _, label in found.rows][::3] == ["0.0001", "0.001", "0.01"]


def test_one_rate_throughout_is_a_level_line_within_the_axis() -> None:
    found = one([(1, 0.01), (2, 0.01)], log=True)
    heights = {y for _, y, _ in found.curves[0].dots}
    assert len(heights) == 1 and TOP <= heights.pop() <= FLOOR


def test_what_is_not_finite_breaks_the_curve_and_is_said() -> None:
    found = one([(1, 1.0), (2, 1.0), (3, math.nan), (4, math.inf)])
    assert len(found.curves[0].dots) == 2
    assert len(found.curves[0].segments) == 1
    assert found.curves[0].last == "not finite"


def test_a_zero_cannot_be_on_a_logarithmic_axis() -> None:
    assert len(one([(1, 0.1), (2, 0.0)], log=True).curves[0].dots) == 1


def test_bars_stand_on_the_floor_beside_each_other() -> None:
    bars = one([(1, 2.0), (2, 4.0), (3, 0.0), (4, 1.0)], bars=True).bars
    assert [y + height for _, y, _, height, _ in bars] == [pytest.approx(FLOOR)] * 4
    assert bars[1][3] == pytest.approx(2 * bars[0][3])
    assert all(a[0] + a[2] <= b[0] for a, b in pairwise(bars))


@pytest.mark.parametrize("epochs", [1, 2, 7, 10, 70, 333])
def test_the_first_and_the_last_epoch_are_named_and_few_between(epochs: int) -> None:
    labels = [int(label) for _, label in one([(1, 1.0)], epochs).columns]
    assert labels[0] == 1 and labels[-1] == epochs
    assert labels == sorted(set(labels)) and len(labels) <= 9


def test_a_chart_without_a_point_says_so() -> None:
    assert one([]).note == "nothing to show yet"
    assert one([(1, 0.0)], bars=True).note == "0 at every epoch"
    assert one([(1, 1.0)]).note == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [(2.67e-7, "2.67 × 10⁻⁷"), (1e-5, "10⁻⁵"), (0.0, "0"), (12345.6, "12,346")],
)
def test_a_small_number_is_a_power_of_ten_and_a_large_one_has_no_point(value: float, words: str):
    assert number(value) == words
