"""A linear probe: how well a simple classifier tells the classes from one layer's features.

Two things are chosen by cross-validation within the training images, never by the test images: how
features are scaled, and the weight C of the errors against the size of the weights. Each scaling
leaves features with a mean squared norm of 1, so that one range of C serves every layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData
from convscope.experiments.transfer.fit_torch import IN_MEMORY, PIECE
from convscope.experiments.transfer.linear import fit_linear
from convscope.experiments.transfer.linear_model import Linear, LinearProblem, Loss, Rows, Span
from convscope.experiments.transfer.scores import average_precision, mean_class_accuracy
from convscope.record import Record
from convscope.scan.features import Features

__all__ = ["COSTS", "Choice", "FeatureScaling", "Probe", "fit_probe"]

COSTS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
USUAL = 3  # where the search for C begins, and ends where there is nothing to validate on
PARTS = 3  # of the cross-validation
ROUGH, FINE = 1e-3, 1e-5  # tolerance while choosing, and of the final fit
CHOSEN_ON = 10_000  # samples, at most


class FeatureScaling(StrEnum):
    """How features become comparable.

    LENGTH divides each image's features by their Euclidean norm. STANDARD gives each feature mean
    0 and variance 1 over the training images, then divides all by the square root of their number.
    """

    LENGTH = "length"
    STANDARD = "standard"


@dataclass(frozen=True)
class Choice(Record):
    """What was chosen, and the score in cross-validation (None: too few images for one)."""

    scaling: FeatureScaling
    cost: float
    validated: float | None


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted classifier of one layer's features."""

    choice: Choice
    scaler: _Scaler
    model: Linear

    def scores(self, features: Features, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, classes) for the images of those indices; the larger, the surer."""
        rows = _Scaled(features, indices, self.scaler)
        parts = [self.model.scores(rows[first : first + PIECE]) for first in _steps(len(indices))]
        return np.concatenate(parts)


def fit_probe(
    features: Features,
    indices: NDArray[np.int64],
    targets: NDArray[np.int64],
    problem: LinearProblem,
    *,
    seed: int = 0,
) -> Probe:
    """Fit a linear probe; its scaling and C are chosen by cross-validation among its images alone.

    Args:
        features: The features of all images.
        indices: Which rows of the features to learn from.
        targets: Their classes; for `sigmoid` a column per class (`ImageSet.targets`).
        problem: The loss, the number of classes, and where to fit.
        seed: Of the partition for the cross-validation.

    Shape:
        indices: int64 (n,). targets: int64 (n,), or (n, classes) for `sigmoid`.

    Raises:
        BadData: There are fewer than two classes.
    """
    if problem.loss is not Loss.SIGMOID and len(np.unique(targets)) < 2:
        raise BadData("a probe needs images of at least two classes to tell apart")
    some = _some(len(indices), seed)
    held = targets[some]
    parts = _parts(held, seed)
    bases: dict[FeatureScaling, _Basis] = {}
    for scaling in FeatureScaling:
        scaler = _Scaler.fitted(features, indices[some], scaling)
        bases[scaling] = _Basis(_Scaled(features, indices[some], scaler)[:], scaler)
    choice = _choose(problem, bases, held, parts)
    basis = bases[choice.scaling]
    if len(some) == len(indices):
        return Probe(choice, basis.scaler, basis.fit(problem, targets, choice.cost))
    scaler = _Scaler.fitted(features, indices, choice.scaling)
    rows = _Scaled(features, indices, scaler)
    whole: Rows = rows if len(indices) > IN_MEMORY else rows[:]
    return Probe(choice, scaler, fit_linear(whole, targets, problem, choice.cost, tolerance=FINE))


def _score(problem: LinearProblem, scores: NDArray[Any], targets: NDArray[np.int64]) -> float:
    """Mean accuracy per class; for several classes an image, mean average precision."""
    if problem.loss is Loss.SIGMOID:
        each = [average_precision(scores[:, c], targets[:, c]) for c in range(problem.classes)]
        return float(np.nanmean(each)) if not np.isnan(each).all() else 0.0
    return mean_class_accuracy(scores.argmax(1), targets, problem.classes)


class _Basis:
    """Training images' scaled features, in the coordinates that are fewest."""

    def __init__(self, rows: NDArray[np.float32], scaler: _Scaler) -> None:
        self.scaler = scaler
        self.span = Span.of(rows) if rows.shape[0] < rows.shape[1] else None
        self.rows = rows if self.span is None else self.span.coordinates

    def fit(self, problem: LinearProblem, targets: NDArray[np.int64], cost: float) -> Linear:
        model = fit_linear(self.rows, targets, problem, cost, tolerance=FINE)
        return model if self.span is None else self.span.back(model)

    def validated(
        self,
        problem: LinearProblem,
        targets: NDArray[np.int64],
        parts: Sequence[NDArray[np.int64]],
        cost: float,
    ) -> float:
        """The mean score on each part of classifiers fitted on the others."""
        scores = []
        for part in parts:
            others = np.setdiff1d(np.arange(len(targets)), part)
            model = fit_linear(self.rows[others], targets[others], problem, cost, tolerance=ROUGH)
            scores.append(_score(problem, model.scores(self.rows[part]), targets[part]))
        return float(np.mean(scores))


