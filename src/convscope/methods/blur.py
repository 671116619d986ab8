"""Blurred maps: what smooths the energy of a picture, or takes the detail out of an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["blur", "energy"]

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
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    flat = _along(flat, down, (1, 0))
    return _along(flat, across, (0, 1)).reshape(maps.shape)


def energy(fields: Tensor, sigma: float) -> Tensor:
    """How much of a projection lies where: its absolute value over the colours, blurred.

    Args:
        fields: Projections in their receptive fields, signed.
        sigma: The bell's standard deviation in pixels.

    Shape:
        fields: (U, C, h, w). The result: (U, h, w).
    """
    return blur(fields.abs().sum(1), sigma)


def _along(maps: Tensor, sigma: float, axis: tuple[int, int]) -> Tensor:
    """Smooth (N, 1, H, W) along one axis: (1, 0) is down, (0, 1) is across."""
    if sigma <= 0:
        return maps
    reach = max(1, round(REACH * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    bell = torch.exp(-0.5 * (offsets / sigma) ** 2)
    bell = (bell / bell.sum()).reshape(1, 1, *(len(offsets) if on else 1 for on in axis))
    padding = (reach * axis[1], reach * axis[1], reach * axis[0], reach * axis[0])
    return functional.conv2d(functional.pad(maps, padding, mode="replicate"), bell)
