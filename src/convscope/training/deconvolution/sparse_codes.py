"""The codes of images: iterative shrinkage and thresholding (ISTA), with backtracking.

    E(z) = λ/2 ‖R z − y‖² + |z|

A step goes down the squared error's gradient and shrinks what comes of it. Its length is found for
each image by itself: halved until the squared error bends no more along the move than the step
assumes, so that E falls in every step where R stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convscope.training.deconvolution.reconstruction import Reconstruction, coding_energy

__all__ = ["Codes", "Sparsity", "energies", "infer", "ista_step"]

HALVINGS = 40  # of a step, at most: it is then as small as rounding
LONGER = 1.1  # a step that went well is tried so much longer the next time


@dataclass(frozen=True)
class Sparsity:
    """How codes are inferred.

    Attributes:
        weight: λ of the first layer, of the squared error against the codes' magnitudes.
        steps: Of ISTA; the switches move in the first half of them, and stay in the second.
        sparser: λ is so many times smaller in each layer than in the one below. Codes of a higher
            layer stand for more pixels, so that at the same λ many are not zero, any filters
            explain the images, and those that are learned look like noise.
    """

    weight: float = 4.0
    steps: int = 20
    sparser: float = 20.0

    def of_layer(self, number: int) -> Sparsity:
        """How the codes of one layer are inferred.

        Args:
            number: Of the layer, counted from 0, bottom up.
        """
        return replace(self, weight=self.weight / self.sparser**number)


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes of some images, and where the search for them stands.

    Attributes:
        values: The codes z.
        error: R z − y, in pixels.
        step: The next step's length, by image.

    Shape:
        values: (N, K, H, W). error: (N, C, H, W) of the images. step: (N,).
    """

    values: Tensor
    error: Tensor
    step: Tensor

    @classmethod
    def at(cls, values: Tensor, images: Tensor, how: Reconstruction) -> Codes:
        """Begin at given codes."""
        step = values.new_ones(len(values))
        return cls(values, how.down(values) - images, step)

    @classmethod
    def zero(cls, images: Tensor, how: Reconstruction) -> Codes:
        """Begin where every code is zero."""
        values = torch.zeros_like(how.up(images))
        return cls(values, -images, images.new_ones(len(images)))


def ista_step(
    codes: Codes, images: Tensor, how: Reconstruction, weight: float, support: Tensor | None = None
) -> Codes:
    """Take one step: down the gradient, then shrink.

    Args:
        codes: Where it begins.
        images: y.
        how: R, which does not move.
        weight: λ.
        support: Where codes may differ from zero; None is everywhere.

    Shape:
        images: (N, C, H, W). support: bool, as the codes.

    Source:
        Beck & Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm", §3.
    """
    gradient = weight * how.up(codes.error)
    step, moved = codes.step, torch.zeros_like(codes.values)
    change = torch.zeros_like(codes.error)
    todo = torch.ones_like(step, dtype=torch.bool)
    for _ in range(HALVINGS):
        length = step[:, None, None, None]
        to = _shrunk(codes.values - length * gradient, length)
        move = (to if support is None else to * support) - codes.values
        effect = how.down(move)
        bend = weight * effect.square().flatten(1).sum(1)  # the squared error's, along the move
        fits = todo & (bend * step <= move.square().flatten(1).sum(1))
        mask = fits[:, None, None, None]
        moved, change = torch.where(mask, move, moved), torch.where(mask, effect, change)
        todo = todo & ~fits
        if not todo.any():
            break
        step = torch.where(todo, step / 2, step)
    return Codes(codes.values + moved, codes.error + change, step * LONGER)


def _shrunk(values: Tensor, by: Tensor) -> Tensor:
    return values.sign() * (values.abs() - by).clamp(min=0)


def infer(
    images: Tensor, how: Reconstruction, sparsity: Sparsity, start: Tensor | None = None
) -> tuple[Codes, Tensor]:
    """Find the codes of images, and their switches.

    In the first half of the steps the codes are pooled and unpooled after each, so that of every
    block only the largest stays, and the switches follow; in the second half codes stay at their
    switches.

    Args:
        images: y.
        how: R.
        sparsity: λ of R's last layer, and the number of steps.
        start: Codes to begin with; None is zero.

    Returns:
        The codes, and the switches of the last layer.

    Shape:
        images: (N, C, H, W).

    Source:
        Zeiler, Taylor & Fergus 2011, "Adaptive deconvolutional networks for mid and high level
        feature learning", algorithm 1.
    """
    pool = how.top.pool
    codes = Codes.zero(images, how) if start is None else Codes.at(start, images, how)
    pooled, switches = pool(codes.values)
    for _ in range((sparsity.steps + 1) // 2):
        codes = ista_step(codes, images, how, sparsity.weight)
        pooled, switches = pool(codes.values)
        kept = pool.back(pooled, switches)
        codes = Codes(kept, how.down(kept) - images, codes.step)
    support = pool.back(torch.ones_like(pooled), switches) > 0
    for _ in range(sparsity.steps // 2):
        codes = ista_step(codes, images, how, sparsity.weight, support)
    return codes, switches


def energies(codes: Codes, weight: float) -> Tensor:
    """E of each image: (N,)."""
    return coding_energy(codes.error, codes.values, weight)
