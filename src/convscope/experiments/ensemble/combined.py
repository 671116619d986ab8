"""Averages of several networks' softmax outputs, from the numbers alone: errors, gains, tests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.record import Record
from convscope.stats import Estimate, mean_of, sign_test

__all__ = ["Group", "McNemarTest", "Score", "Scoring", "Size", "combine"]

MOST_SUBSETS = 200  # of one size; where there are more, as many are drawn

Chances = NDArray[np.float32]


@dataclass(frozen=True)
class Score(Record):
    """Errors, shares of the images 0..1, and their binomial standard errors.

    Attributes:
        error: the class is not the most probable one.
        top5_error: nor among the five most probable; of all classes where there are fewer.
        error_se, top5_se: their standard errors.
    """

    error: float
    top5_error: float
    error_se: float
    top5_se: float


@dataclass(frozen=True)
class Size(Record):
    """The averages of all subsets of one size (or of MOST_SUBSETS of them).

    Attributes:
        members: networks in each subset.
        subsets: how many there are.
        error, top5_error: means over the subsets.
        low, high: the best and the worst top-1.
        top5_low, top5_high: the best and the worst top-5.
    """

    members: int
    subsets: int
    error: float
    top5_error: float
    low: float
    high: float
    top5_low: float
    top5_high: float


@dataclass(frozen=True)
class McNemarTest(Record):
    """The average against one network on the same images: McNemar's exact test.

    Attributes:
        against: the network.
        rescued: images that the average tells and the network does not.
        lost: the other way round.
        p: two-sided, that both are equally likely.
    """

    against: str
    rescued: int
    lost: int
    p: float


@dataclass(frozen=True)
class Group(Record):
    """Networks whose outputs are averaged.

    Attributes:
        name: of the group.
        members: their names.
        score: of the average of all of them.
        sizes: averages of fewer of them, from 1 on.
        gain: the members' mean error less the average's, image by image, with its interval over
            images.
        best: against the member with the lowest error here, which favours that member.
    """

    name: str
    members: tuple[str, ...]
    score: Score
    sizes: tuple[Size, ...]
    gain: Estimate
    best: McNemarTest


@dataclass(frozen=True)
class Scoring(Record):
    """What one way of cutting the pictures gives.

    Attributes:
        crops: 1 or 10 of each picture.
        singles: of each network, by name.
        groups: by architecture, and all together last.
        disagreement: (M, M), share of the images that two networks name differently, in the order
            of `singles`.
    """

    crops: int
    singles: Mapping[str, Score]
    groups: tuple[Group, ...]
    disagreement: NDArray[np.float64]


def combine(
    chances: Mapping[str, Chances],
    labels: NDArray[np.int64],
    groups: Mapping[str, Sequence[str]],
    *,
    crops: int = 1,
    seed: int = 0,
) -> Scoring:
    """Scores of each network and of the averages of groups.

    Args:
        chances: softmax outputs (N, classes) by network.
        labels: (N,).
        groups: names of networks, by the group's name.
        crops: of each picture that gave the outputs.
        seed: of the subsets, where there are too many.
    """
    told = {name: each.argmax(1) for name, each in chances.items()}
    apart = [[float((a != b).mean()) for b in told.values()] for a in told.values()]
    singles = {name: _score(each, labels) for name, each in chances.items()}
    made = [
        _group(name, members, chances, singles, labels, seed) for name, members in groups.items()
    ]
    return Scoring(crops, singles, tuple(made), np.array(apart))


def _group(
    name: str,
    members: Sequence[str],
    chances: Mapping[str, Chances],
    singles: Mapping[str, Score],
    labels: NDArray[np.int64],
    seed: int,
) -> Group:
    outputs = [chances[member] for member in members]
    average = _average(outputs)
    best = min(members, key=lambda member: singles[member].error)
    right, alone = average.argmax(1) == labels, chances[best].argmax(1) == labels
    rescued, lost = int((right & ~alone).sum()), int((alone & ~right).sum())
    p = sign_test([1.0] * rescued + [-1.0] * lost)
    sizes = [_size(count, outputs, labels, seed) for count in range(1, len(outputs) + 1)]
    compared = McNemarTest(best, rescued, lost, p)
    wrong = np.mean([output.argmax(1) != labels for output in outputs], 0)  # (N,)
    gain = mean_of((wrong - ~right).tolist())
    return Group(name, tuple(members), _score(average, labels), tuple(sizes), gain, compared)


def _average(outputs: Sequence[Chances]) -> NDArray[np.float64]:
    """The mean of probabilities, summed in one order."""
    total = np.zeros(outputs[0].shape, np.float64)
    for output in outputs:
        total += output
    return total / len(outputs)


def _size(count: int, outputs: Sequence[Chances], labels: NDArray[np.int64], seed: int) -> Size:
    subsets = _subsets(len(outputs), count, seed)
    scores = [_wrong(_average([outputs[i] for i in subset]), labels) for subset in subsets]
    first, five = zip(*scores, strict=True)
    return Size(
        count, len(subsets), sum(first) / len(first), sum(five) / len(five),
        min(first), max(first), min(five), max(five),
    )  # fmt: skip


def _subsets(members: int, count: int, seed: int) -> list[tuple[int, ...]]:
    """All of them in order, or different ones drawn from the seed."""
    if math.comb(members, count) <= MOST_SUBSETS:
        return list(itertools.combinations(range(members), count))
    rng, drawn = np.random.default_rng((seed, count)), set[tuple[int, ...]]()
    while len(drawn) < MOST_SUBSETS:
        chosen = rng.choice(members, count, replace=False)
        drawn.add(tuple(sorted(int(each) for each in chosen)))
    return sorted(drawn)


def _score(chances: NDArray[Any], labels: NDArray[np.int64]) -> Score:
    first, five = _wrong(chances, labels)
    count = len(labels)
    return Score(
        first, five, math.sqrt(first * (1 - first) / count), math.sqrt(five * (1 - five) / count)
    )


def _wrong(chances: NDArray[Any], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Top-1 and top-5 error. Equal chances rank by the classes' order."""
    top1 = chances.argmax(1) != labels
    own = chances[np.arange(len(labels)), labels][:, None]
    above = chances > own
    ties = (chances == own) & (np.arange(chances.shape[1]) < labels[:, None])
    top5 = (above | ties).sum(1) >= 5
    return float(top1.mean()), float(top5.mean())
