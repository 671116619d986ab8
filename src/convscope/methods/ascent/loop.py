"""The loop: pictures climb an objective, all of a batch in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

import torch
from torch import Tensor

from convscope.errors import BadOption, NonFinite
from convscope.methods.ascent.objectives import (
    Objective,
    after_activation,
    before_activation,
    diversity,
    small,
    units,
)
from convscope.methods.ascent.parametrisations import (
    Canvas,
    Count,
    FourierPictures,
    MagnitudePictures,
    PictureParameters,
    PixelPictures,
    SpherePictures,
    magnitude_of,
)
from convscope.methods.ascent.transforms import STILL, Transforms
from convscope.methods.descent import WORTH_WINDOWS
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.local.receptive_windows import receptive_windows_of
from convscope.network.node import Node
from convscope.progress import Progress, silent

__all__ = [
    "Ascent",
    "AscentMethod",
    "AscentSettings",
    "Forward",
    "Frame",
    "ascend",
    "forward_to",
    "maximise",
    "optimise",
    "whole_image",
]

BATCH = 8
"""Pictures that are optimised together."""


class AscentMethod(StrEnum):
    """How a picture is parametrised and kept like an image."""

    FOURIER = "fourier"
    """Frequencies of decorrelated colours (Olah et al. 2017)."""
    MACO = "maco"
    """Phases only, magnitudes of the user's own images (Fel et al. 2023)."""
    ERHAN = "erhan"
    """Pixels of a bounded norm (Erhan et al. 2009)."""
    CLASS = "class"
    """Pixels with a penalty on their norm, S - λ ‖I‖² (Simonyan et al. 2013)."""


