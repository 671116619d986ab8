"""Linear classifiers by scikit-learn, the oracle of the formula in `transfer/linear.py`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.transfer.linear_model import Linear, Loss

__all__ = ["by_sklearn"]


def by_sklearn(
    features: NDArray[Any],
    targets: NDArray[np.int64],
    loss: Loss,
    cost: float,
    tolerance: float,
) -> Linear:
    """targets : int64 (N,), each of 0, 1, ... present; for `sigmoid` as `fit_linear`'s"""
    if loss is Loss.SIGMOID:
        return _each_class(features, targets, cost, tolerance)
    return _all_classes(features, targets, loss, cost, tolerance)


def _all_classes(
    features: NDArray[Any],
    targets: NDArray[np.int64],
    loss: Loss,
    cost: float,
    tolerance: float,
) -> Linear:
    two = int(targets.max()) == 1
    # for two classes scikit-learn fits the difference w of their scores, with ½‖w‖² where two
    # columns ±w/2 have ¼‖w‖²
    share = 2.0 if two and loss is Loss.SOFTMAX else 1.0
    model = _sklearn_model(loss, cost * share, tolerance).fit(features, targets)
    rows, bias = model.coef_, model.intercept_
    if two:
        rows, bias = np.vstack([-rows, rows]) / share, np.hstack([-bias, bias]) / share
    return Linear(rows.T, bias)


def _each_class(
    features: NDArray[Any], targets: NDArray[np.int64], cost: float, tolerance: float
) -> Linear:
    weights = np.zeros((features.shape[1], targets.shape[1]), features.dtype)
    bias = np.zeros(targets.shape[1], features.dtype)
    for each in range(targets.shape[1]):
        counts = targets[:, each] >= 0
        present = targets[counts, each]
        if len(set(present.tolist())) < 2:  # all alike: nothing to tell apart
            bias[each] = 1.0 if present.any() else -1.0
            continue
        model = _sklearn_model(Loss.SIGMOID, cost, tolerance).fit(features[counts], present)
        weights[:, each], bias[each] = model.coef_[0], model.intercept_[0]
    return Linear(weights, bias)


def _sklearn_model(loss: Loss, cost: float, tolerance: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if loss is Loss.SVM:
        return _Patient(LinearSVC(C=cost, tol=tolerance, max_iter=20_000, random_state=0))
    return _Patient(LogisticRegression(C=cost, tol=tolerance, max_iter=1000))


@dataclass(frozen=True)
class _Patient:
    """A model of scikit-learn's whose fit says nothing when it ends before its tolerance."""

    model: Any

    def fit(self, features: NDArray[Any], targets: NDArray[np.int64]) -> Any:
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            # an image or two per class is a task here, and no mistaken regression
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            return self.model.fit(features, targets)
