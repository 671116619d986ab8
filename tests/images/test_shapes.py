"""Shapes: distances that can be read by eye, and the laws of their algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest

from convscope.scenes.shapes import (
    Shape,
    box,
    circle,
    drop,
    ellipse,
    fused,
    polygon,
    repeated,
    stroke,
    strokes,
)


def at(shape: Shape, *points: tuple[float, float]) -> list[float]:
    x, y = np.array(points, dtype=np.float32).T[:, None, :]
    return [round(float(d), 4) for d in shape.distance(x, y)[0]]


SHAPES = {
    "circle": circle(0.1, -0.2, 0.5),
    "ellipse": ellipse(0, 0.1, 0.7, 0.3, 0.5),
    "box": box(-0.5, -0.3, 0.4, 0.6, 0.1),
    "sharp box": box(-0.5, -0.3, 0.4, 0.6),
    "triangle": polygon([(-0.5, 0.5), (0.6, 0.4), (0, -0.6)], 0.05),
    "stroke": stroke([(-0.5, 0), (0, 0.4), (0.6, -0.1)], 0.2),
    "drop": drop((-0.3, 0.1), (0.5, 0.2), 0.3, 0.1),
    "fused": fused(circle(-0.3, 0, 0.3), circle(0.3, 0, 0.3), 0.2),
    "turned": box(-0.5, -0.1, 0.5, 0.1).turned(0.7, (0.1, 0)),
    "moved": circle(0, 0, 0.3).moved(0.3, -0.2),
    "outline": ellipse(0, 0, 0.5, 0.3).outline(0.1),
    "cut": circle(0, 0, 0.5) - box(-0.2, -0.2, 1, 1),
    "shared": circle(-0.2, 0, 0.5) & circle(0.2, 0, 0.5),
    "either": circle(-0.4, 0, 0.2) | circle(0.4, 0.3, 0.3),
    "repeated": repeated(circle(0.15, 0.15, 0.1), 0.3, 0.3, (-0.6, -0.6, 0.6, 0.6))
    & box(-0.6, -0.6, 0.6, 0.6),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
AXIS = np.linspace(-1.2, 1.2, 241, dtype=np.float32)
X, Y = np.meshgrid(AXIS, AXIS)


def test_distances_are_negative_inside_and_positive_outside():
    assert at(circle(0, 0, 1), (0, 0), (1, 0), (3, 0)) == [-1, 0, 2]
    assert at(box(0, 0, 4, 2), (2, 1), (2, -1), (4, 1)) == [-1, 1, 0]
    assert at(ellipse(0, 0, 2, 1), (2, 0), (0, 1), (0, -1)) == [0, 0, 0]
    assert at(stroke([(0, 0), (4, 0)], 2), (2, 0), (2, 3), (6, 0)) == [-1, 2, 1]
    assert at(drop((0, 0), (4, 0), 2, 1), (0, 0), (4, 0), (4, 3)) == [-2, -1, 2]


def test_a_polygon_is_the_same_whichever_way_its_points_go_round():
    points = [(0.0, 0.0), (4.0, 0.0), (4.0, 2.0), (0.0, 2.0)]
    places = [(2, 1), (2, -1), (5, 1), (1, 1.5)]
    assert at(polygon(points), *places) == at(polygon(points[::-1]), *places)
    assert at(polygon(points), *places) == at(box(0, 0, 4, 2), *places) == [-1, 1, 1, -0.5]
    assert at(polygon([*points, points[-1]]), *places) == at(polygon(points), *places)


def test_strokes_are_the_union_of_their_lines():
    lines = [(0.0, 0.0, 1.0, 0.0), (0.0, 0.5, 0.5, 1.0)]
    one, other = (strokes([line], 0.2) for line in lines)
    assert np.allclose(strokes(lines, 0.2).distance(X, Y), (one | other).distance(X, Y))


def test_turning_a_quarter_exchanges_the_axes():
    lying = box(-2, -1, 2, 1)
    assert at(lying.turned(math.pi / 2), (0, 2), (2, 0)) == at(lying, (2, 0), (0, -2)) == [0, 1]
    assert at(lying.turned(math.pi / 2, (2, 0)), (2, 0)) == [0]


@every_shape
def test_the_bounds_hold_the_whole_shape_and_the_arithmetic_stays_in_float32(shape):
    distance = shape.distance(X, Y)
    assert distance.dtype == np.float32
    inside = distance < 0
    assert inside.any()
    left, top, right, bottom = shape.bounds
    slack = 0.011
    assert left - slack <= X[inside].min() and X[inside].max() <= right + slack
    assert top - slack <= Y[inside].min() and Y[inside].max() <= bottom + slack


@every_shape
def test_and_or_and_minus_are_those_of_sets(shape):
    other = circle(0.2, 0.1, 0.4)
    a, b = shape.distance(X, Y) < 0, other.distance(X, Y) < 0
    assert np.array_equal((shape | other).distance(X, Y) < 0, a | b)
    assert np.array_equal((shape & other).distance(X, Y) < 0, a & b)
    assert ((shape - other).distance(X, Y) < 0).sum() == pytest.approx((a & ~b).sum(), abs=60)


@every_shape
def test_growing_moves_the_outline_by_that_much(shape):
    assert np.allclose(shape.grown(0.1).distance(X, Y), shape.distance(X, Y) - 0.1, atol=1e-6)
