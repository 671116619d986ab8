"""How good a classifier is: accuracy averaged over classes, average precision. Numbers only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision", "class_accuracies", "mean_class_accuracy"]


def class_accuracies(
    predicted: NDArray[np.int64], truth: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """(classes,) share of each class's images that are told right; NaN for a class without any."""
    counts = np.bincount(truth, minlength=classes)
    right = np.bincount(truth[predicted == truth], minlength=classes)
    return np.where(counts > 0, right / np.maximum(counts, 1), np.nan)


def mean_class_accuracy(
    predicted: NDArray[np.int64], truth: NDArray[np.int64], classes: int
) -> float:
    """Per-class accuracy averaged over the classes: large classes count no more than small ones."""
    return float(np.nanmean(class_accuracies(predicted, truth, classes)))


def average_precision(scores: NDArray[Any], truth: NDArray[np.int64]) -> float:
    """Compute the area under the interpolated precision-recall curve, as PASCAL VOC since 2010.

    Precision at a recall is the best precision at that recall or a higher one. Images of one score
    enter together, so their order does not matter.

    Args:
        scores: The larger, the surer.
        truth: 1 where an image shows the class, 0 where it does not, -1 where it does not count.

    Returns:
        The average precision; NaN where no image shows the class.

    Shape:
        scores, truth: (N,).

    Source:
        The VOC 2012 development kit, §3.4.1.
    """
    counts = truth >= 0
    scores, shows = scores[counts], truth[counts] == 1
    if not shows.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last of each score
    found = np.cumsum(shows[order])[ends]
    precision = found / (ends + 1)
    interpolated = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(found / found[-1], prepend=0.0) * interpolated).sum())
