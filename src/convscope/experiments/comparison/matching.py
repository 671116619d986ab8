"""Which map of one layer is which map of another, and how alike two layers are.

Numbers only: tables of activations, a row per image and a column per map.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["assigned", "chance_level", "cka", "cosines", "map_correlations", "silent_maps"]

Table = NDArray[np.float64]

CONSTANT = 1e-6  # of a map's own size: one that varies less over the images is silent
CHANCE = 0.05  # how often shuffled images reach the level of chance


def silent_maps(values: Table) -> NDArray[np.bool_]:
    """Tell which maps answer the same to all images, so that nothing correlates with them.

    Args:
        values: Activations.

    Shape:
        values: (images, maps). The result: (maps,).
    """
    spread = np.linalg.norm(values - values.mean(0), axis=0)
    return np.asarray(spread <= CONSTANT * np.linalg.norm(values, axis=0))


def map_correlations(first: Table, second: Table) -> Table:
    """Pearson's correlation of every map of one layer with every map of another.

    Args:
        first: Activations of the one layer.
        second: Those of the other, of the same images in the same order.

    Returns:
        The correlations; 0 with a silent map.

    Shape:
        first: (images, A). second: (images, B). The result: (A, B).
    """
    return _standard(first).T @ _standard(second)


def assigned(alike: Table) -> tuple[tuple[int, int], ...]:
    """Pair rows and columns one to one, so that the sum of their likenesses is the largest.

    Args:
        alike: How alike each row and column are.

    Returns:
        (row, column) of each pair: as many as the smaller side has, in the rows' order.

    Shape:
        alike: (A, B).

    Source:
        The Hungarian method (Kuhn 1955); of networks' units: Li et al. 2015, "Convergent learning".
    """
    rows, columns = linear_sum_assignment(alike, maximize=True)
    return tuple((int(row), int(column)) for row, column in zip(rows, columns, strict=True))


def chance_level(first: Table, second: Table, draws: int, dice: np.random.Generator) -> float:
    """The largest correlation of any pair of maps that 5 % of shuffles of the images exceed.

    A shuffle deals the second layer's images out anew, so that no map has to do with any of the
    first layer's. The largest of all pairs is taken, so the level holds for all of them together.

    Args:
        first: Activations of the one layer.
        second: Those of the other.
        draws: Shuffles, 19 or more.
        dice: Draws them.

    Shape:
        first: (images, A). second: (images, B).
    """
    one, other = _standard(first), _standard(second)
    largest = sorted(
        (float((one.T @ other[dice.permutation(len(other))]).max()) for _ in range(draws)),
        reverse=True,
    )
    return largest[int(CHANCE * (draws + 1)) - 1]


def cosines(first: Table, second: Table) -> Table:
    """The cosine of every filter of one layer with every filter of another; 0 with an empty one.

    Args:
        first: Filters, a row each.
        second: Those of the other layer.

    Shape:
        first: (A, weights). second: (B, weights). The result: (A, B).
    """
    return _of_length_one(first.T).T @ _of_length_one(second.T)


def cka(first: Table, second: Table) -> float | None:
    """How alike two layers tell images apart, whatever their maps' numbers, signs or mixtures.

    Linear centred kernel alignment, debiased: 1 for the same, also rotated or scaled as a whole;
    about 0 for unrelated ones, however many maps there are and however few images.

    Args:
        first: Activations of the one layer.
        second: Those of the other, of the same images in the same order.

    Returns:
        The alignment; None where a layer is the same for all images, as nothing can be said then.

    Shape:
        first: (images, A), 4 images or more. second: (images, B).

    Source:
        Kornblith et al. 2019; the estimator without bias: Song et al. 2012, Nguyen et al. 2021.

    Example:
        >>> dice = np.random.default_rng(0)
        >>> values = dice.normal(size=(50, 3))
        >>> rotation = np.linalg.qr(dice.normal(size=(3, 3)))[0]
        >>> round(cka(values, values @ rotation), 6)
        1.0
    """
    if silent_maps(first).all() or silent_maps(second).all():
        return None
    one, other = first - first.mean(0), second - second.mean(0)
    own = _dependence(one, one) * _dependence(other, other)
    return float(_dependence(one, other) / np.sqrt(own)) if own > 0 else None


def _dependence(one: Table, other: Table) -> float:
    """The unbiased estimate of HSIC, from the maps instead of the images' products.

    With K = XX' and L = YY' without their diagonals it is
    (tr KL + sum K sum L / (n - 1)(n - 2) - 2 sum KL / (n - 2)) / n(n - 3).
    """
    n = len(one)
    squares, other_squares = (one**2).sum(1), (other**2).sum(1)
    trace = ((one.T @ other) ** 2).sum() - squares @ other_squares
    rows, other_rows = one @ one.sum(0) - squares, other @ other.sum(0) - other_squares
    both = rows.sum() * other_rows.sum() / ((n - 1) * (n - 2))
    return float((trace + both - 2 * (rows @ other_rows) / (n - 2)) / (n * (n - 3)))


def _standard(values: Table) -> Table:
    """Each map without its mean and of length 1; zeros where it is silent."""
    centred = np.where(silent_maps(values), 0.0, values - values.mean(0))
    return _of_length_one(centred)


def _of_length_one(columns: Table) -> Table:
    lengths = np.linalg.norm(columns, axis=0)
    return columns / np.where(lengths > 0, lengths, 1.0)
