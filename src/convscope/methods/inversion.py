"""Inversion: the picture that a layer answers to as it does to an image.

What comes back tells what the layer has kept of the image, and what is left out was not needed to
answer alike: low layers give the image itself, deep ones its parts, moved and blurred.

    fourier      frequencies of decorrelated colours, by Adam; 120 steps
    mahendran    pixels, by gradient descent with momentum, an α-norm and total variation, with the
                 numbers of the authors' program; 400 steps
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.display import Brief, Pictured
from convscope.errors import BadInput, BadOption, NonFinite
from convscope.methods.ascent.loop import optimise, whole_image
from convscope.methods.ascent.natural import (
    alpha_norm,
    from_levels,
    mismatch,
    total_variation,
)
from convscope.methods.ascent.objectives import Objective
from convscope.methods.ascent.parametrisations import (
    Canvas,
    Count,
    FourierPictures,
    PictureParameters,
)
from convscope.methods.sweep import one_image
from convscope.network.graph import Graph
from convscope.network.legend import Legend
from convscope.network.network import Network
from convscope.progress import Progress, silent

__all__ = [
    "Inversion",
    "InversionMethod",
    "InversionSettings",
    "InvertedLayer",
    "MomentumPixels",
    "invert",
    "mean_distance",
    "objective_of",
]

NATURAL = 68.9
"""Root mean square level of photographs around their mean: the norm 2.71e4 of the authors' program,
of 227 x 227 x 3 values."""
BATCH = 8
"""Images whose features are computed together."""


class InversionMethod(StrEnum):
    """How the picture is parametrised and kept like an image; the module says what each is."""

    FOURIER = "fourier"
    MAHENDRAN = "mahendran"


STEPS = {InversionMethod.FOURIER: 120, InversionMethod.MAHENDRAN: 400}


@dataclass(frozen=True)
class InversionSettings:
    """How a layer is inverted.

    Attributes:
        method: one of InversionMethod.
        steps: how many are taken; None is the method's own number.
        variation: the weight λ of the total variation, λ TV / (2 n s²): n values of an image whose
            root mean square level is s = 68.9. None is the method's own.
        seed: of the noise that it starts from.

    Raises:
        BadOption: a number is out of range.
    """

    method: InversionMethod = InversionMethod.FOURIER
    steps: int | None = None
    variation: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in list(InversionMethod):
            raise BadOption(f"method {self.method!r}: it is {', '.join(InversionMethod)}")
        object.__setattr__(self, "method", InversionMethod(self.method))
        if self.steps is not None and self.steps < 1:
            raise BadOption(f"{self.steps} steps: give 1 or more")
        if self.variation is not None and not 0 <= self.variation < math.inf:
            raise BadOption(f"variation {self.variation:g}: give 0 or more")

    @property
    def taken(self) -> int:
        """How many steps are taken."""
        return STEPS[self.method] if self.steps is None else self.steps


@dataclass(frozen=True, eq=False)
class InvertedLayer(Brief):
    """What one layer gives back of an image.

    Attributes:
        layer: as it was asked for.
        activation: the layer whose values were matched: of a convolution its activation.
        picture: in preprocessed units.
        distance: ‖Φ(x) - Φ₀‖, from the picture's features to the image's.
        norm: ‖Φ₀‖.
        between: the mean distance between the features of different images; None where no images
            were given.
        correlation: Pearson's, of the picture's pixels with the image's.
        losses: the objective before each step.

    Shape:
        picture: (C, H, W). losses: (steps,).
    """

    layer: str
    activation: str
    picture: Tensor
    distance: float
    norm: float
    between: float | None
    correlation: float
    losses: Tensor

    @property
    def error(self) -> float:
        """The distance as a share of that between images, or of the norm where it is unknown."""
        return self.distance / (self.norm if self.between is None else self.between)

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the picture."""
        return {
            "layer": self.layer,
            "activation": self.activation,
            "error": self.error,
            "distance": self.distance,
            "norm": self.norm,
            "between": self.between,
            "correlation": self.correlation,
            "loss": [float(self.losses[0]), float(self.losses[-1])],
        }


