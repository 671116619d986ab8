"""Learning a deconvolutional network from images alone, layer by layer, bottom up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from convscope.errors import BadOption
from convscope.training.deconvolution.filters import FilterStep, filter_step
from convscope.training.deconvolution.pooling import Pool
from convscope.training.deconvolution.reconstruction import (
    DeconvolutionLayer,
    Reconstruction,
    unit_ball,
)
from convscope.training.deconvolution.sparse_codes import Sparsity, infer

__all__ = [
    "DeconvolutionArchitecture",
    "Encoded",
    "LearnedLayer",
    "Learning",
    "infer_codes",
    "learn_layer",
]

BATCH = 64  # images that are taken at once


@dataclass(frozen=True)
class DeconvolutionArchitecture:
    """The layers of an adaptive deconvolutional network.

    Attributes:
        maps: Feature maps of each layer, bottom up.
        side: Of each filter, odd.
        pool: How each layer's codes are pooled.

    Raises:
        BadOption: There is no layer, a layer without a map, or an even side.
    """

    maps: tuple[int, ...] = (8, 16)
    side: int = 7
    pool: Pool = field(default_factory=Pool)

    def __post_init__(self) -> None:
        if not self.maps or min(self.maps) < 1:
            raise BadOption(f"maps {list(self.maps)}: a number of 1 or more for each layer")
        if self.side % 2 == 0 or self.side < 1:
            raise BadOption(f"filters have an odd side, not {self.side}: one place is the middle")

    def check(self, size: tuple[int, int]) -> None:
        """Refuse maps or images that do not fall into whole blocks.

        Args:
            size: (height, width) of the images.

        Raises:
            BadOption: They do not.
        """
        for number, maps in enumerate(self.maps):
            scale = self.pool.side**number
            self.pool.check(maps, (size[0] // scale, size[1] // scale), f"layer {number + 1}")

    def random_layer(self, number: int, channels: int, seed: int) -> DeconvolutionLayer:
        """A layer whose filters are random directions of length 1.

        Args:
            number: Counted from 0, bottom up.
            channels: Of the images.
            seed: Of the draw.
        """
        below = channels if number == 0 else self.maps[number - 1] // self.pool.maps
        dice = torch.Generator().manual_seed(1000 * seed + number)
        filters = torch.randn(self.maps[number], below, self.side, self.side, generator=dice)
        return DeconvolutionLayer(unit_ball(1e6 * filters), self.pool)

    def random_layers(self, channels: int, seed: int) -> list[DeconvolutionLayer]:
        """All layers at random, which nothing was learned for."""
        return [self.random_layer(number, channels, seed) for number in range(len(self.maps))]


@dataclass(frozen=True)
class Learning:
    """How filters are learned.

    Attributes:
        epochs: How often all codes are inferred anew, and the filters after them.
        filter_steps: Of the filters in each epoch.
        sparsity: How codes are inferred, by layer.
    """

    epochs: int = 10
    filter_steps: int = 5
    sparsity: Sparsity = field(default_factory=Sparsity)


@dataclass(frozen=True, eq=False)
class LearnedLayer:
    """A layer, and how learning it went.

    Attributes:
        layer: With its filters.
        energy: λ/2 ‖ŷ − y‖² + |z|, the mean over the images, after each epoch.
    """

    layer: DeconvolutionLayer
    energy: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Encoded:
    """What one layer says of some images.

    Attributes:
        codes: Of the layer, sparse: at its switches alone.
        switches: Where the largest of each block is.
        error: ŷ − y, in pixels.

    Shape:
        codes: (N, K, H, W). switches: (N, K / maps, H / side, W / side). error: (N, C, h, w).
    """

    codes: Tensor
    switches: Tensor
    error: Tensor

    def pooled(self, pool: Pool) -> Tensor:
        """The codes' pooled maps: (N, K / maps, H / side, W / side)."""
        return pool.at(self.codes, self.switches)


def infer_codes(
    layers: Sequence[DeconvolutionLayer],
    images: Tensor,
    sparsity: Sparsity | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Encoded]:
    """Infer the codes of every layer, bottom up; each reconstructs the pixels through all below.

    Args:
        layers: From the pixels up.
        images: Contrast-normalised.
        sparsity: How codes are inferred, by layer.
        progress: Is told how many images are done.

    Shape:
        images: (N, C, H, W).

    Example:
        >>> found = infer_codes(layers, images)
        >>> found[-1].pooled(layers[-1].pool).shape
    """
    parts = []
    for first in range(0, len(images), BATCH):
        part = images[first : first + BATCH]
        parts.append(list(_encoded(layers, part, sparsity or Sparsity())))
        if progress is not None:
            progress(first + len(part))
    return [
        Encoded(
            torch.cat([each.codes for each in column]),
            torch.cat([each.switches for each in column]),
            torch.cat([each.error for each in column]),
        )
        for column in zip(*parts, strict=True)
    ]


def _encoded(
    layers: Sequence[DeconvolutionLayer], images: Tensor, sparsity: Sparsity
) -> Iterator[Encoded]:
    below: list[Tensor] = []
    for top in range(1, len(layers) + 1):
        here = Reconstruction(layers[:top], below)
        codes, switches = infer(images, here, sparsity.of_layer(top - 1))
        yield Encoded(codes.values, switches, codes.error)
        below = [*below, switches]


def learn_layer(
    start: Reconstruction,
    images: Tensor,
    how: Learning,
    progress: Callable[[int], None] | None = None,
) -> LearnedLayer:
    """Learn the filters of the last of some layers; those below stay, with their switches.

    Codes and filters in turn: ISTA for the codes of all images, which begins where it ended the
    epoch before, then steps of the filters.

    Args:
        start: The layers, the last one with the filters to begin with.
        images: Contrast-normalised.
        how: The epochs and steps.
        progress: Is told how many epochs are done.

    Shape:
        images: (N, C, H, W).

    Source:
        Zeiler, Taylor & Fergus 2011, algorithm 1.

    Example:
        >>> layer = Architecture((8,)).random_layer(0, channels=1, seed=0)
        >>> learned = learn_layer(Reconstruction([layer]), images, Learning(epochs=5))
        >>> learned.energy
    """
    sparsity = how.sparsity.of_layer(len(start.layers) - 1)
    parts = [slice(first, first + BATCH) for first in range(0, len(images), BATCH)]
    known: list[Tensor | None] = [None] * len(parts)
    state = FilterStep(start.top.filters, 1.0 / len(images), 0.0)
    curve = []
    for epoch in range(how.epochs):
        here = start.with_filters(state.filters)
        found = [
            infer(images[part], here.of_images(part), sparsity, codes)[0].values
            for part, codes in zip(parts, known, strict=True)
        ]
        codes, known = torch.cat(found), list(found)
        for _ in range(how.filter_steps):
            state = filter_step(state, images, codes, start, BATCH)
        mean = sparsity.weight / 2 * state.error + float(codes.abs().sum())
        curve.append(mean / len(images))
        if progress is not None:
            progress(epoch + 1)
    return LearnedLayer(start.with_filters(state.filters).top, tuple(curve))
