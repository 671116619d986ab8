"""A layer's filters for codes that stay as they are: gradient steps with backtracking.

The squared error is quadratic in the filters. None may be longer than 1, or codes would shrink to
nothing beside ever longer filters: each step ends at the nearest filters that are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.training.deconvolution.reconstruction import Reconstruction, unit_ball

__all__ = ["FilterStep", "filter_step"]

HALVINGS = 40  # of a step, at most
LONGER = 2.0  # a step that went well is tried so much longer the next time


@dataclass(frozen=True, eq=False)
class FilterStep:
    """Filters, and how long the next step is.

    Attributes:
        filters: (K, C, side, side), none longer than 1.
        step: Its length.
        error: ‖R z − y‖² over all images with these filters.
    """

    filters: Tensor
    step: float
    error: float


def filter_step(
    start: FilterStep, images: Tensor, codes: Tensor, how: Reconstruction, batch: int = 64
) -> FilterStep:
    """Take one step down the squared error; it never rises.

    Args:
        start: Filters, and the step's length; its error is not read.
        images: y.
        codes: z, which stay as they are.
        how: R, of whose last layer the filters are.
        batch: Images that are taken at once.

    Shape:
        images: (N, C, H, W). codes: (N, K, H, W).

    Source:
        Zeiler, Taylor & Fergus 2011, §2.2, has conjugate gradients and then scales the filters; a
        projected gradient keeps the error from rising by the scaling.
    """
    here = how.with_filters(start.filters)
    parts = [slice(first, first + batch) for first in range(0, len(images), batch)]
    gradient, before = torch.zeros_like(start.filters), 0.0
    for part in parts:
        some = here.of_images(part)
        error = some.down(codes[part]) - images[part]
        gradient += some.top.filter_gradient(codes[part], some.above(error))
        before += float(error.square().sum())
    step = start.step
    for _ in range(HALVINGS):
        moved = unit_ball(start.filters - step * gradient) - start.filters
        along = how.with_filters(moved)
        bend = sum(float(along.of_images(part).down(codes[part]).square().sum()) for part in parts)
        if bend * step <= float(moved.square().sum()):
            after = before + 2 * float((moved * gradient).sum()) + bend
            return FilterStep(start.filters + moved, step * LONGER, after)
        step /= 2
    return FilterStep(start.filters, step, before)
