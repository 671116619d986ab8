"""Linear classifiers by torch: samples in pieces, the whole gradient of linear.py's formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convscope.experiments.transfer.linear_model import Linear, LinearProblem, Loss, Rows

__all__ = ["IN_MEMORY", "LOSSES", "PIECE", "by_torch"]

IN_MEMORY = 50_000  # samples; beyond, they are taken in pieces
PIECE = 4096  # samples
EVALUATIONS = 300  # of the whole gradient, at most
HISTORY = 10
FEW = 2**24  # multiply-adds a pass; below, threads wait for each other longer than they work


def by_torch(
    features: Rows,
    targets: NDArray[np.int64],
    problem: LinearProblem,
    cost: float,
    start: Linear | None,
    tolerance: float,
) -> Linear:
    """Minimise the formula of `linear.py` in torch; `fit_linear` says what each argument is.

    Args:
        features: One row per image.
        targets: The classes, 0, 1, ... all present; for `sigmoid` as in `fit_linear`.
        problem: The loss, the number of classes, and where to fit.
        cost: The formula's C.
        start: Where the search begins; None: at zero.
        tolerance: Of the largest entry of the gradient.

    Shape:
        targets: int64 (N,).
    """
    count = features.shape[0]
    if count > 2 * IN_MEMORY and start is None:  # a part first: it is near the answer
        step = -(-count // IN_MEMORY)
        start = by_torch(features[::step], targets[::step], problem, cost, None, tolerance)
    objective = _Objective(features, targets, problem, cost)
    theta = objective.begin(problem.classes, start)
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
        value, theta.grad = objective.value_and_gradient(theta)
        return value

    with _threads(1 if count * features.shape[1] * problem.classes < FEW else None):
        optimiser.step(closure)
    found = theta.detach().cpu().numpy()
    return Linear(found[:-1], found[-1])


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Torch with so many threads, and then with as many as before; None: as they are."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Objective:
    """The objective over N, (1/N) Σ loss + ‖W‖² / (2CN), and its gradient, piece by piece."""

    def __init__(
        self,
        features: Rows,
        targets: NDArray[np.int64],
        problem: LinearProblem,
        cost: float,
    ) -> None:
        self.features, self.loss = features, problem.loss
        self.device = torch.device(problem.device)
        self.targets = torch.from_numpy(np.ascontiguousarray(targets))
        self.count = features.shape[0]
        self.penalty = 1.0 / (cost * self.count)
        whole = self.count <= IN_MEMORY
        self.held = [self._read(0, self.count)] if whole else None

    def begin(self, classes: int, start: Linear | None) -> Tensor:
        """(D + 1, C): the weights and below them the bias."""
        dtype = next(self._pieces())[0].dtype
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
        rows = torch.from_numpy(np.array(self.features[first:last]))  # a memory map is read-only
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
