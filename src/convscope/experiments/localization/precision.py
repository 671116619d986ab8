"""Average precision of detections, as PASCAL VOC defines it: ranked boxes -> numbers.

Detections of a class, over all images, are taken in the order of their scores. One is right if it
overlaps an object of its class by RIGHT or more, and no surer one has found that object: further
ones count as wrong. Those that find a `difficult` object do not count at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.localization.result import RIGHT
from convscope.geometry.overlap import overlaps

__all__ = ["detection_average_precision", "match_detections"]

POINTS = 11  # recalls 0, .1, ..., 1, of VOC until 2009


def match_detections(
    boxes: NDArray[Any], scores: NDArray[Any], truth: NDArray[Any], difficult: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Judge the detections of one class in one image.

    Args:
        boxes: That were found.
        scores: The larger, the surer.
        truth: The objects of the class.
        difficult: Which of them need not be found.

    Returns:
        For each detection 1 if it is right, 0 if it is wrong, -1 if it does not count.

    Shape:
        boxes: (N, 4). scores: (N,). truth: (M, 4). difficult: (M,). The result: (N,).
    """
    found = np.zeros(len(boxes), np.int8)
    if not len(truth):
        return found
    over, taken = overlaps(boxes, truth), np.zeros(len(truth), bool)
    for number in np.argsort(-np.asarray(scores), kind="stable"):
        best = int(over[number].argmax())
        if over[number, best] < RIGHT:
            continue
        if difficult[best]:
            found[number] = -1
        elif not taken[best]:
            found[number], taken[best] = 1, True
    return found


def detection_average_precision(
    scores: NDArray[Any], right: NDArray[np.int8], objects: int, *, eleven: bool = False
) -> float:
    """Compute the average precision of a class's detections in all images.

    Precision at a recall is the best precision at that recall or a higher one. Its mean is over all
    recalls (the area under the curve, VOC since 2010), or over the 11 of VOC 2007.

    Args:
        scores: The larger, the surer; of equal ones the first comes first.
        right: As `match_detections` says it.
        objects: How many are to be found: what was not found counts.
        eleven: Whether to take VOC 2007's 11 recalls.

    Returns:
        0 to 1; NaN where there is nothing to find.

    Shape:
        scores, right: (N,).

    Source:
        Everingham et al. 2010, §4.2; the VOC 2012 development kit, §3.4.1.

    Example:
        >>> detection_average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1], np.int8), 2)
        0.8333333333333333
    """
    if not objects:
        return float("nan")
    order = np.argsort(-np.asarray(scores), kind="stable")
    counting = right[order][right[order] >= 0]
    hits = np.cumsum(counting)
    recall = hits / objects
    precision = hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if eleven:
        ends = np.arange(POINTS) * objects  # recall of r tenths: 10 hits are r objects
        firsts = np.searchsorted(10 * hits, ends)
        reached = [float(best[first]) if first < len(best) else 0.0 for first in firsts]
        return sum(reached) / POINTS
    return float((np.diff(recall, prepend=0.0) * best).sum())
