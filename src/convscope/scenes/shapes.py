"""Shapes as signed distances. Functions here are numbers -> Shape.

A Shape knows, for every point of the plane, how far its outline is (negative inside), so one
formula draws it smooth at any size, shades its rim and softens its edge. Shapes combine:
`a | b` both, `a & b` what they share, `a - b` the first without the second.

x points right, y points down, both in the drawing's own unit. All arithmetic on arrays is
+ - * / sqrt, min, max, floor: operations that IEEE 754 fixes to the last bit, so a picture is the
same on every machine. Ellipses, and what lies off a polygon's or a box's corners, are first-order
approximations, exact on the outline.

Source:
    I. Quilez, "2D distance functions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

PixelValues = NDArray[np.floating[Any]]  # float32, one number per pixel of a window, (h, w)
Point = tuple[float, float]  # (x, y)
Bounds = tuple[float, float, float, float]  # (left, top, right, bottom)

TINY = 1e-6  # keeps a quotient finite at a shape's very centre


@dataclass(frozen=True)
class Shape:
    """A region of the plane.

    Attributes:
        distance: Takes (x, y); the signed distance to the outline, negative inside.
        bounds: (left, top, right, bottom) that hold the whole region.
    """

    distance: Callable[[PixelValues, PixelValues], PixelValues]
    bounds: Bounds

    def __or__(self, other: Shape) -> Shape:
        """Return the union of two shapes."""
        return Shape(
            lambda x, y: np.minimum(self.distance(x, y), other.distance(x, y)),
            _hull(self.bounds, other.bounds),
        )

    def __and__(self, other: Shape) -> Shape:
        """Return the intersection of two shapes."""
        a, b = self.bounds, other.bounds
        shared = (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        return Shape(
            lambda x, y: np.maximum(self.distance(x, y), other.distance(x, y)),
            shared,
        )

    def __sub__(self, other: Shape) -> Shape:
        """Return this shape without the other one."""
        return Shape(
            lambda x, y: np.maximum(self.distance(x, y), -other.distance(x, y)),
            self.bounds,
        )

    def grown(self, by: float) -> Shape:
        """Move the outline outwards by `by`."""
        left, top, right, bottom = self.bounds
        return Shape(
            lambda x, y: self.distance(x, y) - by, (left - by, top - by, right + by, bottom + by)
        )

    def outline(self, width: float) -> Shape:
        """Return the band of that width along the outline, half inside and half outside."""
        half = width / 2
        left, top, right, bottom = self.bounds
        return Shape(
            lambda x, y: np.abs(self.distance(x, y)) - half,
            (left - half, top - half, right + half, bottom + half),
        )

    def turned(self, angle: float, about: Point = (0.0, 0.0)) -> Shape:
        """Rotate the shape by `angle` (radians, clockwise as seen, since y points down)."""
        cos, sin = math.cos(angle), math.sin(angle)
        px, py = about

        def distance(x: PixelValues, y: PixelValues) -> PixelValues:
            dx, dy = x - px, y - py
            return self.distance(cos * dx + sin * dy + px, cos * dy - sin * dx + py)

        left, top, right, bottom = self.bounds
        corners = [
            (px + cos * (x - px) - sin * (y - py), py + sin * (x - px) + cos * (y - py))
            for x in (left, right)
            for y in (top, bottom)
        ]
        return Shape(distance, _around(corners))

    def moved(self, dx: float, dy: float) -> Shape:
        """Move the shape to the right and down."""
        left, top, right, bottom = self.bounds
        return Shape(
            lambda x, y: self.distance(x - dx, y - dy),
            (left + dx, top + dy, right + dx, bottom + dy),
        )


def circle(x: float, y: float, radius: float) -> Shape:
    """Return a circle around (x, y)."""

    def distance(px: PixelValues, py: PixelValues) -> PixelValues:
        dx, dy = px - x, py - y
        return np.sqrt(dx * dx + dy * dy) - radius

    return Shape(distance, (x - radius, y - radius, x + radius, y + radius))


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Shape:
    """Return an ellipse of half-axes rx, ry around (x, y), turned by `angle` radians."""
    ax, ay, bx, by = 1 / rx, 1 / ry, 1 / rx**2, 1 / ry**2

    def distance(px: PixelValues, py: PixelValues) -> PixelValues:
        dx, dy = px - x, py - y
        u, v = dx * ax, dy * ay
        reach = np.sqrt(u * u + v * v)
        u, v = dx * bx, dy * by
        slope = np.sqrt(u * u + v * v) + TINY
        return reach * (reach - 1) / slope

    upright = Shape(distance, (x - rx, y - ry, x + rx, y + ry))
    return upright.turned(angle, (x, y)) if angle else upright


def box(left: float, top: float, right: float, bottom: float, corner: float = 0.0) -> Shape:
    """Return an upright rectangle whose corners are rounded with the radius `corner`."""
    x, y = (left + right) / 2, (top + bottom) / 2
    half_width, half_height = (right - left) / 2 - corner, (bottom - top) / 2 - corner

    def distance(px: PixelValues, py: PixelValues) -> PixelValues:
        dx, dy = np.abs(px - x) - half_width, np.abs(py - y) - half_height
        if not corner:
            return np.maximum(dx, dy)
        outside_x, outside_y = np.maximum(dx, 0), np.maximum(dy, 0)
        outside = np.sqrt(outside_x * outside_x + outside_y * outside_y)
        return outside + np.minimum(np.maximum(dx, dy), 0) - corner

    return Shape(distance, (left, top, right, bottom))


def polygon(points: Sequence[Point], spread: float = 0.0) -> Shape:
    """Return the convex polygon of points (either way round), its sides moved out by `spread`."""
    edges = [(p, q) for p, q in zip(points, (*points[1:], points[0]), strict=True) if p != q]
    area = sum(p[0] * q[1] - q[0] * p[1] for p, q in edges)
    rows = []
    for (x0, y0), (x1, y1) in edges:
        length = math.copysign(math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2), area)
        nx, ny = (y1 - y0) / length, (x0 - x1) / length  # the outward normal
        rows.append((nx, ny, nx * x0 + ny * y0 + spread))
    a, b, c = np.array(rows, dtype=np.float32).T[:, :, None, None]
    corners = []
    for (corner, _), (ux, uy, _), (vx, vy, _) in zip(edges, rows, rows[-1:] + rows, strict=False):
        reach = spread / max(1 + ux * vx + uy * vy, 0.05)  # a sharp corner moves far
        corners.append((corner[0] + (ux + vx) * reach, corner[1] + (uy + vy) * reach))

    def distance(px: PixelValues, py: PixelValues) -> PixelValues:
        sides: PixelValues = (a * px + b * py - c).max(axis=0)  # (edges, h, w) -> (h, w)
        return sides

    return Shape(distance, _around(corners))


def stroke(points: Sequence[Point], width: float) -> Shape:
    """Return a line of that width through some points, with round ends."""
    return strokes([(*a, *b) for a, b in pairwise(points)], width)


def strokes(segments: Sequence[tuple[float, float, float, float]], width: float) -> Shape:
    """Return straight lines (x0, y0, x1, y1) of that width as one shape."""
    rows = np.array(segments, dtype=np.float32)
    ax, ay, bx, by = (rows[:, i, None, None] for i in range(4))
    ex, ey = bx - ax, by - ay
    inverse = 1 / np.maximum(ex * ex + ey * ey, np.float32(TINY))
    ex_inverse, ey_inverse = ex * inverse, ey * inverse
    half = width / 2

    def distance(px: PixelValues, py: PixelValues) -> PixelValues:
        dx, dy = px - ax, py - ay  # (segments, h, w)
        along = np.minimum(np.maximum(dx * ex_inverse + dy * ey_inverse, 0), 1)
        dx, dy = dx - along * ex, dy - along * ey
        nearest: PixelValues = (dx * dx + dy * dy).min(axis=0)  # (h, w)
        return np.sqrt(nearest) - half

    ends = [(x, y) for s in segments for x, y in (s[:2], s[2:])]
    left, top, right, bottom = _around(ends)
    return Shape(distance, (left - half, top - half, right + half, bottom + half))


def drop(start: Point, end: Point, start_radius: float, end_radius: float) -> Shape:
    """Return a limb from one round end to another of a different radius."""
    (sx, sy), (tx, ty) = start, end
    ex, ey = tx - sx, ty - sy
    inverse = 1 / max(ex * ex + ey * ey, TINY)
    taper = end_radius - start_radius

    def distance(px: PixelValues, py: PixelValues) -> PixelValues:
        dx, dy = px - sx, py - sy
        along = np.minimum(np.maximum(dx * (ex * inverse) + dy * (ey * inverse), 0), 1)
        dx, dy = dx - along * ex, dy - along * ey
        return np.sqrt(dx * dx + dy * dy) - start_radius - taper * along

    a, b = start_radius, end_radius
    return Shape(
        distance,
        (min(sx - a, tx - b), min(sy - a, ty - b), max(sx + a, tx + b), max(sy + a, ty + b)),
    )


def fused(a: Shape, b: Shape, softness: float) -> Shape:
    """Return both shapes, grown together where they meet, over about `softness`."""

    def distance(x: PixelValues, y: PixelValues) -> PixelValues:
        da, db = a.distance(x, y), b.distance(x, y)
        gap = np.maximum(softness - np.abs(da - db), 0)
        return np.minimum(da, db) - gap * gap * (0.25 / softness)

    left, top, right, bottom = _hull(a.bounds, b.bounds)
    spare = softness / 4
    return Shape(distance, (left - spare, top - spare, right + spare, bottom + spare))


def repeated(cell: Shape, dx: float, dy: float, bounds: Bounds) -> Shape:
    """Return copies of a cell every (dx, dy) from the bounds' left top corner.

    Args:
        cell: The shape to repeat; it lies in 0..dx, 0..dy.
        dx: Distance of two copies to the right.
        dy: Distance of two copies down.
        bounds: (left, top, right, bottom) of all copies.
    """
    left, top = bounds[:2]

    def distance(x: PixelValues, y: PixelValues) -> PixelValues:
        x, y = x - left, y - top
        return cell.distance(x - np.floor(x / dx) * dx, y - np.floor(y / dy) * dy)

    return Shape(distance, bounds)


def arc(x: float, y: float, radius: float, first: float, last: float) -> list[Point]:
    """Return nine points along a circle from angle `first` to `last` (radians), for `stroke`."""
    angles = [first + (last - first) * i / 8 for i in range(9)]
    return [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in angles]


def around(x: float, y: float, radius: float, count: int, first: float = 0.0) -> list[Point]:
    """Return `count` points evenly on a circle, from the angle `first` (radians)."""
    angles = [first + 2 * math.pi * i / count for i in range(count)]
    return [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in angles]


def _hull(a: Bounds, b: Bounds) -> Bounds:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _around(points: Sequence[Point]) -> Bounds:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs), min(ys), max(xs), max(ys)
