"""Local contrast normalisation: grey images in, with their mean and contrast evened out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

__all__ = ["contrast_normalised"]

SIDE, WIDTH = 13, 2.6  # pixels: of the window, and of its Gaussian


def contrast_normalised(images: Tensor) -> Tensor:
    """Take the local mean off each pixel, and divide by the local standard deviation.

    Both are weighted by a Gaussian, over pixels and channels. Where an image has less contrast than
    it has on average, the average divides, so that flat grounds are not turned into noise.

    Args:
        images: Of any range.

    Shape:
        images, the result: (N, C, H, W).

    Source:
        Jarrett et al. 2009, "What is the best multi-stage architecture for object recognition?",
        §2; Zeiler, Taylor & Fergus 2011 learn from images that went through it.

    Example:
        >>> contrast_normalised(torch.full((1, 1, 8, 8), 0.5)).abs().max()
        tensor(0.)
    """
    channels = images.shape[1]
    line = torch.arange(SIDE, dtype=images.dtype, device=images.device) - SIDE // 2
    bell = torch.exp(-(line**2) / (2 * WIDTH**2))
    kernel = torch.outer(bell, bell)
    kernel = (kernel / (channels * kernel.sum())).expand(1, channels, SIDE, SIDE)

    def local_mean(values: Tensor) -> Tensor:
        edge = SIDE // 2
        return conv2d(pad(values, (edge, edge, edge, edge), mode="replicate"), kernel)

    centred = images - local_mean(images)
    deviation = local_mean(centred.square()).clamp(min=0).sqrt()
    least = deviation.mean((2, 3), keepdim=True).clamp(min=1e-4)
    return centred / torch.maximum(deviation, least)
