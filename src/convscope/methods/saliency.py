"""Saliency: which pixels a class's score, or any number of the output, answers to.

    gradient     max over channels of |dS/dx| (Simonyan et al. 2013, §3.1)
    smooth       the same of the mean gradient over noisy copies of the image (Smilkov et al. 2017)
    integrated   (x - x0) times the mean gradient along the line from x0 to x (Sundararajan et al.
                 2017), summed over channels; its sum is S(x) - S(x0), as far as the steps are fine
    grad-cam     a layer's maps, weighed by the mean of dS/d(map) over positions, summed, rectified,
                 and enlarged to the image (Selvaraju et al. 2017)

All are one walk down, by the rules of the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from convscope.display import Pictured
from convscope.errors import BadInput, BadOption, NonFinite
from convscope.methods.descent import descend_to, group_size
from convscope.methods.numbers import widened
from convscope.methods.project import target_signals
from convscope.methods.rules import GRADIENT
from convscope.methods.scores import score_target
from convscope.methods.sweep import one_image
from convscope.methods.targets import Target, TargetLike
from convscope.network.legend import Legend
from convscope.network.network import Network
from convscope.progress import Progress, silent

__all__ = ["Saliency", "SaliencyMethod", "SaliencySettings", "saliency"]


class SaliencyMethod(StrEnum):
    """How a map is made; the module says what each is."""

    GRADIENT = "gradient"
    SMOOTH = "smooth"
    INTEGRATED = "integrated"
    GRAD_CAM = "grad-cam"


@dataclass(frozen=True)
class SaliencySettings:
    """How a map is made.

    Attributes:
        method: one of SaliencyMethod.
        copies: of `smooth`, noisy copies of the image.
        noise: of `smooth`, the noise's deviation, as a share of the image's range.
        steps: of `integrated`, along the line, each in the middle of its part.
        layer: of `grad-cam`; None is the last convolution. A convolution stands for its activation.
        seed: of the noise.

    Raises:
        BadOption: a number is out of range.
    """

    method: SaliencyMethod = SaliencyMethod.GRADIENT
    copies: int = 50
    noise: float = 0.15
    steps: int = 50
    layer: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in list(SaliencyMethod):
            raise BadOption(f"method {self.method!r}: it is {', '.join(SaliencyMethod)}")
        object.__setattr__(self, "method", SaliencyMethod(self.method))
        if self.copies < 1 or self.steps < 1 or not self.noise > 0:
            raise BadOption(
                f"copies {self.copies}, steps {self.steps}, noise {self.noise:g}: give at least 1, "
                "at least 1, and more than 0"
            )


@dataclass(frozen=True, eq=False)
class Saliency(Pictured):
    """Which pixels a target answers to.

    Attributes:
        map: by pixel: of `integrated` signed shares, else zero or more.
        gradient: what the map was made of: the gradient, its mean, or the shares by channel; of
            `grad-cam` the map on the layer's grid, (1, h, w).
        value: the target's, in the image.
        target: whose value it is.
        method: how the map was made.
        gap: of `integrated`, the sum of the shares less S(x) - S(x0); of others None.
        layer: of `grad-cam`, whose maps were weighed; of others None.
        image: preprocessed.
        legend: how figures show the image.

    Shape:
        map: (H, W). gradient: (C, H, W). image: (C, H, W).

    Source:
        Simonyan et al. 2013; Smilkov et al. 2017; Sundararajan et al. 2017; Selvaraju et al. 2017.
    """

    map: Tensor
    gradient: Tensor
    value: float
    target: Target
    method: SaliencyMethod
    gap: float | None
    layer: str | None
    image: Tensor
    legend: Legend = field(default_factory=Legend, repr=False)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The map and what it was made of by name, as `convscope saliency` writes them."""
        return {"map": self.map.numpy(), "gradient": self.gradient.numpy()}

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary: what was asked and where the map is largest."""
        row, column = divmod(int(self.map.argmax()), self.map.shape[1])
        return {
            "target": self.target.name,
            "quantity": self.target.quantity,
            "value": self.value,
            "method": str(self.method),
            "layer": self.layer,
            "gap": self.gap,
            "largest_at": [row, column],
            "largest": float(self.map.max()),
        }

    def __repr__(self) -> str:
        rows, columns = self.map.shape
        about = f"{self.target.name}, {self.target.quantity} {self.value:.4g}"
        return f"<Saliency {rows}x{columns} by {self.method} of {about}>"


@torch.no_grad()
def saliency(
    network: Network,
    image: Tensor,
    target: TargetLike | None = None,
    settings: SaliencySettings = SaliencySettings(),
    *,
    progress: Progress | None = None,
) -> Saliency:
    """Find which pixels of an image a target answers to.

    Args:
        network: The network.
        image: Preprocessed.
        target: A class, whose score before the softmax is taken; or a function of the output; None
            is the class that is predicted.
        settings: How the map is made.
        progress: Is told how many passes are done.

    Raises:
        BadOption: There is no such class, or settings are out of range.
        BadInput: The image has another shape; the target does not depend on the layer.
        NoSuchLayer: Of grad-cam.
        NonFinite: The value, or what the map is made of, is NaN or infinite.

    Shape:
        image: (C, H, W) or (1, C, H, W).

    Example:
        >>> from convscope.methods.saliency import saliency
        >>> found = saliency(network, image, 1)
        >>> found.map.shape, found.value == float(network.trace(image)["classifier"][0, 1])
        (torch.Size([32, 32]), True)
    """
    image = one_image(network, image)
    names = network.legend.classes
    score = score_target(network, image, target, names)
    tell, method, gap, layer = progress or silent, settings.method, None, None
    if method is SaliencyMethod.GRAD_CAM:
        layer = _activation(network, settings.layer)
        found, gradient, value = _grad_cam(network, image, score, layer)
    elif method is SaliencyMethod.INTEGRATED:
        gradient, gap, value = _integrated(network, image, score, settings.steps, tell)
        found = gradient.sum(0)
    elif method is SaliencyMethod.SMOOTH:
        value = _values(network, image[None], score)
        gradient = _mean_gradient(network, _noisy(image, settings), score, tell)
        found = gradient.abs().amax(0)
    else:
        value, [gradient] = _gradients(network, image[None], score)
        found = gradient.abs().amax(0)
    if not (bool(value.isfinite().all()) and bool(found.isfinite().all())):
        what = "its gradient" if layer is None else layer
        raise NonFinite(
            f"{score.name} or {what} is NaN or infinite for this image: check the weights"
        )
    return Saliency(
        found.cpu(), gradient.cpu(), float(value[0]), score, method, gap, layer,
        widened(image.cpu()), network.legend,
    )  # fmt: skip


def _gradients(network: Network, images: Tensor, score: Target) -> tuple[Tensor, Tensor]:
    """The score in each image, (N,), and its gradient, (N, C, H, W): GRADIENT's walk, by autograd.

    It lets go what it has passed, where a trace keeps the values of all layers.
    """
    with torch.inference_mode(False):
        pixels = network.check_images(images).detach()
        pixels = pixels.clone(memory_format=torch.channels_last).requires_grad_()
        outputs = network.differentiable(pixels, score.layers(network))
        values, slopes = score.gradients(outputs)
        [gradient] = torch.autograd.grad(outputs, pixels, slopes)
    return widened(values), widened(gradient)


def _values(network: Network, images: Tensor, score: Target) -> Tensor:
    """The score in each image, (N,)."""
    layers = score.layers(network)
    found = network.values(images.contiguous(memory_format=torch.channels_last), layers)
    return widened(score.values([found[name] for name in layers]))


def _mean_gradient(network: Network, images: Tensor, score: Target, tell: Progress) -> Tensor:
    """The mean of dS/dx over some images, (C, H, W)."""
    total, done = torch.zeros_like(widened(images[0]), dtype=torch.float64), 0
    for batch in _batches(network, images, score):
        total += _gradients(network, batch, score)[1].double().sum(0)
        done += len(batch)
        tell("passes", done, len(images))
    return (total / len(images)).to(widened(images).dtype)


def _batches(network: Network, images: Tensor, score: Target) -> Iterator[Tensor]:
    size = min(group_size(network, layer, None) for layer in score.layers(network))
    return iter(images.tensor_split(-(-len(images) // size)))


def _noisy(image: Tensor, settings: SaliencySettings) -> Tensor:
    """Copies of an image with noise; drawn on the CPU, so that all devices get the same."""
    generator = torch.Generator().manual_seed(settings.seed)
    noise = torch.randn((settings.copies, *image.shape), generator=generator)
    span = float(image.max() - image.min())
    return image + settings.noise * span * noise.to(image)


def _integrated(
    network: Network, image: Tensor, score: Target, steps: int, tell: Progress
) -> tuple[Tensor, float, Tensor]:
    """Shares by channel, how much their sum misses S(x) - S(x0), and S(x), (1,); x0 is zeros."""
    zero = torch.zeros_like(image)
    part = (torch.arange(steps, device=image.device, dtype=image.dtype) + 0.5) / steps
    gradient = _mean_gradient(network, part[:, None, None, None] * image, score, tell)
    shares = (widened(image) - widened(zero)) * gradient
    low, high = _values(network, torch.stack([zero, image]), score)
    gap = float(shares.double().sum()) - (float(high.double()) - float(low.double()))
    return shares, gap, high[None]


def _grad_cam(
    network: Network, image: Tensor, score: Target, layer: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The map over the image, and on the layer's grid, (1, h, w); and the score, (1,)."""
    trace = network.trace(image)
    rows = torch.zeros(1, dtype=torch.int64, device=network.device)
    value, signals = target_signals(score, trace, rows, GRADIENT.seed)
    gradient = descend_to(trace, signals, rows, GRADIENT, layer)
    if gradient is None:
        raise BadInput(f"{score.name} does not depend on {layer}: name a layer below the output")
    weights = gradient.mean((2, 3), keepdim=True)
    small = widened((weights * trace[layer]).sum(1, keepdim=True).relu())  # (1, 1, h, w)
    size = (image.shape[-2], image.shape[-1])
    large = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
    return large[0, 0], small[0], widened(value)


def _activation(network: Network, layer: str | None) -> str:
    """The layer whose maps are weighed."""
    convolutions = network.conv_layers()
    if layer is None and not convolutions:
        raise BadInput("the network has no convolutional layer: name a layer")
    name = convolutions[-1] if layer is None else network.feature_layer(layer).name
    name = network.activation(name) if network.nodes[name].op.weighs else name
    if len(network.layer(name).shape) != 3:
        raise BadInput(f"{name} is {network.layer(name).size}, and no maps: name a layer of maps")
    return name
