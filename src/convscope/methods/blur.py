"""Blurred maps: what smooths the energy of a picture, or takes the detail out of an image."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["blur", "energy_map"]

REACH = 3.0
"""How many standard deviations of the bell are kept to either side."""


def blur(maps: Tensor, sigma: float | tuple[float, float]) -> Tensor:
    """Smooth maps with a Gaussian bell; beyond the edge the edge goes on.

    Args:
        maps: Any number of maps.
        sigma: The bell's standard deviation in pixels, or one along rows and one along columns; 0
            leaves the maps as they are.

    Shape:
        maps: (..., H, W); the result has the same shape.

    Example:
        >>> blur(torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]]), (0.0, 0.5)).argmax().item()
        2
    """
    down, across = (sigma, sigma) if isinstance(sigma, int | float) else sigma
    flat = _along(maps.reshape(-1, *maps.shape[-2:]), down, 1)
    return _along(flat, across, 2).reshape(maps.shape)


def energy_map(fields: Tensor, sigma: float) -> Tensor:
    """How much of a projection lies where: its absolute value over the colours, blurred.

    Args:
        fields: Projections in their receptive fields, signed.
        sigma: The bell's standard deviation in pixels.

    Shape:
        fields: (U, C, h, w). The result: (U, h, w).
    """
    return blur(fields.abs().sum(1), sigma)


def _along(maps: Tensor, sigma: float, axis: int) -> Tensor:
    """Smooth maps (N, H, W) along one axis: 1 is down, 2 is across."""
    if sigma <= 0:
        return maps
    bell = _bell_matrix(maps.shape[axis], float(sigma)).to(maps)
    return bell @ maps if axis == 1 else maps @ bell.T


@lru_cache(maxsize=64)
def _bell_matrix(size: int, sigma: float) -> Tensor:
    """(size, size) float64, by which each pixel weighs the others; a product, as bells are wide."""
    reach = max(1, round(REACH * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    bell = torch.exp(-0.5 * (offsets / sigma) ** 2)
    places = (torch.arange(size)[:, None] + offsets.long()).clamp(0, size - 1)
    weights = (bell / bell.sum()).expand(size, -1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, places, weights)
