"""Linear classifiers on features: three losses, fitted by scikit-learn or by torch.

Both minimise, over weights W (D, C) and a bias b,

    C · Σᵢ loss(xᵢW + b, yᵢ) + ½‖W‖²

    softmax   the multinomial logistic loss
    svm       each class against the rest, squared hinge loss; ½‖b‖² is added, as in liblinear
    sigmoid   each class against the rest, logistic loss: for images that show several classes

which is strictly convex in W: there is one answer, and each solver is the other's test. Torch
takes the features in pieces, so that they need not fit in memory, and adds up the whole gradient
(L-BFGS): nothing is drawn at random and there is no learning rate to be found.

If there are fewer samples than features, they can be turned into the space that the samples span
(`Span`): a change of coordinates that leaves every product, and so the answer, as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import BadOption

__all__ = [
    "IN_MEMORY", "Linear", "Loss", "Rows", "Solver", "Span", "fit_linear", "solver_for",
]  # fmt: skip

IN_MEMORY = 50_000  # samples; beyond, torch takes them in pieces
LIBLINEAR_WORK = 10**8  # samples x features x classes: liblinear takes about 2 s for that
PIECE = 4096  # samples
EVALUATIONS = 300  # of the whole gradient, at most
HISTORY = 10
RIDGE = 1e-6  # of the mean squared norm, added to the Gram matrix: above float32's rounding

Floats = NDArray[np.float32]


class Loss(StrEnum):
    """What is minimised; the module's docstring has the formula."""

    SOFTMAX = "softmax"
    SVM = "svm"
    SIGMOID = "sigmoid"


class Solver(StrEnum):
    """Who minimises. AUTO: `solver_for`."""

    AUTO = "auto"
    SKLEARN = "sklearn"
    TORCH = "torch"


class Rows(Protocol):
    """Samples that may be too many for memory: (N, D), read in slices. A numpy array is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier. weights : (D, C); bias : (C,)"""

    weights: NDArray[Any]
    bias: NDArray[Any]

    def scores(self, features: NDArray[Any]) -> NDArray[Any]:
        """(N, C): the larger, the more of the class."""
        return features @ self.weights + self.bias

    def predict(self, features: NDArray[Any]) -> NDArray[np.int64]:
        """int64 (N,), the class of the largest score."""
        return self.scores(features).argmax(1)


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
        """features : (N, D), worth the turn where N < D"""
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


def solver_for(
    loss: Loss, samples: int, features: int, classes: int, asked: Solver = Solver.AUTO
) -> Solver:
    """scikit-learn up to IN_MEMORY samples, torch beyond.

    Torch also fits what scikit-learn is slow at: a large SVM, and a logistic loss per class, of
    which torch fits all classes at once.

    Raises  BadOption: scikit-learn is needed and not installed.
    """
    slow = loss is Loss.SIGMOID or (
        loss is Loss.SVM and samples * features * classes > LIBLINEAR_WORK
    )
    if asked is Solver.TORCH or (asked is Solver.AUTO and (samples > IN_MEMORY or slow)):
        return Solver.TORCH
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise BadOption(
            "scikit-learn is not installed: pip install 'convscope[probe]', or give --solver torch"
        ) from None
    return Solver.SKLEARN


def fit_linear(
    features: Rows,
    targets: NDArray[np.int64],
    loss: Loss,
    cost: float,
    *,
    classes: int,
    solver: Solver = Solver.AUTO,
    start: Linear | None = None,
    tolerance: float = 1e-4,
    device: str | torch.device = "cpu",
) -> Linear:
    """The minimum of the module's formula.

    features : (N, D), best with a mean squared norm of 1
    targets : int64 (N,), classes; for `sigmoid` (N, C), 1, 0, or -1 for what does not count
    cost : the formula's C;   start : where torch begins
    tolerance : of the largest entry of the gradient of the mean loss, as scikit-learn's

    Raises  BadOption: scikit-learn is needed and not installed.
    """
    count, length = features.shape
    chosen = solver_for(loss, count, length, classes, solver)
    there = np.arange(classes) if loss is Loss.SIGMOID else np.unique(targets)
    if len(there) == 1:
        return _spread(np.zeros((1, length), np.float32), np.zeros(1), there, classes)
    met = targets if loss is Loss.SIGMOID else np.searchsorted(there, targets)
    if chosen is Solver.SKLEARN:
        found = _by_sklearn(np.asarray(features[:]), met, loss, cost, tolerance)
    else:
        begin = start if start is None or len(there) == classes else _only(start, there)
        place = torch.device(device)
        found = _by_torch(features, met, loss, cost, len(there), begin, tolerance, place)
    if len(there) == classes:
        return found
    return _spread(found.weights.T, found.bias, there, classes)


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


