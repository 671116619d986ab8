"""What a linear classifier is, what it is fitted by, and the space that few samples span."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Linear", "LinearProblem", "Loss", "Rows", "Span"]

RIDGE = 1e-6  # of the mean squared norm, added to the Gram matrix: above float32's rounding

Floats = NDArray[np.float32]


class Loss(StrEnum):
    """What is minimised; linear.py has the formula."""

    SOFTMAX = "softmax"
    SVM = "svm"
    SIGMOID = "sigmoid"


@dataclass(frozen=True)
class LinearProblem:
    """What a linear classifier is fitted to.

    Attributes:
        loss: what is minimised.
        classes: how many classes there are.
        device: where it is fitted.
    """

    loss: Loss
    classes: int
    device: str | torch.device = "cpu"


class Rows(Protocol):
    """Samples that may be too many for memory: (N, D), read in slices. A numpy array is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier.

    Attributes:
        weights: Of each feature for each class.
        bias: Of each class.

    Shape:
        weights: (D, C). bias: (C,).
    """

    weights: NDArray[Any]
    bias: NDArray[Any]

    def scores(self, features: NDArray[Any]) -> NDArray[Any]:
        """(N, C): the larger, the more of the class."""
        return features @ self.weights + self.bias


@dataclass(frozen=True, eq=False)
class Span:
    """Samples by their coordinates in the space that they span: N numbers each, in place of D.

    X - mean = coordinates · Q with orthonormal rows Q; coordinates is the Cholesky factor of the
    Gram matrix, so Q is never computed.
    """

    features: Floats  # (N, D)
    centre: Floats  # (D,)
    coordinates: Floats  # (N, N), lower triangular

    @classmethod
    def of(cls, features: Floats) -> Span:
        """Turn features into the space that they span, which is worth it where N < D.

        Args:
            features: One row per image.

        Shape:
            features: (N, D).
        """
        centre = features.mean(0)
        centred = features - centre
        gram = torch.from_numpy(centred @ centred.T).double()
        ridge = RIDGE * max(float(gram.diagonal().mean()), float(np.finfo(np.float32).tiny))
        while True:  # samples that are equal, or nearly, leave the matrix singular
            factor, failed = torch.linalg.cholesky_ex(gram + ridge * torch.eye(len(gram)))
            if not failed:
                return cls(features, centre, factor.float().numpy())
            ridge *= 10

    def back(self, model: Linear) -> Linear:
        """A classifier of the coordinates as one of the features."""
        factor = torch.from_numpy(self.coordinates).double()
        inner = torch.from_numpy(np.asarray(model.weights, np.float64))
        shares = torch.linalg.solve_triangular(factor.T, inner, upper=True)  # (N, C)
        shares -= shares.mean(0)  # the features are not centred, Qᵀ's rows are
        weights = self.features.T @ shares.float().numpy()
        return Linear(weights, model.bias - self.centre @ weights)
