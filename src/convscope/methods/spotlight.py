"""The spotlight: an image patch, lit where the projection of a unit has its energy.

On deep layers a raw projection looks like coloured confetti, and measured, it tells *where* in the
image the unit's activation comes from. The spotlight shows just that. It is derived: a threshold
and a blur lie between it and the projection, so what shows it says so.
"""

from __future__ import annotations

from math import ceil, floor

import torch
from torch import Tensor

from convscope.methods.blur import energy_map

__all__ = ["light", "lit", "spotlight"]

BLUR = 28
"""The bell's standard deviation is the receptive field's side divided by this."""
BRIGHT = 0.99
"""The quantile of the energy that is lit in full."""
GREY = 128.0
"""What is dark shows this grey, 0 to 255."""


def light(fields: Tensor, *, divisor: float = BLUR) -> Tensor:
    """How bright each pixel of a receptive field is lit, 0 to 1.

    Args:
        fields: Projections in their receptive fields, signed. A field without any energy, or that
            is not finite, stays dark.
        divisor: The blur's standard deviation is the field's mean side divided by this.

    Shape:
        fields: (U, C, h, w). The result: (U, h, w).
    """
    height, width = fields.shape[-2:]
    where = energy_map(torch.nan_to_num(fields, 0.0, 0.0, 0.0), (height + width) / 2 / divisor)
    brightest = _quantile(where.flatten(1).float(), BRIGHT)[:, None, None]
    lit = where / brightest.clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(brightest > 0, lit, 0.0).clamp(0, 1)


def _quantile(values: Tensor, share: float) -> Tensor:
    """A quantile of each row, between its two nearest values; `torch.quantile` sorts them all."""
    at = share * (values.shape[1] - 1)
    below, above = (values.kthvalue(1 + round_(at), dim=1).values for round_ in (floor, ceil))
    return below + (at - floor(at)) * (above - below)


def spotlight(patches: Tensor, fields: Tensor) -> Tensor:
    """Light image patches by the blurred energy of their projections.

    Args:
        patches: What the units saw, as shown to a person.
        fields: Their projections in the same places, signed.

    Returns:
        The patches, towards mid-grey where the projection has no energy.

    Shape:
        patches: (U, h, w, 3) uint8. fields: (U, C, h, w). The result: (U, h, w, 3) uint8.

    Example:
        >>> projected = project(trace, "conv5/12")
        >>> patch = image_rgb[None, top:bottom, left:right]
        >>> Image.fromarray(spotlight(patch, projected.fields[0][None])[0].numpy())
    """
    return lit(patches, light(fields))


def lit(patches: Tensor, bright: Tensor) -> Tensor:
    """Show image patches as bright as is told, towards mid-grey where it is dark.

    Args:
        patches: As shown to a person.
        bright: 0 to 1.

    Shape:
        patches: (U, h, w, 3) uint8. bright: (U, h, w). The result: (U, h, w, 3) uint8.
    """
    bright = bright[..., None].to(torch.float32)
    return (GREY + (patches.to(torch.float32) - GREY) * bright).round().to(torch.uint8)
