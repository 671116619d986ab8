"""Numbers in words."""

from __future__ import annotations

import pytest

from convscope.experiments.wording import (
    NONE,
    duration,
    minus,
    percent,
    plus_minus,
    points,
    spread_words,
)


def test_a_share_is_said_in_percent_or_points():
    assert percent(0.342) == "34 %"
    assert percent(0.342, 1) == "34.2 %"
    assert percent(-0.5) == "−50 %"
    assert points(-0.07) == "−7 points"


def test_a_mean_is_said_with_its_deviation_where_there_is_one():
    assert plus_minus(0.865, 0.005) == "86.5 ± 0.5"
    assert plus_minus(-0.021, None) == "−2.1"
    assert plus_minus(0.067, 0.0071, digits=3, unit=1) == "0.067 ± 0.007"


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
    [(12.4, "12 seconds"), (600, "10 minutes"), (9000, "2.5 hours")],
)
def test_time_is_said_in_the_unit_that_fits(seconds: float, said: str):
    assert duration(seconds) == said
