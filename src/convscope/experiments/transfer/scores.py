"""How good a classifier is: accuracy averaged over classes, average precision. Numbers only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "average_precision",
    "average_precisions",
    "class_accuracies",
    "mean_class_accuracy",
]


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
    return float(average_precisions(scores, truth, np.ones((1, len(scores)), np.int64))[0])


def average_precisions(
    scores: NDArray[Any], truth: NDArray[np.int64], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute the average precision of several draws of the same images.

    Args:
        scores: As of `average_precision`.
        truth: As of `average_precision`.
        times: How often each draw holds each image.

    Returns:
        Of each draw; NaN where none of its images shows the class.

    Shape:
        scores, truth: (N,). times: (draws, N). Returns: (draws,).
    """
    counts = np.flatnonzero(truth >= 0)
    order = counts[np.argsort(-scores[counts], kind="stable")]
    if not len(order):
        return np.full(len(times), np.nan)
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last of each score
    seen = np.cumsum(times[:, order], axis=1)[:, ends]
    found = np.cumsum(times[:, order] * (truth[order] == 1), axis=1)[:, ends]
    shown = found[:, -1:]
    precision = found / np.maximum(seen, 1)
    interpolated = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    gained = np.diff(found / np.maximum(shown, 1), prepend=0.0, axis=1)
    return np.where(shown[:, 0] > 0, (gained * interpolated).sum(1), np.nan)
