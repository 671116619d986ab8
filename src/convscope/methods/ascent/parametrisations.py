"""Parametrisations: what is optimised in place of a picture's pixels.

Each holds U pictures of a canvas, and turns its parameters into pictures in preprocessed units.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

__all__ = [
    "Canvas",
    "Count",
    "FourierPictures",
    "MagnitudePictures",
    "PictureParameters",
    "PixelPictures",
    "SpherePictures",
    "magnitude_of",
]

# The square root of the covariance of colours in ImageNet, so that independent parameters make
# colours that go together.        Olah et al. 2017, "Feature Visualization", Distill
COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])


@dataclass(frozen=True, eq=False)
class Canvas:
    """Where pictures are made, and how their colours become the network's numbers.

    Attributes:
        low: (C, h, w), what black is in preprocessed units.
        high: (C, h, w), what white is.
        reversed_colours: the network takes blue first.
    """

    low: Tensor
    high: Tensor
    reversed_colours: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        channels, height, width = self.low.shape
        return channels, height, width

    @property
    def grey(self) -> Tensor:
        """(C, h, w), halfway from black to white."""
        return (self.low + self.high) / 2

    def preprocessed(self, shares: Tensor) -> Tensor:
        """Bring shares of white, 0 to 1 in RGB order, to the network's numbers."""
        shares = shares.flip(-3) if self.reversed_colours else shares
        return self.low + shares * (self.high - self.low)

    def shares(self, images: Tensor) -> Tensor:
        """Bring the network's numbers to shares of white, 0 to 1 in RGB order."""
        shares = (images - self.low) / (self.high - self.low)
        return shares.flip(-3) if self.reversed_colours else shares


@dataclass(frozen=True)
class Count:
    """How many pictures there are: so many units, each with so many variants."""

    units: int
    variants: int = 1


class PictureParameters(ABC):
    """U pictures as parameters of an optimiser."""

    @property
    @abstractmethod
    def parameter(self) -> Tensor:
        """What is optimised."""

    @abstractmethod
    def images(self) -> Tensor:
        """(U, C, h, w), the pictures in preprocessed units, differentiable."""

    @abstractmethod
    def step(self, gradient: Tensor) -> None:
        """Take a step upward.

        Args:
            gradient: of the objective, by `parameter`.
        """


class FourierPictures(PictureParameters):
    """Frequencies of decorrelated colours, all of like weight: the default.

    The frequencies are those of a canvas that is enlarged to a size that the Fourier transform is
    quick with (at 111 pixels it takes four times as long as at 112), and cut.

    Source:
        Olah et al. 2017, "Feature Visualization", Distill.
    """

    def __init__(self, canvas: Canvas, count: Count, generator: torch.Generator) -> None:
        channels, *size = canvas.shape
        height, width = self._period = tuple(next_fast_len(extent) for extent in size)
        self.canvas = canvas
        rows = torch.fft.fftfreq(height)[:, None]
        columns = torch.fft.rfftfreq(width)[None, :]
        frequency = torch.sqrt(rows**2 + columns**2).clamp(min=1 / max(height, width))
        self._scale = (1 / frequency * math.sqrt(height * width)).to(canvas.low)
        drawn = _drawn(torch.randn, (channels, *frequency.shape, 2), count, generator)
        self._spectrum = (0.01 * drawn).to(canvas.low).requires_grad_()
        self._optimiser = torch.optim.Adam([self._spectrum], lr=0.05, maximize=True)

    @property
    def parameter(self) -> Tensor:
        return self._spectrum

    def images(self) -> Tensor:
        spectrum = torch.view_as_complex(self._spectrum) * self._scale
        planes = torch.fft.irfft2(spectrum, s=self._period) / 4
        _, height, width = self.canvas.shape
        cut = planes[..., :height, :width]
        return self.canvas.preprocessed(torch.sigmoid(correlated(cut)))

    def step(self, gradient: Tensor) -> None:
        _step(self._optimiser, self._spectrum, gradient)


