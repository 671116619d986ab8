"""Pairs of images that are one picture, or that the network cannot tell apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.mistakes.nearest import Neighbours
from convscope.experiments.mistakes.result import Pair
from convscope.experiments.study import Context
from convscope.images.duplicates import Duplicate, duplicate_pairs, near_duplicates
from convscope.images.image_set import ImageSet
from convscope.store.results import ResultStore

__all__ = ["looked_alike"]

ALIKE = 0.98  # cosine of two images' features, from which on the network hardly tells them apart
CANDIDATE = 0.9  # cosine from which on two pictures are laid over each other
DIGITS = 4

Near = tuple[NDArray[np.int64], Neighbours]
"""The images that could be read, by index, and the nearest of each."""


def looked_alike(
    images: ImageSet,
    against: ImageSet | None,
    near: Near,
    results: ResultStore,
    context: Context,
) -> tuple[tuple[Pair, ...], int]:
    """Find pairs with different labels, within the set, and pairs across two sets.

    Args:
        images: the set.
        against: the other set; None is none.
        near: the nearest images of each.
        results: where the search is kept.
        context: workers and progress.

    Returns:
        The pairs, one picture first, and how many pairs of the set are one picture.
    """
    everyone, neighbours = near
    cosines = {
        (int(min(one, other)), int(max(one, other))): float(cosine)
        for one, others, row in zip(
            everyone, everyone[neighbours.rows], neighbours.cosines, strict=True
        )
        for other, cosine in zip(others, row, strict=True)
    }

    def searched() -> dict[str, Any]:
        workers, progress = context.running.workers, context.progress
        also = [pair for pair, cosine in cosines.items() if cosine >= CANDIDATE]
        within = duplicate_pairs(
            images, also=also, among=everyone.tolist(), workers=workers, progress=progress
        )
        across: tuple[Duplicate, ...] = ()
        if against is not None:
            across = near_duplicates(images, against, workers=workers, progress=progress)
        return {
            "within": [pair.to_dict() for pair in within],
            "across": [pair.to_dict() for pair in across],
        }

    found = results.record("duplicates", searched)
    within = [_pair(Duplicate(**each), images, images, cosines) for each in found["within"]]
    across = []
    if against is not None:
        across = [
            replace(_pair(Duplicate(**each), images, against, {}), across=True)
            for each in found["across"]
        ]
    same = {(pair.index, pair.other) for pair in within}
    alike = []
    for one, other, cosine in neighbours.mutual():
        a, b = sorted((int(everyone[one]), int(everyone[other])))
        if cosine >= ALIKE and (a, b) not in same:
            names = images.name(a), images.name(b)
            labels = _label(images, a), _label(images, b)
            alike.append(
                Pair(
                    a, names[0], labels[0], b, names[1], labels[1], None, round(cosine, DIGITS),
                    False, False,
                )
            )  # fmt: skip
    conflicting = [pair for pair in (*within, *alike) if pair.conflicting]
    order = sorted(conflicting, key=lambda pair: (pair.correlation is None, -(pair.cosine or 0)))
    across.sort(key=lambda pair: not pair.conflicting)
    return (*order, *across), len(within)


def _pair(
    found: Duplicate, images: ImageSet, others: ImageSet, cosines: dict[tuple[int, int], float]
) -> Pair:
    cosine = cosines.get((found.index, found.other))
    return Pair(
        found.index, found.name, _label(images, found.index),
        found.other, found.other_name, _label(others, found.other),
        found.correlation, None if cosine is None else round(cosine, DIGITS),
        found.mirrored, False,
    )  # fmt: skip


def _label(images: ImageSet, index: int) -> str | None:
    label = images.label(index)
    if label is None:
        return None
    return images.classes[label] if images.classes else str(label)