def _choose(
    problem: LinearProblem,
    bases: dict[FeatureScaling, _Basis],
    targets: NDArray[np.int64],
    parts: Sequence[NDArray[np.int64]],
) -> Choice:
    """The scaling by its score at the usual C; then C, uphill from there, the smaller if equal."""
    usual = COSTS[USUAL]
    if not parts:
        return Choice(next(iter(bases)), usual, None)

    def score(scaling: FeatureScaling, cost: float) -> float:
        return bases[scaling].validated(problem, targets, parts, cost)

    at_usual = {scaling: score(scaling, usual) for scaling in bases}
    scaling = max(at_usual, key=lambda each: at_usual[each])
    found = {usual: at_usual[scaling]}
    place = COSTS.index(usual)
    for step in (-1, 1):
        at = place
        while 0 <= at + step < len(COSTS):
            found[COSTS[at + step]] = score(scaling, COSTS[at + step])
            worse = found[COSTS[at + step]] < found[COSTS[at]]
            if worse or (step > 0 and found[COSTS[at + step]] == found[COSTS[at]]):
                break
            at += step
    best = max(sorted(found), key=lambda cost: found[cost])
    return Choice(scaling, best, found[best])


def _some(count: int, seed: int) -> NDArray[np.int64]:
    """The samples that the choice is made on: all, or CHOSEN_ON of them at random, in order."""
    if count <= CHOSEN_ON:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 1]).permutation(count)[:CHOSEN_ON])


def _parts(targets: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """PARTS parts with equally many of each class; none where some class has a single image."""
    dice = np.random.default_rng([seed, 2])
    count = len(targets)
    if targets.ndim == 2:
        order = dice.permutation(count)
        return [np.sort(order[part::PARTS]) for part in range(PARTS)] if count >= PARTS * 2 else []
    sizes = np.bincount(targets)
    number = min(PARTS, int(sizes[sizes > 0].min()))
    if number < 2:
        return []
    part_of = np.empty(count, np.int64)
    for each in np.unique(targets):
        members = dice.permutation(np.flatnonzero(targets == each))
        part_of[members] = np.arange(len(members)) % number
    return [np.flatnonzero(part_of == part) for part in range(number)]


# Scaling of the features


@dataclass(frozen=True, eq=False)
class _Scaler:
    """One of the scalings with the numbers that it learned from the training images."""

    scaling: FeatureScaling
    centre: NDArray[np.float32] | None = None
    gain: NDArray[np.float32] | None = None

    @classmethod
    def fitted(
        cls, features: Features, indices: NDArray[np.int64], scaling: FeatureScaling
    ) -> _Scaler:
        if scaling is FeatureScaling.LENGTH:
            return cls(scaling)
        length = features.values.shape[1]
        total, squares = np.zeros(length), np.zeros(length)
        for first in _steps(len(indices)):
            rows = features.rows(indices[first : first + PIECE]).astype(np.float64)
            total += rows.sum(0)
            squares += np.square(rows).sum(0)
        centre = total / len(indices)
        variance = np.maximum(squares / len(indices) - centre**2, 0)
        varies = variance > 1e-12 * squares / len(indices)  # the others hold nothing but rounding
        gain = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 0)
        gain /= np.sqrt(max(int(varies.sum()), 1))
        return cls(scaling, centre.astype(np.float32), gain.astype(np.float32))

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.centre is not None and self.gain is not None:
            scaled: NDArray[np.float32] = (rows - self.centre) * self.gain
            return scaled
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Some images' features, scaled when they are read: `linear_model.Rows`."""

    features: Features
    indices: NDArray[np.int64]
    scaler: _Scaler

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.indices), self.features.values.shape[1]

    def __getitem__(self, rows: slice) -> Any:
        if rows.step not in (None, 1):  # a part of the samples: still too many to be read at once
            return _Scaled(self.features, self.indices[rows], self.scaler)
        return self.scaler(self.features.rows(self.indices[rows]))


def _steps(count: int) -> Iterator[int]:
    return iter(range(0, count, PIECE))
