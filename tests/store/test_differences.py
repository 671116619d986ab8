"""The first difference between two records of settings."""

from __future__ import annotations

from typing import Any

import pytest

from convscope.store.differences import first_difference


@pytest.mark.parametrize(
    ("there", "now", "line"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1, "b": 2}, {"a": 2, "b": 3}, "a is 1 there, 2 now"),
        (
            {"a": {"b": [1, {"c": "x"}]}},
            {"a": {"b": [1, {"c": "y"}]}},
            "a.b[1].c is 'x' there, 'y' now",
        ),
        ({"a": 1}, {}, "a is 1 there, None now"),
        ({"a": (1, 2)}, {"a": (1, 2, 3)}, "a has 2 entries there, 3 now"),
        ({"a": "x" * 90}, {"a": "y"}, f"a is 'xx{'x' * 37}… there, 'y' now"),
    ],
)
def test_the_way_to_the_first_difference_is_named(there: Any, now: Any, line: str | None):
    assert first_difference(there, now) == line


def test_a_sentence_stands_for_values_that_tell_nothing():
    sentences = {"data": "the images are others"}
    assert first_difference({"data": "6f"}, {"data": "7a"}, sentences=sentences) == (
        "the images are others"
    )
