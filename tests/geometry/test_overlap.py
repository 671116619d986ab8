"""Overlaps of boxes against counted pixels, and suppression against a loop over pairs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from convscope.geometry.overlap import areas, clipped, overlaps, suppressed

SIDE = 12


def some_boxes(count: int, seed: int) -> NDArray[np.float64]:
    dice = np.random.default_rng(seed)
    corners = dice.integers(0, SIDE - 1, (count, 2))
    sizes = dice.integers(1, SIDE, (count, 2))
    return np.concatenate([corners, (corners + sizes).clip(max=SIDE)], 1).astype(np.float64)


def painted(box: NDArray[np.float64]) -> NDArray[np.bool_]:
    top, left, bottom, right = box.astype(int)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("seed", range(3))
def test_the_overlap_is_the_share_of_pixels_in_both(seed: int) -> None:
    first, second = some_boxes(15, seed), some_boxes(9, seed + 10)
    found = overlaps(first, second)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            both = painted(a) & painted(b)
            either = painted(a) | painted(b)
            assert found[i, j] == pytest.approx(both.sum() / either.sum(), abs=1e-12)


def test_a_box_without_pixels_overlaps_nothing() -> None:
    assert overlaps([[3, 3, 3, 9]], [[0, 0, 5, 5], [3, 3, 3, 9]]).tolist() == [[0.0, 0.0]]
    assert areas([[5, 5, 2, 9]]).tolist() == [0.0]
    assert overlaps([], [[0, 0, 1, 1]]).shape == (0, 1)


def test_a_box_is_cut_by_the_edge_of_the_image() -> None:
    assert clipped([[-2, 1, 3, 9]], 4, 5).tolist() == [[0, 1, 3, 5]]


def naive_suppression(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], most: float
) -> list[int]:
    """A box is kept unless a kept one of a higher score shares too many pixels with it."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        clear = True
        for j in kept:
            both = (painted(boxes[i]) & painted(boxes[j])).sum()
            either = (painted(boxes[i]) | painted(boxes[j])).sum()
            clear = clear and both / either <= most
        if clear:
            kept.append(i)
    return kept


@pytest.mark.parametrize("most", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_suppression_is_that_of_a_loop_over_pairs(seed: int, most: float) -> None:
    boxes = some_boxes(40, seed)
    scores = np.random.default_rng(seed).integers(0, 8, 40) / 4.0  # with ties
    assert suppressed(boxes, scores, most).tolist() == naive_suppression(boxes, scores, most)