# scikit-learn


def _by_sklearn(
    features: NDArray[Any],
    targets: NDArray[np.int64],
    loss: Loss,
    cost: float,
    tolerance: float,
) -> Linear:
    if loss is Loss.SIGMOID:
        return _each_class(features, targets, cost, tolerance)
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


# torch


def _by_torch(
    features: Rows,
    targets: NDArray[np.int64],
    loss: Loss,
    cost: float,
    classes: int,
    start: Linear | None,
    tolerance: float,
    device: torch.device,
) -> Linear:
    count = features.shape[0]
    if count > 2 * IN_MEMORY and start is None:  # a part first: it is near the answer
        step = -(-count // IN_MEMORY)
        start = _by_torch(
            features[::step], targets[::step], loss, cost, classes, None, tolerance, device
        )
    problem = _Problem(features, targets, loss, cost, device)
    theta = problem.begin(classes, start)
    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=EVALUATIONS,
        max_eval=EVALUATIONS,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        value, theta.grad = problem.value_and_gradient(theta)
        return value

    optimiser.step(closure)
    found = theta.detach().cpu().numpy()
    return Linear(found[:-1], found[-1])


class _Problem:
    """The objective over N, (1/N) Σ loss + ‖W‖² / (2CN), and its gradient, piece by piece."""

    def __init__(
        self,
        features: Rows,
        targets: NDArray[np.int64],
        loss: Loss,
        cost: float,
        device: torch.device,
    ) -> None:
        self.features, self.loss, self.device = features, loss, device
        self.targets = torch.from_numpy(np.ascontiguousarray(targets))
        self.count = features.shape[0]
        self.penalty = 1.0 / (cost * self.count)
        whole = self.count <= IN_MEMORY
        self.held = [self._read(0, self.count)] if whole else None

    def begin(self, classes: int, start: Linear | None) -> Tensor:
        """(D + 1, C): the weights and below them the bias."""
        dtype = self._pieces().__next__()[0].dtype
        theta = torch.zeros(self.features.shape[1] + 1, classes, dtype=dtype, device=self.device)
        if start is not None:
            theta[:-1] = torch.from_numpy(start.weights)
            theta[-1] = torch.from_numpy(start.bias)
        return theta.requires_grad_()

    @torch.no_grad()
    def value_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        weights, bias = theta[:-1], theta[-1]
        gradient = torch.zeros_like(theta)
        value = torch.zeros((), dtype=theta.dtype, device=theta.device)
        for rows, targets in self._pieces():
            lost, slopes = LOSSES[self.loss](torch.addmm(bias, rows, weights), targets)
            value += lost / self.count
            gradient[:-1].addmm_(rows.T, slopes, alpha=1 / self.count)
            gradient[-1] += slopes.sum(0) / self.count
        value += 0.5 * self.penalty * weights.square().sum()
        gradient[:-1] += self.penalty * weights
        if self.loss is Loss.SVM:
            value += 0.5 * self.penalty * bias.square().sum()
            gradient[-1] += self.penalty * bias
        return value, gradient

    def _pieces(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.held is not None:
            yield from self.held
            return
        for first in range(0, self.count, PIECE):
            yield self._read(first, min(first + PIECE, self.count))

    def _read(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(np.ascontiguousarray(self.features[first:last]))
        return rows.to(self.device), self.targets[first:last].to(self.device)


def _softmax(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logs = scores.log_softmax(1)
    slopes = logs.exp()
    slopes[torch.arange(len(scores), device=scores.device), targets] -= 1
    return F.nll_loss(logs, targets, reduction="sum"), slopes


def _squared_hinge(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    signs = torch.full_like(scores, -1.0).scatter_(1, targets[:, None], 1.0)
    short = (1 - signs * scores).clamp_min(0)
    return short.square().sum(), -2 * signs * short


def _sigmoid(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    counts = (targets >= 0).to(scores.dtype)
    wanted = targets.clamp_min(0).to(scores.dtype)
    lost = F.binary_cross_entropy_with_logits(scores, wanted, counts, reduction="sum")
    return lost, (scores.sigmoid() - wanted) * counts


LOSSES: dict[Loss, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    Loss.SOFTMAX: _softmax,
    Loss.SVM: _squared_hinge,
    Loss.SIGMOID: _sigmoid,
}
"""Scores (n, C) and targets -> the summed loss, and its derivative by the scores."""
