"""How well an occlusion map finds the object, where it is known what the object's pixels are.

A position of the occluder is on the object if the centre of its visible part is. Three scores, each
with what chance gives: whether the map falls most on the object (the pointing game; chance is the
share of positions on it), how well its fall tells positions on the object from those beside it
(area under the ROC curve; chance 0.5), and the mean fall on it and beside it.

Of the probability, the first two are taken of its log-odds, log p/(1-p): they order positions as it
does, and go on where it is rounded to 1. How far it fell they do not say, so an image in which the
probability falls by at most a share HARDLY of itself, wherever the occluder is, is marked as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.methods.occlusion import OcclusionMaps
from convscope.record import Record, key
from convscope.stats import Estimate, Rate, mean_of, rank_correlation, roc_auc

__all__ = [
    "HARDLY", "Agreement", "PointingGame", "Scores", "agreement", "on_object", "point", "scores",
]  # fmt: skip


HARDLY = 0.05  # of the probability: what falls by no more leaves the answer as it is


@dataclass(frozen=True)
class PointingGame(Record):
    """One map of one image against the truth.

    Attributes:
        hit: the map falls most on the object (not so if it falls nowhere).
        chance: share of the positions that are on the object.
        detection: area under the ROC curve.
        inside, outside: mean fall on the object, and beside it.
        most: the largest fall.
    """

    hit: bool
    chance: float
    detection: float
    inside: float
    outside: float
    most: float


@dataclass(frozen=True)
class Scores(Record):
    """Over all images: how often a map points at the object, how well it detects it, the mean fall
    on the object and beside it, and the difference of these."""

    pointing: Rate
    detection: Estimate
    inside: Estimate
    outside: Estimate
    difference: Estimate = field(metadata=key("inside_minus_outside"))


@dataclass(frozen=True)
class Agreement:
    """Whether a feature map's activity falls where its projection shows structure.

    Attributes:
        correlation: Spearman's, of the activity's fall with the projection's energy under the
            occluder.
        percentile: of that energy where the activity is lowest, among all positions, 0 to 1.
    """

    correlation: float
    percentile: float


def on_object(mask: NDArray[np.bool_], maps: OcclusionMaps) -> NDArray[np.bool_]:
    """bool (R, C): whether the centre of the occluder's visible part is on a mask (H, W)."""
    centres = []
    for corners, size, extent in zip(
        (maps.rows, maps.columns), maps.occluder.size, mask.shape, strict=True
    ):
        ends = (corners + size).clip(max=extent)
        centres.append(((corners + ends) // 2).clip(max=extent - 1).numpy())
    return mask[centres[0][:, None], centres[1]]


def point(
    values: Tensor,
    base: float,
    on: NDArray[np.bool_],
    ordered: tuple[Tensor, float] | None = None,
) -> PointingGame:
    """The scores of one map of one image.

    Args:
        values: (R, C), with the occluder there.
        base: without it.
        on: (R, C), of `on_object`.
        ordered: what tells where the fall is larger, if finer than the values, and it without
            occluder.
    """
    fall = base - values.double().numpy()
    finer, start = (values, base) if ordered is None else ordered
    order = start - finer.double().numpy()
    return PointingGame(
        hit=bool(order.max() > 0 and on.ravel()[int(order.argmax())]),
        chance=float(on.mean()),
        detection=roc_auc(order, on),
        inside=float(fall[on].mean()) if on.any() else 0.0,
        outside=float(fall[~on].mean()) if not on.all() else 0.0,
        most=float(fall.max()),
    )


def scores(points: Sequence[PointingGame]) -> Scores:
    """Of one kind of map over several images."""
    return Scores(
        Rate.of([one.hit for one in points], [one.chance for one in points]),
        mean_of([one.detection for one in points]),
        mean_of([one.inside for one in points]),
        mean_of([one.outside for one in points]),
        mean_of([one.inside - one.outside for one in points]),
    )


def agreement(maps: OcclusionMaps) -> Agreement:
    """Of the activity map with the projection of the map's strongest unit."""
    energy = maps.projection.double().square().sum(0)  # (H, W)
    height, width = energy.shape
    total = torch.zeros(height + 1, width + 1, dtype=torch.float64)
    total[1:, 1:] = energy.cumsum(0).cumsum(1)
    tops, lefts = maps.rows, maps.columns
    bottoms = (tops + maps.occluder.size[0]).clip(max=height)
    rights = (lefts + maps.occluder.size[1]).clip(max=width)
    under = (
        total[bottoms][:, rights] - total[tops][:, rights]
        - total[bottoms][:, lefts] + total[tops][:, lefts]
    ).flatten()  # fmt: skip
    fall = maps.base_activity - maps.activity.double().flatten()
    there = under[int(maps.activity.argmin())]
    return Agreement(
        rank_correlation(fall.numpy(), under.numpy()),
        float((under < there).double().mean() + (under == there).double().mean() / 2),
    )
