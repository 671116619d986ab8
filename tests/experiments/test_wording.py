"""Numbers in words."""

from __future__ import annotations

import pytest

from convscope.experiments.number_words import (
    NONE,
    duration,
    interval_words,
    minus,
    percent,
    plus_minus,
    points,
    signed_number,
    spread_words,
)
from convscope.stats import Estimate


def test_a_share_is_said_in_percent_or_points():
    assert percent(0.342) == "34 %"
    assert percent(0.342, 1) == "34.2 %"
    assert percent(-0.5) == "−50 %"
    assert points(-0.07) == "−7 points"


def test_a_mean_is_said_with_its_deviation_where_there_is_one():
    assert plus_minus(0.865, 0.005) == "86.5 ± 0.5"
    assert plus_minus(-0.021, None) == "−2.1"
    assert plus_minus(0.067, 0.0071, digits=3, unit=1) == "0.067 ± 0.007"


def test_a_change_has_its_sign_and_nothing_has_none():
    assert signed_number(1.93) == "+1.9"
    assert signed_number(-0.4) == "−0.4"
    assert signed_number(-0.04) == signed_number(0.04) == signed_number(0.0) == "0.0"


def test_an_interval_is_said_where_there_is_one():
    assert interval_words(Estimate(0.7, 0.1, 0.634, 0.782, 5)) == "0.63 to 0.78"
    assert interval_words(Estimate(0.01, 0.1, -0.0204, 0.04, 5), 1, 0.01) == "−2.0 to 4.0"
    assert interval_words(Estimate(0.01, 0.1, -0.0004, 0.04, 5), 1, 0.01) == "0.0 to 4.0"
    assert interval_words(Estimate(0.7, None, None, None, 1)) == "no interval of one"


def test_values_are_said_as_far_as_there_are_some():
    assert spread_words([]) == NONE
    assert spread_words([0.4]) == "40.0"
    assert spread_words([0.4, 0.5, 0.6]) == "50.0 ± 10.0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-3.1 to -0.2", "−3.1 to −0.2"),
        ("layers 3-4, val-top", "layers 3-4, val-top"),
        ("(-3)", "(−3)"),
        ("1e-05", "1e-05"),
    ],
)
def test_only_a_hyphen_before_a_number_is_a_minus_sign(words: str, said: str):
    assert minus(words) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1.2, "1 second"), (12.4, "12 seconds"), (600, "10 minutes"), (9000, "2.5 hours")],
)
def test_time_is_said_in_the_unit_that_fits(seconds: float, said: str):
    assert duration(seconds) == said
