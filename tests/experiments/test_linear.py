"""Linear classifiers: the one minimum, which scikit-learn finds too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from convscope.experiments.transfer import fit_torch
from convscope.experiments.transfer.fit_torch import LOSSES
from convscope.experiments.transfer.linear import fit_linear
from convscope.experiments.transfer.linear_model import LinearProblem, Loss, Span

from .by_sklearn import by_sklearn

KINDS = [Loss.SOFTMAX, Loss.SVM, Loss.SIGMOID]


def problem(
    loss: Loss, *, samples: int = 60, features: int = 8, classes: int = 4, seed: int = 0
) -> tuple[Any, Any]:
    """Classes that overlap, so that the minimum is well inside."""
    dice = np.random.default_rng(seed)
    labels = np.arange(samples) % classes
    centres = dice.normal(size=(classes, features))
    rows = centres[labels] + dice.normal(size=(samples, features)) * 1.5
    rows /= np.sqrt(np.square(rows).sum(1).mean())
    if loss is not Loss.SIGMOID:
        return rows, labels
    targets = (dice.random((samples, classes)) < 0.3).astype(np.int64)
    targets[np.arange(samples), labels] = 1
    targets[::7, 0] = -1
    return rows, targets


@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("classes", [2, 4])
def test_the_weights_are_those_of_scikit_learn(loss: Loss, classes: int) -> None:
    rows, targets = problem(loss, classes=classes)
    found = [
        by_sklearn(rows, targets, loss, 5.0, 1e-9),
        fit_linear(rows, targets, LinearProblem(loss, classes), 5.0, tolerance=1e-9),
    ]
    # softmax's bias is fixed up to a constant that all classes share
    shift = found[0].bias.mean() - found[1].bias.mean() if loss is Loss.SOFTMAX else 0.0
    np.testing.assert_allclose(found[0].weights, found[1].weights, atol=2e-3)
    np.testing.assert_allclose(found[0].bias, found[1].bias + shift, atol=2e-3)
    np.testing.assert_array_equal(found[0].scores(rows).argmax(1), found[1].scores(rows).argmax(1))


@pytest.mark.parametrize(("few", "threads"), [(2**24, 1), (1, 2)])
def test_a_small_problem_is_fitted_by_one_thread(
    few: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    plain = LOSSES[Loss.SOFTMAX]

    def watched(*given: Any) -> Any:
        used.append(torch.get_num_threads())
        if len(used) > 2:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setitem(LOSSES, Loss.SOFTMAX, watched)
    monkeypatch.setattr(fit_torch, "FEW", few)
    rows, targets = problem(Loss.SOFTMAX)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit_linear(rows, targets, LinearProblem(Loss.SOFTMAX, 4), 5.0)
        assert set(used) == {threads}
        assert torch.get_num_threads() == 2  # as it was, whatever happened
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("loss", KINDS)
def test_the_derivative_of_a_loss_is_that_of_autograd(loss: Loss) -> None:
    torch.manual_seed(0)
    scores = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 2, 1, 1, 0])
    if loss is Loss.SIGMOID:
        targets = torch.tensor([[1, 0, -1], [0, 0, 1], [1, 1, 1], [0, -1, 0], [1, 0, 0]])
    value, slopes = LOSSES[loss](scores, targets)
    (expected,) = torch.autograd.grad(value, scores)
    torch.testing.assert_close(slopes.detach(), expected)


@pytest.mark.parametrize("loss", KINDS)
def test_no_step_from_the_answer_lowers_the_objective(loss: Loss) -> None:
    rows, targets = problem(loss)
    found = fit_linear(rows, targets, LinearProblem(loss, 4), 3.0, tolerance=1e-8)

    def objective(weights: Any, bias: Any) -> float:
        scores = torch.from_numpy(rows @ weights + bias)
        lost, _ = LOSSES[loss](scores, torch.from_numpy(targets))
        own = 0.5 * (bias**2).sum() if loss is Loss.SVM else 0.0
        return 3.0 * float(lost) + 0.5 * (weights**2).sum() + own

    lowest = objective(found.weights, found.bias)
    dice = np.random.default_rng(1)
    for size in (1e-1, 1e-2):
        for _ in range(20):
            step = dice.normal(size=found.weights.shape) * size
            assert objective(found.weights + step, found.bias) > lowest


@pytest.mark.parametrize("loss", KINDS)
def test_pieces_that_do_not_fit_in_memory_give_the_same_weights(
    loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, targets = problem(loss, samples=200)
    whole = fit_linear(rows, targets, LinearProblem(loss, 4), 5.0, tolerance=1e-8)
    monkeypatch.setattr(fit_torch, "IN_MEMORY", 50)  # so that a part is fitted first, too
    monkeypatch.setattr(fit_torch, "PIECE", 32)
    rows.flags.writeable = False  # as those of a memory map
    pieces = fit_linear(rows, targets, LinearProblem(loss, 4), 5.0, tolerance=1e-8)
    np.testing.assert_allclose(pieces.weights, whole.weights, atol=2e-4)


@pytest.mark.parametrize("loss", KINDS)
def test_in_the_samples_span_the_answer_is_the_same(loss: Loss) -> None:
    rows, targets = problem(loss, samples=30, features=200)
    rows = rows.astype(np.float32)
    span = Span.of(rows)
    assert span.coordinates.shape == (30, 30)
    centred = rows - rows.mean(0) if loss is Loss.SVM else rows  # its bias has a price
    plain = fit_linear(centred, targets, LinearProblem(loss, 4), 5.0, tolerance=1e-6)
    inner = fit_linear(span.coordinates, targets, LinearProblem(loss, 4), 5.0, tolerance=1e-6)
    np.testing.assert_allclose(span.back(inner).weights, plain.weights, atol=2e-3)
    np.testing.assert_allclose(span.back(inner).scores(rows), plain.scores(centred), atol=5e-3)


def test_samples_that_are_equal_do_not_break_the_span() -> None:
    rows = np.repeat(np.eye(3, 50, dtype=np.float32), 2, axis=0)
    span = Span.of(rows)
    found = fit_linear(
        span.coordinates, np.array([0, 0, 1, 1, 2, 2]), LinearProblem(Loss.SOFTMAX, 3), 100.0
    )
    assert span.back(found).scores(rows).argmax(1).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("loss", [Loss.SOFTMAX, Loss.SVM])
def test_a_class_that_was_never_met_is_never_said(loss: Loss) -> None:
    rows, labels = problem(loss, classes=3)
    found = fit_linear(rows, labels * 2, LinearProblem(loss, 6), 5.0)
    assert set(found.scores(rows).argmax(1).tolist()) <= {0, 2, 4}


def test_a_class_that_no_image_shows_scores_low_everywhere() -> None:
    rows, targets = problem(Loss.SIGMOID)
    targets[:, 1] = 0
    found = fit_linear(rows, targets, LinearProblem(Loss.SIGMOID, 4), 5.0)
    assert (found.scores(rows)[:, 1] < 0).all()
