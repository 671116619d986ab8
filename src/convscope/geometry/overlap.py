"""How much boxes overlap, and which of many to keep: arrays of boxes -> numbers.

Boxes are rows of (top, left, bottom, right), half-open: their edges, which need not be whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["areas", "clipped", "overlaps", "suppressed"]

Boxes = NDArray[np.float64]


def areas(boxes: ArrayLike) -> NDArray[np.float64]:
    """Compute the areas of boxes; 0 of one whose edges are the wrong way round.

    Shape:
        boxes: (N, 4). The result: (N,).
    """
    rows = _rows(boxes)
    size: NDArray[np.float64] = (rows[:, 2:] - rows[:, :2]).clip(min=0).prod(1)
    return size


def clipped(boxes: ArrayLike, height: float, width: float) -> Boxes:
    """Return the parts of boxes that lie in an image of `height` rows and `width` columns.

    Shape:
        boxes, and the result: (N, 4).
    """
    return _rows(boxes).clip(0, [height, width, height, width])


def overlaps(boxes: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Compute the intersection over union (IoU) of every box with every other.

    Args:
        boxes: The boxes.
        others: What they are compared with.

    Returns:
        The area that two boxes share, as a share of what they cover together: 1 for equal boxes, 0
        for boxes that do not touch, and for those without area.

    Shape:
        boxes: (N, 4). others: (M, 4). The result: (N, M).

    Example:
        >>> overlaps([[0, 0, 2, 2]], [[0, 1, 2, 3], [0, 0, 2, 2]]).round(2).tolist()
        [[0.33, 1.0]]
    """
    first, second = _rows(boxes), _rows(others)
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (bottom_right - top_left).clip(min=0).prod(2)
    union = areas(first)[:, None] + areas(second)[None] - shared
    found: NDArray[np.float64] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return found


def suppressed(boxes: ArrayLike, scores: ArrayLike, most: float = 0.3) -> NDArray[np.int64]:
    """Keep the best of the boxes that overlap: greedy non-maximum suppression.

    The box with the highest score is kept, and those that overlap it by more than `most` are
    dropped; so on with the best of what is left. Of equal scores the first counts as higher.

    Args:
        boxes: The boxes.
        scores: The larger, the surer.
        most: The IoU up to which two boxes may both be kept.

    Returns:
        The numbers of the boxes that are kept, those with the highest scores first.

    Shape:
        boxes: (N, 4). scores: (N,). The result: int64, (kept,).

    Source:
        Girshick et al. 2014, §2.2, who take 0.3.

    Example:
        >>> suppressed([[0, 0, 4, 4], [0, 0, 4, 5], [6, 6, 8, 8]], [0.5, 0.9, 0.1]).tolist()
        [1, 2]
    """
    rows = _rows(boxes)
    left = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    kept: list[int] = []
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[overlaps(rows[best : best + 1], rows[left])[0] <= most]
    return np.array(kept, np.int64)


def _rows(boxes: Any) -> Boxes:
    return np.asarray(boxes, np.float64).reshape(-1, 4)
