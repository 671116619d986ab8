"""Linear classifiers on features: three losses.

What is minimised, over weights W (D, C) and a bias b, is

    C · Σᵢ loss(xᵢW + b, yᵢ) + ½‖W‖²

    softmax   the multinomial logistic loss
    svm       each class against the rest, squared hinge loss; ½‖b‖² is added, as in liblinear
    sigmoid   each class against the rest, logistic loss: for images that show several classes

which is strictly convex in W: there is one answer (the tests hold it against scikit-learn's). The
features are taken in pieces, so that they need not fit in memory, and the whole gradient is added
up (L-BFGS, fit_torch.py): nothing is drawn at random and there is no learning rate to be found.

If there are fewer samples than features, they can be turned into the space that the samples span
(linear_model.Span): a change of coordinates that leaves every product, and so the answer, as it
is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.transfer.fit_torch import by_torch
from convscope.experiments.transfer.linear_model import Linear, LinearProblem, Loss, Rows

__all__ = ["fit_linear"]


def fit_linear(
    features: Rows,
    targets: NDArray[np.int64],
    problem: LinearProblem,
    cost: float,
    *,
    start: Linear | None = None,
    tolerance: float = 1e-4,
) -> Linear:
    """Fit a linear classifier: find the minimum of the module's formula.

    Args:
        features: One row per image, best with a mean squared norm of 1.
        targets: The classes; for `sigmoid` a column per class: 1, 0, or -1 for what does not count.
        problem: The loss, the number of classes, and where to fit.
        cost: The formula's C.
        start: Where the search begins; None: at zero.
        tolerance: Of the largest entry of the gradient of the mean loss, as scikit-learn's.

    Shape:
        features: (N, D). targets: int64 (N,), or (N, C) for `sigmoid`.
    """
    length, classes, loss = features.shape[1], problem.classes, problem.loss
    there = np.arange(classes) if loss is Loss.SIGMOID else np.unique(targets)
    if len(there) == 1:
        return _spread(np.zeros((1, length), np.float32), np.zeros(1), there, classes)
    met = targets if loss is Loss.SIGMOID else np.searchsorted(there, targets)
    begin = start if start is None or len(there) == classes else _only(start, there)
    fitted = by_torch(features, met, replace(problem, classes=len(there)), cost, begin, tolerance)
    if len(there) == classes:
        return fitted
    return _spread(fitted.weights.T, fitted.bias, there, classes)


def _only(model: Linear, there: NDArray[np.int64]) -> Linear:
    return Linear(model.weights[:, there], model.bias[there])


def _spread(
    rows: NDArray[Any], bias: NDArray[Any], there: NDArray[np.int64], classes: int
) -> Linear:
    """A classifier of the classes that were met, as one of all; the others are never said."""
    weights = np.zeros((rows.shape[1], classes), rows.dtype)
    whole = np.full(classes, -np.inf, rows.dtype)
    weights[:, there], whole[there] = rows.T, bias
    return Linear(weights, whole)
