"""Accuracy and average precision, against counts by hand and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from convscope.experiments.transfer.scores import (
    average_precision,
    class_accuracies,
    mean_class_accuracy,
)


def test_average_precision_of_six_images_is_what_one_counts_by_hand() -> None:
    # ranked: yes no yes no no yes; precision at the hits 1, 2/3, 3/6, each the best to its right
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    truth = np.array([1, 0, 1, 0, 0, 1])
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)


def test_a_later_better_precision_counts_for_the_recall_before_it() -> None:
    # ranked: no yes yes; precision at the hits 1/2, 2/3: interpolated, both count 2/3
    found = average_precision(np.array([3.0, 2.0, 1.0]), np.array([0, 1, 1]))
    assert found == pytest.approx(2 / 3)


def test_equal_scores_enter_together_whatever_their_order() -> None:
    truth = np.array([1, 0, 0, 1])
    for order in ([0, 1, 2, 3], [1, 2, 3, 0], [3, 2, 1, 0]):
        assert average_precision(np.ones(4), truth[order]) == pytest.approx(0.5)


def test_images_that_do_not_count_change_nothing() -> None:
    scores, truth = np.array([0.9, 0.8, 0.7]), np.array([1, -1, 1])
    assert average_precision(scores, truth) == 1.0
    assert math.isnan(average_precision(scores, np.array([0, -1, 0])))


def test_it_is_scikit_learns_curve_made_falling() -> None:
    dice = np.random.default_rng(0)
    for _ in range(20):
        truth = (dice.random(40) < 0.3).astype(np.int64)
        truth[0] = 1
        scores = np.round(truth * 0.5 + dice.random(40), 1)
        precision, recall, _ = precision_recall_curve(truth, scores)
        falling = np.maximum.accumulate(precision)  # their recall falls along the arrays
        area = float(-(np.diff(recall) * falling[:-1]).sum())
        assert average_precision(scores, truth) == pytest.approx(area)


def test_accuracy_is_averaged_over_classes_not_images() -> None:
    truth = np.array([0, 0, 0, 0, 1])
    predicted = np.array([0, 0, 0, 0, 0])
    assert mean_class_accuracy(predicted, truth, 3) == 0.5
    assert np.isnan(class_accuracies(predicted, truth, 3)[2])