@dataclass(frozen=True, eq=False)
class AscentSettings:
    """How pictures are optimised.

    Attributes:
        method: the parametrisation.
        steps: how many are taken.
        size: (rows, columns) of the canvas; None is the receptive field, or the image where that
            is smaller.
        negative: what makes a unit small is looked for instead.
        variants: pictures for each unit, made unlike each other.
        transforms: None is the method's own.
        norm: of a picture by Erhan's method, in preprocessed units; None is a quarter of the
            distance from black to white.
        penalty: λ of the class model, divided by the number of values of a picture.
        examples: (N, C, H, W), preprocessed images whose magnitudes MACO keeps.
        seed: of everything that is drawn.
    """

    method: AscentMethod = AscentMethod.FOURIER
    steps: int = 128
    size: tuple[int, int] | None = None
    negative: bool = False
    variants: int = 1
    transforms: Transforms | None = None
    norm: float | None = None
    penalty: float = 1.0
    examples: Tensor | None = None
    seed: int = 0

    def check(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            BadOption: steps, size, variants, or no examples for MACO.
        """
        if self.steps < 1 or self.variants < 1:
            raise BadOption(f"{self.steps} steps, {self.variants} variants: 1 or more")
        if self.size is not None and min(self.size) < 1:
            raise BadOption(f"size {self.size}: 1 pixel or more")
        if self.method is AscentMethod.MACO and (self.examples is None or len(self.examples) == 0):
            raise BadOption("maco keeps the magnitudes of images: give some (--data)")


@dataclass(frozen=True, eq=False)
class Ascent:
    """Optimised pictures of one layer.

    Attributes:
        picture: (U, C, h, w), in preprocessed units.
        value: (U,), what was maximised, at the picture as it is.
        activation: (U,), the value of the unit's activation there.
        layer: that was optimised: the one before its rectifier.
        channels: of the U pictures; a unit's variants follow each other.
        objective: in words.
        canvas: of the pictures' size, which says what is black and white.
    """

    picture: Tensor
    value: Tensor
    activation: Tensor
    layer: str
    channels: tuple[int, ...]
    objective: str
    canvas: Canvas

    @property
    def not_finite(self) -> Tensor:
        """bool (U,): the unit is NaN or infinite in its picture."""
        finite = self.picture.isfinite().flatten(1).all(1)
        return ~(finite & self.value.isfinite() & self.activation.isfinite())


Forward = Callable[[Tensor, Sequence[str]], Mapping[str, Tensor]]
"""(pictures in their frame, layers) -> their values, differentiable."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What is seen of the image, and how to run the network on that alone.

    Attributes:
        size: (rows, columns) of what is seen.
        forward: from such pictures to values.
        lifted: the same, without the rectifiers next below the unit; None where there are none.
        top: of the frame in the image.
        left: likewise.
        at: (row, column) of the unit in its layer's values.
    """

    size: tuple[int, int]
    forward: Forward
    lifted: Forward | None = None
    top: int = 0
    left: int = 0
    at: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Lift:
    """What pulls a picture whose unit is zero, for rectifiers below it let no gradient through.

    Attributes:
        unit: what is zero then.
        forward: the network without those rectifiers, in whose place values pass as they are.

    Source:
        Olah et al. 2017, "Feature Visualization", Distill: their redirected gradients.
    """

    unit: Objective
    forward: Forward


def forward_to(network: Graph, layer: str, position: tuple[int, int] | None = None) -> Frame:
    """How to run a network up to one unit of a layer.

    Its receptive field alone, where that is smaller than the image and moves with the unit; else
    the whole image.

    Args:
        network: The network.
        layer: The layer.
        position: (row, column) of the unit; None is the middle of the layer.
    """
    cone = receptive_windows_of(network, layer)
    rows, columns = network.layer(layer).grid
    position = (rows // 2, columns // 2) if position is None else position
    if cone is None or cone.share() >= WORTH_WINDOWS:
        return replace(whole_image(network, layer), at=position)
    positions = torch.tensor([position], device=network.device)
    [box] = cone.boxes(positions)
    places: dict[int, Tensor] = {}  # of so many pictures; the cone remembers what lies where
    rectifiers = network.first_below(layer, lambda node: node.op.rectifies(node))

    def in_windows(
        pictures: Tensor, layers: Sequence[str], without: Sequence[Node] = ()
    ) -> Mapping[str, Tensor]:
        at = places.setdefault(len(pictures), positions.expand(len(pictures), 2))
        inside = cone.inside(INPUT, at)
        seen = pictures if inside is None else pictures * inside
        values = {INPUT: seen.contiguous(memory_format=torch.channels_last)}
        for node in without:
            cone.run(node.inputs[0], values, at)
            values[node.name] = cone.patch(node, 0, values, at)
        for name in layers:
            cone.run(name, values, at)
        return {**values, INPUT: pictures}

    lifted = partial(in_windows, without=rectifiers) if rectifiers else None
    return Frame(cone.size(INPUT), in_windows, lifted, box.top, box.left)


def whole_image(network: Graph, layer: str | None = None) -> Frame:
    """How to run a network on whole images, as far as some layers need.

    Args:
        network: The network.
        layer: The one whose units are lifted, if any are.
    """
    rectifiers = (
        [] if layer is None else network.first_below(layer, lambda node: node.op.rectifies(node))
    )

    def forward(
        pictures: Tensor, layers: Sequence[str], without: Sequence[Node] = ()
    ) -> Mapping[str, Tensor]:
        values = {INPUT: pictures.contiguous(memory_format=torch.channels_last)}
        for node in network.below(layers):
            inputs = [values[name] for name in node.inputs]
            values[node.name] = inputs[0] if node in without else node.forward(*inputs)
        return values

    height, width = network.input_shape[-2:]
    lifted = partial(forward, without=rectifiers) if rectifiers else None
    return Frame((height, width), forward, lifted)


def optimise(
    pictures: PictureParameters,
    objective: Objective,
    forward: Forward,
    steps: int,
    progress: Callable[[int], None],
    lift: Lift | None = None,
) -> Tensor:
    """Let pictures climb an objective.

    Args:
        pictures: Are changed.
        objective: To be made large.
        forward: How the network is run on them, with transforms drawn anew at every step.
        steps: How many are taken.
        progress: Is called with the number of the step.
        lift: What pulls where the unit is zero; None leaves such pictures where they are.

    Returns:
        The objective before each step, (steps, U).
    """
    reached = []
    for step in range(steps):
        with torch.enable_grad():
            answers = forward(pictures.images(), objective.layers)
            climbed = values = objective.value(answers)
            if lift is not None and (zero := lift.unit.value(answers) == 0).any():
                lifted = lift.forward(answers[INPUT], objective.layers)
                climbed = torch.where(zero, objective.value(lifted), values)
            [gradient] = torch.autograd.grad(climbed.sum(), [pictures.parameter])
        pictures.step(gradient)
        reached.append(values.detach())
        progress(step + 1)
    return torch.stack(reached)


def maximise(
    network: Graph,
    layer: str,
    channels: Sequence[int] | None,
    canvas: Canvas,
    settings: AscentSettings = AscentSettings(),
    *,
    progress: Progress = silent,
) -> Ascent:
    """Make the pictures that excite units of one layer most.

    Args:
        network: The network.
        layer: A convolution, its activation, or a layer of scores. What is optimised is the value
            before the rectifier, of the unit in the middle.
        channels: Which feature maps; None is all of them.
        canvas: The colours, as large as the image; it is cut to the size that is used.
        settings: How.
        progress: Is called with ("pictures", done, total).

    Raises:
        NoSuchLayer: There is none of that name.
        BadOption: Settings that cannot work.
        NonFinite: A unit is NaN or infinite in its picture.

    Source:
        Erhan et al. 2009; Simonyan et al. 2013; Olah et al. 2017; Fel et al. 2023.

    Example:
        >>> found = maximise(network, "conv5", [12], canvas)
        >>> found.picture.shape, float(found.activation)
    """
    found = ascend(network, layer, channels, canvas, settings, progress=progress)
    lost = found.not_finite
    if bool(lost.any()):
        units = sorted({found.channels[place] for place in lost.nonzero().flatten().tolist()})
        some = ", ".join(f"{layer}/{channel}" for channel in units[:8])
        more = f" and {len(units) - 8} more" if len(units) > 8 else ""
        raise NonFinite(
            f"{some}{more}: NaN or infinite in the optimised picture: check the weights, or leave "
            "it out"
        )
    return found


def ascend(
    network: Graph,
    layer: str,
    channels: Sequence[int] | None,
    canvas: Canvas,
    settings: AscentSettings = AscentSettings(),
    *,
    progress: Progress = silent,
) -> Ascent:
    """`maximise`, whatever units come to: `Ascent.not_finite` says which are no numbers.

    Args:
        network, layer, channels, canvas, settings, progress: As `maximise` has them.

    Raises:
        NoSuchLayer, BadOption: As `maximise`.
    """
    settings.check()
    target = before_activation(network, layer)
    frame = forward_to(network, target)
    canvas = _cut(canvas, frame, settings.size)
    wanted = list(range(network.layer(target).channels)) if channels is None else list(channels)
    every = [channel for channel in wanted for _ in range(settings.variants)]
    per_batch = max(1, BATCH // settings.variants) * settings.variants
    found = []
    for start in range(0, len(every), per_batch):
        batch = every[start : start + per_batch]
        generator = torch.Generator().manual_seed(settings.seed)
        count = Count(len(batch) // settings.variants, settings.variants)
        pictures = _pictures(canvas, settings, count, generator)
        objective = _objective(target, batch, canvas, settings)
        done = start * settings.steps

        def tell(step: int, done: int = done, count: int = len(batch)) -> None:
            progress("steps", done + step * count, len(every) * settings.steps)

        transformed = _transformed(frame, _transforms(settings), canvas.grey, generator)
        lift = Lift(units(target, batch), frame.lifted) if frame.lifted else None
        optimise(pictures, objective, transformed, settings.steps, tell, lift)
        with torch.no_grad():
            images = pictures.images().detach()
            values = _transformed(frame, STILL, canvas.grey, torch.Generator())(images, [target])
            found.append((images, *_reached(network, layer, target, batch, values[target])))
    picture, value, activation = (torch.cat(parts) for parts in zip(*found, strict=True))
    words = _objective(target, every, canvas, settings).description
    return Ascent(picture, value, activation, target, tuple(every), words, canvas)


def _pictures(
    canvas: Canvas, settings: AscentSettings, count: Count, generator: torch.Generator
) -> PictureParameters:
    if settings.method is AscentMethod.MACO:
        assert settings.examples is not None
        resized = torch.nn.functional.interpolate(
            settings.examples.to(canvas.low), canvas.shape[1:], mode="bilinear", antialias=True
        )
        return MagnitudePictures(canvas, magnitude_of(canvas, resized), count, generator)
    if settings.method is AscentMethod.ERHAN:
        norm = settings.norm or float((canvas.high - canvas.low).norm()) / 4
        return SpherePictures(canvas, norm, count, generator)
    if settings.method is AscentMethod.CLASS:
        return PixelPictures(canvas, count)
    return FourierPictures(canvas, count, generator)


def _objective(
    layer: str, channels: Sequence[int], canvas: Canvas, settings: AscentSettings
) -> Objective:
    objective = units(layer, channels)
    if settings.negative:
        objective = -objective
    if settings.method is AscentMethod.CLASS:
        objective = objective - small(settings.penalty / canvas.low.numel())
    if settings.variants > 1:
        objective = objective + diversity(layer, len(channels) // settings.variants)
    return objective


def _transforms(settings: AscentSettings) -> Transforms:
    if settings.transforms is not None:
        return settings.transforms
    still = settings.method in (AscentMethod.ERHAN, AscentMethod.CLASS)  # as published
    return STILL if still else Transforms()


def _transformed(
    frame: Frame, transforms: Transforms, grey: Tensor, generator: torch.Generator
) -> Forward:
    """The network's forward pass on transformed pictures, around which lies grey, (C, h, w)."""

    def forward(pictures: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        return frame.forward(transforms(pictures, grey, frame.size, generator), layers)

    return forward


def _reached(
    network: Graph, layer: str, target: str, channels: Sequence[int], values: Tensor
) -> tuple[Tensor, Tensor]:
    """The units' values and activations, from the values of the layer that was optimised."""
    objective = units(target, channels)
    activations = after_activation(network, layer, values)
    return objective.value({target: values}), objective.value({target: activations})


def _cut(canvas: Canvas, frame: Frame, size: tuple[int, int] | None) -> Canvas:
    """The canvas where the frame lies, of the size that is asked for."""
    extent = canvas.shape[1:]
    height, width = size or (min(frame.size[0], extent[0]), min(frame.size[1], extent[1]))
    top = frame.top + (frame.size[0] - height) // 2
    left = frame.left + (frame.size[1] - width) // 2
    rows = torch.arange(top, top + height).clamp(0, extent[0] - 1)
    columns = torch.arange(left, left + width).clamp(0, extent[1] - 1)

    def part(planes: Tensor) -> Tensor:
        return planes[:, rows[:, None], columns[None, :]]

    return Canvas(part(canvas.low), part(canvas.high), canvas.reversed_colours)