class MagnitudePictures(PictureParameters):
    """Only phases are optimised; every frequency keeps the magnitude that it has in photographs.

    Source:
        Fel et al. 2023, "Unlocking feature visualization for deeper networks with magnitude
        constrained optimization" (MACO).
    """

    def __init__(
        self, canvas: Canvas, magnitude: Tensor, count: Count, generator: torch.Generator
    ) -> None:
        self.canvas = canvas
        self.magnitude = magnitude.to(canvas.low)
        drawn = _drawn(torch.rand, tuple(magnitude.shape), count, generator)
        self._phase = ((2 * drawn - 1) * math.pi).to(canvas.low).requires_grad_()
        self._optimiser = torch.optim.NAdam([self._phase], lr=1.0, maximize=True)

    @property
    def parameter(self) -> Tensor:
        return self._phase

    def planes(self) -> Tensor:
        """(U, C, h, w), the pictures in decorrelated colours, with the magnitudes they keep."""
        spectrum = torch.polar(self.magnitude.expand_as(self._phase), self._phase)
        return torch.fft.irfft2(spectrum, s=self.canvas.shape[1:])

    def images(self) -> Tensor:
        planes = self.planes()
        spread = planes.std((1, 2, 3), keepdim=True).clamp(min=torch.finfo(planes.dtype).tiny)
        standard = (planes - planes.mean((1, 2, 3), keepdim=True)) / spread
        return self.canvas.preprocessed(torch.sigmoid(correlated(standard)))

    def step(self, gradient: Tensor) -> None:
        _step(self._optimiser, self._phase, gradient)


class SpherePictures(PictureParameters):
    """Pixels on a sphere: ascent along the gradient, brought back to a norm after every step.

    Attributes:
        norm: of a picture, in preprocessed units.

    Source:
        Erhan et al. 2009, "Visualizing higher-layer features of a deep network".
    """

    STEP = 0.1
    """The length of a step, as a share of the norm."""

    def __init__(
        self, canvas: Canvas, norm: float, count: Count, generator: torch.Generator
    ) -> None:
        self.norm = norm
        drawn = _drawn(torch.randn, canvas.shape, count, generator)
        self._pixels = self._bounded(drawn.to(canvas.low)).requires_grad_()

    @property
    def parameter(self) -> Tensor:
        return self._pixels

    def images(self) -> Tensor:
        return self._pixels

    def step(self, gradient: Tensor) -> None:
        with torch.no_grad():
            self._pixels.copy_(self._bounded(self._pixels + self.STEP * self._bounded(gradient)))

    def _bounded(self, pictures: Tensor) -> Tensor:
        norms = pictures.flatten(1).norm(dim=1)[:, None, None, None]
        return self.norm * pictures / norms.clamp(min=torch.finfo(pictures.dtype).tiny)


class PixelPictures(PictureParameters):
    """The pixels themselves, from the image of zeros in preprocessed units.

    Every step goes along the gradient and has one length.

    Source:
        Simonyan et al. 2013, "Deep inside convolutional networks".
    """

    STEP = 0.01
    """The root mean square of a step's values, as a share of the way from black to white."""

    def __init__(self, canvas: Canvas, count: Count) -> None:
        pictures = (count.units * count.variants, *canvas.shape)
        self._pixels = canvas.low.new_zeros(pictures).requires_grad_()
        self._length = self.STEP * float((canvas.high - canvas.low).square().mean().sqrt())

    @property
    def parameter(self) -> Tensor:
        return self._pixels

    def images(self) -> Tensor:
        return self._pixels

    def step(self, gradient: Tensor) -> None:
        with torch.no_grad():
            spread = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
            self._pixels += self._length * gradient / spread.clamp(min=1e-30)


def _drawn(
    draw: Callable[..., Tensor], shape: tuple[int, ...], count: Count, generator: torch.Generator
) -> Tensor:
    """Begin all units alike, so that a picture does not depend on what else is asked for."""
    variants = draw(count.variants, *shape, generator=generator)
    return variants.repeat(count.units, *(1 for _ in shape))


def _step(optimiser: torch.optim.Optimizer, parameter: Tensor, gradient: Tensor) -> None:
    parameter.grad = gradient
    optimiser.step()


def magnitude_of(canvas: Canvas, images: Tensor) -> Tensor:
    """How strong each frequency is in some images, in decorrelated colours.

    Args:
        canvas: Of the size of the images.
        images: Preprocessed.

    Returns:
        The mean magnitude over the images; 0 for the mean colour, which is not kept.

    Shape:
        images: (N, C, h, w). The result: (C, h, w // 2 + 1).
    """
    spectrum = torch.fft.rfft2(decorrelated(canvas.shares(images)))
    magnitude = spectrum.abs().mean(0)
    magnitude[:, 0, 0] = 0
    return magnitude


def correlated(planes: Tensor) -> Tensor:
    """From independent planes to colours that go together; other than three planes stay."""
    return _through(planes, _colours(planes)) if planes.shape[-3] == 3 else planes


def decorrelated(planes: Tensor) -> Tensor:
    """The way back from colours to independent planes."""
    return _through(planes, _colours(planes).inverse()) if planes.shape[-3] == 3 else planes


def _colours(like: Tensor) -> Tensor:
    matrix = COLOURS.to(like)
    return matrix / matrix.norm(dim=0).max()


def _through(planes: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("kc,...chw->...khw", matrix, planes)
