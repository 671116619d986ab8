"""Layers of filters, and the way from a layer's sparse codes down to the pixels.

    ŷ = F1 U1 F2 U2 ... Fl z        F convolves each map with its filters and adds them up,
                                    U unpools by the switches of the layer below

For switches that stay as they are this is linear in the codes z, and linear in each layer's
filters. `up` is its transpose: Fl' Ul-1' ... F1'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d
from torch.nn.grad import conv2d_weight

from convscope.training.deconvolution.pooling import Pool

__all__ = ["DeconvolutionLayer", "Reconstruction", "coding_energy", "footprint", "unit_ball"]


@dataclass(frozen=True, eq=False)
class DeconvolutionLayer:
    """A layer of an adaptive deconvolutional network.

    Attributes:
        filters: Of each feature map, over the pooled maps below (or the image's channels); none is
            longer than 1.
        pool: How its codes are pooled for the layer above.

    Shape:
        filters: (K, C, side, side), the side odd.
    """

    filters: Tensor
    pool: Pool = field(default_factory=Pool)

    @property
    def margin(self) -> int:
        """Positions that a filter reaches to each side."""
        return int(self.filters.shape[-1]) // 2

    def down(self, codes: Tensor) -> Tensor:
        """Add up all filters at all places, each times its code: (N, K, H, W) -> (N, C, H, W)."""
        return conv_transpose2d(codes, self.filters, padding=self.margin)

    def up(self, signal: Tensor) -> Tensor:
        """Multiply every place by each filter: the transpose of `down`."""
        return conv2d(signal, self.filters, padding=self.margin)

    def filter_gradient(self, codes: Tensor, signal: Tensor) -> Tensor:
        """The derivative by the filters of the product of `down(codes)` and `signal`."""
        shape = list(self.filters.shape)
        return conv2d_weight(signal, shape, codes, padding=self.margin)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """From the codes of the topmost of some layers to pixels, with the switches of those below.

    Attributes:
        layers: From the pixels up; the last one's codes are what is asked for.
        switches: Of each layer but the last.

    Example:
        >>> reconstruction = Reconstruction([first, second], [switches])
        >>> image = reconstruction.down(codes)
    """

    layers: Sequence[DeconvolutionLayer]
    switches: Sequence[Tensor] = ()

    @property
    def top(self) -> DeconvolutionLayer:
        """The layer whose codes these are."""
        return self.layers[-1]

    def down(self, codes: Tensor) -> Tensor:
        """The pixels (N, C, H, W) that codes stand for."""
        return self.below(self.top.down(codes))

    def up(self, pixels: Tensor) -> Tensor:
        """The transpose of `down`: an error in the pixels, as the codes' share in it."""
        return self.top.up(self.above(pixels))

    def below(self, pooled: Tensor) -> Tensor:
        """From the pooled maps that the last layer's filters add up to, down to pixels."""
        for layer, switches in zip(self.layers[-2::-1], self.switches[::-1], strict=True):
            pooled = layer.down(layer.pool.back(pooled, switches))
        return pooled

    def above(self, pixels: Tensor) -> Tensor:
        """The transpose of `below`."""
        for layer, switches in zip(self.layers[:-1], self.switches, strict=True):
            pixels = layer.pool.at(layer.up(pixels), switches)
        return pixels

    def of_images(self, part: slice) -> Reconstruction:
        """The same for some of the images."""
        return Reconstruction(self.layers, [switches[part] for switches in self.switches])

    def with_filters(self, filters: Tensor) -> Reconstruction:
        """The same with other filters in the last layer."""
        return Reconstruction(
            [*self.layers[:-1], DeconvolutionLayer(filters, self.top.pool)], self.switches
        )


def footprint(
    layers: Sequence[DeconvolutionLayer], position: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The pixels that one code of the last layer can reach, wherever the switches are.

    Args:
        layers: From the pixels up.
        position: (row, column) of the code.

    Returns:
        (top, left, bottom, right), half-open; it may reach beyond the image.
    """
    ends = []
    for place in position:
        first, last = place, place
        for layer, below in zip(layers[::-1], [*layers[-2::-1], None], strict=True):
            first, last = first - layer.margin, last + layer.margin
            if below is not None:
                first, last = first * below.pool.side, (last + 1) * below.pool.side - 1
        ends.append((first, last + 1))
    (top, bottom), (left, right) = ends
    return top, left, bottom, right


def coding_energy(error: Tensor, codes: Tensor, weight: float) -> Tensor:
    """λ/2 ‖ŷ − y‖² + |z|, for each image.

    Shape:
        error: (N, C, H, W). codes: (N, K, H, W). The result: (N,).
    """
    return weight / 2 * error.square().flatten(1).sum(1) + codes.abs().flatten(1).sum(1)


def unit_ball(filters: Tensor) -> Tensor:
    """The nearest filters none of which is longer than 1."""
    lengths = torch.linalg.vector_norm(filters.flatten(1), dim=1)[:, None, None, None]
    return filters / lengths.clamp(min=1)