@dataclass(frozen=True, eq=False)
class Inversion(Pictured):
    """What the layers of a network give back of an image.

    Attributes:
        image: preprocessed.
        layers: in the order that was asked for.
        settings: how they were inverted.
        examples: how many images the errors' unit, `between`, was measured on; 0 if on none.
        legend: how figures show the image.

    Shape:
        image: (C, H, W).

    Source:
        Mahendran & Vedaldi, "Understanding deep image representations by inverting them", CVPR
        2015 (arXiv 2014).
    """

    image: Tensor
    layers: tuple[InvertedLayer, ...]
    settings: InversionSettings
    examples: int = 0
    legend: Legend = field(default_factory=Legend, repr=False)

    @property
    def unit(self) -> str:
        """What an error is a share of, in words."""
        if self.examples:
            return f"the mean distance between the features of {self.examples} images"
        return "the norm of the image's features"

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Pictures and numbers by name, as `convscope invert` writes them."""
        import numpy as np

        pictures = torch.stack([one.picture for one in self.layers])
        every = torch.cat([self.image[None], pictures])
        rgb = np.stack(self.legend.pictures(every))
        names = ("error", "distance", "norm", "correlation")
        numbers = {name: np.array([getattr(one, name) for one in self.layers]) for name in names}
        between = [one.between for one in self.layers]
        if all(value is not None for value in between):
            numbers["between"] = np.array(between, np.float64)
        return {
            "layers": np.array([one.layer for one in self.layers]),
            "picture": pictures.numpy(),
            "rgb": rgb[1:],
            "image": self.image.numpy(),
            "image_rgb": rgb[0],
            **numbers,
            "loss": torch.stack([one.losses for one in self.layers]).numpy(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the pictures."""
        return {
            "method": str(self.settings.method),
            "steps": self.settings.taken,
            "error_is_a_share_of": self.unit,
            "images": self.examples,
            "layers": [one.to_dict() for one in self.layers],
        }

    def __repr__(self) -> str:
        told = ", ".join(f"{one.layer} {one.error:.3g}" for one in self.layers[:4])
        more = ", ..." if len(self.layers) > 4 else ""
        return f"<Inversion by {self.settings.method}: error {told}{more}>"


def invert(
    network: Network,
    image: Tensor,
    layers: Sequence[str],
    canvas: Canvas,
    settings: InversionSettings = InversionSettings(),
    *,
    examples: Tensor | None = None,
    progress: Progress = silent,
) -> Inversion:
    """Find the pictures that layers answer to as they do to an image.

    Args:
        network: The network.
        image: Preprocessed.
        layers: Which; a convolution or a dense layer stands for its activation.
        canvas: The colours, as large as the image.
        settings: How.
        examples: Preprocessed images, two or more, whose features' mean distance is the unit of the
            errors.
        progress: Is called with ("steps of LAYER", done, total).

    Raises:
        NoSuchLayer: There is none of that name.
        BadOption: No layer is named, or there are fewer than two examples.
        BadInput: The image has another shape; it makes all values of a layer zero, or the examples
            make them alike.
        NonFinite: A layer is NaN or infinite in the image; the descent of `mahendran` diverges.

    Shape:
        image: (C, H, W) or (1, C, H, W). examples: (N, C, H, W).

    Source:
        Mahendran & Vedaldi 2015; the parametrisation of `fourier` is that of Olah et al. 2017.

    Example:
        >>> found = invert(network, image, ["relu2"], canvas)
        >>> found.layers[0].picture.shape, found.layers[0].error
    """
    if not layers:
        raise BadOption("no layers to invert: name one or more")
    if examples is not None and len(examples) < 2:
        raise BadOption("distances between images: give two or more")
    image = one_image(network, image)
    named = {layer: _matched(network, layer) for layer in dict.fromkeys(layers)}
    found = [
        _invert_layer(network, image, names, canvas, settings, examples, progress)
        for names in named.items()
    ]
    count = 0 if examples is None else len(examples)
    return Inversion(image.float().cpu(), tuple(found), settings, count, network.legend)


def _matched(network: Graph, layer: str) -> str:
    name = network.feature_layer(layer).name
    return network.activation(name) if network.nodes[name].op.weighs else name


def _invert_layer(
    network: Graph,
    image: Tensor,
    names: tuple[str, str],
    canvas: Canvas,
    settings: InversionSettings,
    examples: Tensor | None,
    progress: Progress,
) -> InvertedLayer:
    asked, layer = names
    with torch.no_grad():
        features = network.values(image[None], [layer])[layer][0]
    norm = float(features.double().norm())
    if not math.isfinite(norm):
        raise NonFinite(
            f"{asked} is NaN or infinite in this image: check the weights and the image"
        )
    if not norm > 0:
        raise BadInput(f"{asked}: all of its values are zero in this image: nothing to invert")
    between = None if examples is None else mean_distance(network, examples, layer)
    objective = objective_of(network, layer, features, canvas, settings)
    pictures = _pictures(canvas, settings)
    forward = whole_image(network).forward

    def tell(step: int) -> None:
        progress(f"steps of {asked}", step, settings.taken)

    losses = -optimise(pictures, -objective, forward, settings.taken, tell)[:, 0]
    with torch.no_grad():
        picture = pictures.images().detach()
        reached = network.values(picture, [layer])[layer][0]
    distance = float((reached.double() - features.double()).norm())
    if not (math.isfinite(distance) and bool(torch.isfinite(losses).all())):
        fourier = settings.method is InversionMethod.FOURIER
        remedy = "check the weights" if fourier else "take --method fourier"
        raise NonFinite(f"{asked}: the descent diverges; {remedy}")
    return InvertedLayer(
        asked, layer, picture[0].float().cpu(), distance, norm, between,
        _correlation(canvas.shares(picture[0]), canvas.shares(image)), losses.float().cpu(),
    )  # fmt: skip


