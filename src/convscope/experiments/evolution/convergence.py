"""From which kept epoch on a feature map stays as it ends, and whether lower layers are first.

Functions here are arrays -> numbers. An array has a row per feature map and a column per kept
epoch, the last column the end of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.number_words import minus
from convscope.record import Record
from convscope.stats import rank_correlations

__all__ = ["Convergence", "Trend", "converged", "lower_first", "similar_from", "unchanged_from"]

Array = NDArray[Any]

DRAWS = 2_000  # permutations, and resamplings, that a trend is judged by
INTERVAL, LEVEL = (0.025, 0.975), 0.05
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Convergence(Record):
    """When a layer's maps came to stay as they are at the end. Every number is a kept epoch.

    Attributes:
        epochs: The convergence epoch of each map.
        lower: Lower quartile over the maps.
        median: Median over the maps.
        upper: Upper quartile over the maps.
        to_the_end: Share of maps that still changed between the last two kept epochs.
    """

    epochs: tuple[int, ...]
    lower: int
    median: int
    upper: int
    to_the_end: float

    def words(self) -> str:
        """Such as "epoch 5 (quartiles 3 to 7)"."""
        return f"epoch {self.median} (quartiles {self.lower} to {self.upper})"


@dataclass(frozen=True)
class Trend(Record):
    """Whether a higher layer converges later: a rank correlation over all maps.

    All maps are of one network, so the interval and p speak of the maps of this training, not of
    trainings to come.

    Attributes:
        rho: Spearman's correlation of a map's layer (counted from the bottom) with its convergence
            epoch. Positive: lower ones first. None where all maps converge at one epoch or there
            is one layer only.
        low: Lower end of the 95 % interval, maps resampled within their layers.
        high: Upper end of the interval.
        p: Two-sided, epochs permuted over all maps.
        maps: How many maps.
    """

    rho: float | None
    low: float | None
    high: float | None
    p: float | None
    maps: int

    def words(self) -> str:
        """The finding in a sentence."""
        if self.rho is None or self.low is None or self.high is None or self.p is None:
            return "no order of the layers can be told: the maps do not differ"
        numbers = minus(
            f"Spearman {self.rho:+.2f}, 95 % {self.low:+.2f} to {self.high:+.2f}, "
            f"p {'<' if self.p < 0.001 else '='}\u00a0{max(self.p, 0.001):.3f}, {self.maps} maps"
        )
        if self.low <= 0 <= self.high or self.p >= LEVEL:
            return f"no clear order of the layers ({numbers})"
        first = "lower" if self.rho > 0 else "upper"
        return f"{first} layers converge first ({numbers})"


def similar_from(similarity: Array, threshold: float) -> NDArray[np.int64]:
    """The first column from which on all are at least `threshold`, (M,) from (M, E).

    The last column, the end's likeness to itself, counts as similar whatever it says.
    """
    return _holds_from(similarity >= threshold)


def unchanged_from(winners: Array) -> NDArray[np.int64]:
    """The first column from which on all equal the last one, (M,) from (M, E)."""
    return _holds_from(winners == winners[:, -1:])


def _holds_from(holds: Array) -> NDArray[np.int64]:
    holds = np.array(holds, bool)
    holds[:, -1] = True
    backwards = np.logical_and.accumulate(holds[:, ::-1], axis=1)
    return np.asarray(holds.shape[1] - backwards.sum(1), np.int64)


def converged(columns: Array, epochs: Sequence[int]) -> Convergence | None:
    """Summarise when a layer's maps converged; None where there are no maps.

    Args:
        columns: Of each map, the number of its convergence epoch among the kept ones.
        epochs: The kept epochs.
    """
    if len(columns) == 0:
        return None
    found = np.asarray(epochs)[columns]
    lower, median, upper = np.quantile(found, QUARTILES, method="inverted_cdf")
    last = float(np.mean(columns == len(epochs) - 1))
    return Convergence(tuple(found.tolist()), int(lower), int(median), int(upper), round(last, 4))


def lower_first(layers: Sequence[Sequence[int]], *, seed: int = 0) -> Trend:
    """The trend over the layers from the bottom up, given each map's convergence epoch by layer."""
    depth = np.repeat(np.arange(len(layers)), [len(layer) for layer in layers])
    epochs = np.array([epoch for layer in layers for epoch in layer], float)
    rho = rank_correlations(depth, epochs[None])[0] if len(epochs) else np.nan
    if np.isnan(rho):
        return Trend(None, None, None, None, len(epochs))
    dice = np.random.default_rng(seed)
    shuffled = dice.permuted(np.broadcast_to(epochs, (DRAWS, len(epochs))), axis=1)
    extreme = np.abs(rank_correlations(depth, shuffled)) >= abs(rho) - 1e-12
    low, high = np.nanquantile(rank_correlations(depth, _resampled(layers, dice)), INTERVAL)
    return Trend(
        rho=round(float(rho), 4),
        low=round(float(low), 4),
        high=round(float(high), 4),
        p=round(float((1 + extreme.sum()) / (1 + DRAWS)), 5),
        maps=len(epochs),
    )


def _resampled(layers: Sequence[Sequence[int]], dice: np.random.Generator) -> Array:
    """(DRAWS, maps) epochs, each layer's drawn from its own with replacement."""
    drawn = [
        np.asarray(layer, float)[dice.integers(len(layer), size=(DRAWS, len(layer)))]
        for layer in layers
        if len(layer)
    ]
    return np.concatenate(drawn, axis=1)
