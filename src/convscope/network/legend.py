"""A legend: what the numbers that go into a network, and come out of it, are to a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.display import Brief
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import CustomScaling, Scaling

__all__ = ["Legend"]

WHITE = 100.0


@dataclass(frozen=True)
class Legend(Brief):
    """How figures show a network's images and name its classes.

    Attributes:
        preprocess: How pictures became its images; None where nobody said so.
        classes: Names of its outputs, if known.
        title: What the network is called; "" where it has no name.

    Example:
        >>> from convscope.network.legend import Legend
        >>> Legend(title="mine").reading(torch.zeros(1, 3, 8, 8)).shape
        (3, 8, 8)
    """

    preprocess: Preprocess | None = None
    classes: tuple[str, ...] | None = None
    title: str = ""

    def reading(self, images: Tensor) -> Preprocess:
        """The preprocessing that turns images back into pictures.

        Where nobody said how they were made, the smallest of their numbers is shown black and the
        largest white.

        Args:
            images: Preprocessed.

        Shape:
            images: (N, C, H, W).
        """
        if self.preprocess is not None:
            return self.preprocess
        finite = images[torch.isfinite(images)].float()
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        span = max(high - low, torch.finfo(torch.float32).tiny)
        scale = CustomScaling(WHITE, (-low * WHITE / span,), (WHITE / span,))
        channels, height, width = images.shape[1:]
        return Preprocess((channels, height, width), Scaling.CUSTOM, recipe=scale)

    def pictures(self, images: Tensor) -> list[NDArray[np.uint8]]:
        """The images as a person sees them.

        Args:
            images: Preprocessed.

        Returns:
            uint8 (H, W, 3) for each.

        Shape:
            images: (N, C, H, W).
        """
        return list(self.reading(images).to_uint8(images))