def objective_of(
    network: Graph, layer: str, features: Tensor, canvas: Canvas, settings: InversionSettings
) -> Objective:
    """What is made small: the mismatch of the features, and what images are not like.

    Args:
        network: The network.
        layer: The layer whose values are matched.
        features: Its values in the image.
        canvas: The colours.
        settings: Which method, and the weight of the total variation.

    Shape:
        features: the layer's.
    """
    published = settings.method is InversionMethod.MAHENDRAN
    own = _by_depth(network, layer) if published else SMOOTH
    weight = own if settings.variation is None else settings.variation
    share = 1 / (2 * canvas.low.numel() * NATURAL**2)
    objective = mismatch(layer, features) + total_variation(weight * share, canvas)
    return objective + alpha_norm(ALPHA * share, canvas) if published else objective


SMOOTH = 0.44
"""λ of the total variation of `fourier`: 2e-5 of the squared differences at 224 x 224, in shares of
the way from black to white."""
ALPHA = 8e-10  # of the authors' program, `experiment_cnn`
DEPTHS = ((0.25, 1.0), (0.5, 10.0), (1.0, 100.0))
"""λ of the total variation up to these shares of the weighted layers: in AlexNet, whose eight were
inverted, up to the second, the fourth and the last one."""


def _by_depth(network: Graph, layer: str) -> float:
    weighted = [node.name for node in network.nodes.values() if node.op.weighs]
    below = sum(node.op.weighs for node in network.below([layer]))
    share = below / max(1, len(weighted))
    return next(weight for upto, weight in DEPTHS if share <= upto)


class MomentumPixels(PictureParameters):
    """Pixels in levels around mid-grey: gradient descent with momentum, in three rates.

    It starts from noise as strong as a photograph. The momentum begins anew with each rate.

    Source:
        Mahendran & Vedaldi 2015, §3; the rates are those of the authors' program.
    """

    MOMENTUM = 0.9
    RATE = 0.004
    PARTS = ((0.25, 1.0), (0.75, 0.1), (1.0, 0.01))
    """Up to these shares of the steps, the rate times so much: 100, 200 and 100 of 400."""

    def __init__(self, canvas: Canvas, steps: int, generator: torch.Generator) -> None:
        self.canvas = canvas
        self._squared = canvas.low.numel() * NATURAL**2
        drawn = torch.randn(1, *canvas.shape, generator=generator)
        self._levels = (drawn * (self._squared**0.5 / drawn.norm())).to(canvas.low)
        self._levels.requires_grad_()
        self._moment = torch.zeros_like(self._levels)
        self._steps, self._step, self._rate = steps, 0, 0.0

    @property
    def parameter(self) -> Tensor:
        return self._levels

    def images(self) -> Tensor:
        return from_levels(self.canvas, self._levels)

    def step(self, gradient: Tensor) -> None:
        done = self._step / self._steps
        rate = self.RATE * next(part for upto, part in self.PARTS if done < upto)
        if rate != self._rate:
            self._rate, self._moment = rate, torch.zeros_like(self._moment)
        with torch.no_grad():
            self._moment = self.MOMENTUM * self._moment + rate * self._squared * gradient
            self._levels += self._moment
        self._step += 1


def _pictures(canvas: Canvas, settings: InversionSettings) -> PictureParameters:
    generator = torch.Generator().manual_seed(settings.seed)
    if settings.method is InversionMethod.MAHENDRAN:
        return MomentumPixels(canvas, settings.taken, generator)
    return FourierPictures(canvas, Count(1), generator)


@torch.no_grad()
def mean_distance(network: Graph, images: Tensor, layer: str) -> float:
    """The mean Euclidean distance between a layer's values in different images.

    Args:
        network: The network.
        images: Preprocessed, two or more.
        layer: The layer.

    Raises:
        BadInput: All of them have the same values.

    Shape:
        images: (N, C, H, W).
    """
    parts = [network.values(part, [layer])[layer].flatten(1) for part in images.split(BATCH)]
    mean = float(torch.pdist(torch.cat(parts).float()).double().mean())
    if not mean > 0:
        raise BadInput(f"{layer}: its values are the same in all {len(images)} images of the set")
    return mean


def _correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's of all values; 0 where one of them has no spread."""
    a, b = (values.double().flatten() - values.double().mean() for values in (one, other))
    norms = float(a.norm() * b.norm())
    return float(a @ b) / norms if norms > 0 else 0.0
