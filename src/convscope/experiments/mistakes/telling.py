"""The maps that tell a class's mistakes from its right answers: arrays -> arrays.

Half of a class's images choose the maps, the other half judges them, so that no map is praised for
what it was chosen by. The null: which of the judging images are mistakes says nothing of the maps.
So mistakes are dealt anew among the images of each class, and the largest statistic of all maps and
classes of each dealing is what chance reaches somewhere (Westfall & Young 1993): a claim at 5 % is
made by chance in one of twenty studies, however many maps and classes there are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.mistakes.confident import dealt_parts
from convscope.stats import rank_values

__all__ = ["CLAIMED", "FEWEST", "CandidateMap", "roc_areas", "telling_maps"]

FEWEST = 8  # mistakes, and right answers, of a class that is judged
CLAIMED = 0.05  # a map tells where chance reaches as much, anywhere, less often than this
CHOSEN = 5  # maps of a class that the first half hands to the second
QUANTILE = 1.959964  # of the normal distribution, for 95 %

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CandidateMap:
    """A map that may tell a class's mistakes.

    Attributes:
        label: the class.
        map: the map's column.
        more: whether it is more active in mistakes; else it is less.
        area: how often it is more active in a mistake than in a right answer, in the judging half.
        low, high: its 95 % interval, by DeLong.
        p: how often dealt mistakes reach as much for this map.
        corrected: how often they do for any map and class.
        judged: the images of the judging half.
    """

    label: int
    map: int
    more: bool
    area: float
    low: float
    high: float
    p: float
    corrected: float
    judged: Indices


def roc_areas(values: Numbers, wrong: Flags) -> Numbers:
    """The area under the ROC curve of each map, for mistakes against right answers.

    Shape:
        values: (n, M). wrong: (n,), with both kinds. The result: (M,).
    """
    count = int(wrong.sum())
    ranks = rank_values(values.T)
    least = count * (count + 1) / 2
    return np.asarray((ranks[:, wrong].sum(1) - least) / (count * (len(wrong) - count)))


def telling_maps(
    values: NDArray[np.float32],
    labels: Indices,
    wrong: Flags,
    *,
    draws: int = 999,
    seed: int = 0,
) -> list[CandidateMap]:
    """Find maps that tell mistakes, class by class, the surest first.

    Args:
        values: of each image, a number for each map.
        labels: the class of each image; -1 is left out.
        wrong: whether the network was wrong about it.
        draws: dealings of the mistakes.
        seed: of halves and dealings.

    Returns:
        The chosen maps of each class that has FEWEST mistakes and right answers: first those
        beyond chance (`corrected` below .05), the surest of each class before the second ones.

    Shape:
        values: (N, M). labels, wrong: (N,).
    """
    largest = np.full(draws, -np.inf)
    chosen: list[tuple[int, Indices, Indices, Numbers, Numbers, Numbers]] = []
    for label in np.unique(labels[labels >= 0]).tolist():
        members = np.flatnonzero(labels == label)
        if min(wrong[members].sum(), (~wrong[members]).sum()) < FEWEST:
            continue
        first, second = dealt_parts(wrong[members].astype(np.int64), 2, seed)
        choosing, judging = members[first], members[second]
        strength = roc_areas(values[choosing].astype(np.float64), wrong[choosing]) - 0.5
        maps = np.argsort(-np.abs(strength), kind="stable")[:CHOSEN]
        signs = np.where(strength[maps] > 0, 1.0, -1.0)
        seen = values[judging][:, maps].astype(np.float64)
        dealt = _dealt(seen, wrong[judging], signs, draws, [seed, label])
        largest = np.maximum(largest, dealt.max(1))
        own = signs * (roc_areas(seen, wrong[judging]) - 0.5) / _spread(wrong[judging])
        chosen.append((label, maps, judging, signs, own, dealt))
    found = []
    for label, maps, judging, signs, own, dealt in chosen:
        for number, column in enumerate(maps.tolist()):
            reached = own[number] - 1e-9
            area, low, high = _delong(values[judging, column].astype(np.float64), wrong[judging])
            found.append(
                CandidateMap(
                    label, column, bool(signs[number] > 0), area, low, high,
                    float((1 + (dealt[:, number] >= reached).sum()) / (1 + draws)),
                    float((1 + (largest >= reached).sum()) / (1 + draws)),
                    judging,
                )
            )  # fmt: skip
    return _by_class(found)


def _by_class(found: list[CandidateMap]) -> list[CandidateMap]:
    """The surest map of each class first, then the second of each, and so on."""
    surest = sorted(found, key=lambda told: (told.corrected, -abs(told.area - 0.5)))
    met: Counter[int] = Counter()
    order = []
    for place, told in enumerate(surest):
        order.append((told.corrected >= CLAIMED, met[told.label], place, told))
        met[told.label] += 1
    return [told for *_, told in sorted(order, key=lambda each: each[:3])]


def _spread(wrong: Flags) -> float:
    """The standard deviation of an area that has nothing to do with the mistakes."""
    count, others = int(wrong.sum()), int((~wrong).sum())
    return float(np.sqrt((count + others + 1) / (12 * count * others)))


def _dealt(values: Numbers, wrong: Flags, signs: Numbers, draws: int, seed: list[int]) -> Numbers:
    """(draws, maps), the statistic of mistakes that are dealt anew."""
    dice, ranks = np.random.default_rng(seed), rank_values(values.T)
    count, others = int(wrong.sum()), int((~wrong).sum())
    found = np.empty((draws, len(ranks)))
    for draw in range(draws):
        some = dice.permutation(len(wrong))[:count]
        area = (ranks[:, some].sum(1) - count * (count + 1) / 2) / (count * others)
        found[draw] = signs * (area - 0.5)
    return found / _spread(wrong)


def _delong(values: Numbers, wrong: Flags) -> tuple[float, float, float]:
    """An area with its 95 % interval (DeLong, DeLong & Clarke-Pearson 1988)."""
    own, other = values[wrong], values[~wrong]
    above = (own[:, None] > other).astype(np.float64) + 0.5 * (own[:, None] == other)
    area = float(above.mean())
    variance = above.mean(1).var(ddof=1) / len(own) + above.mean(0).var(ddof=1) / len(other)
    half = QUANTILE * float(np.sqrt(variance))
    return area, max(0.0, area - half), min(1.0, area + half)
