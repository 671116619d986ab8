"""Occlusion sensitivity: which part of an image the network's answer rests on.

Zeiler & Fergus 2014, §4.2, Fig. 6
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from convscope.errors import BadInput
from convscope.geometry.box import Box
from convscope.methods.numbers import widened
from convscope.methods.occluder import Fill, Occluder, fill_planes
from convscope.methods.occlusion_maps import ClassMaps, OcclusionMaps, TargetMaps
from convscope.methods.project import Projections, project
from convscope.methods.rules import DECONVNET, Rules
from convscope.methods.sweep import (
    Method,
    Rounding,
    Sweep,
    SweepPrecision,
    one_image,
    refuse_not_finite,
    sweep,
)
from convscope.methods.targets import ClassAt, TargetLike, Watched, as_target, watched
from convscope.network.network import Network
from convscope.network.unit import Unit
from convscope.progress import Progress

__all__ = [
    "Method",
    "Occluder",
    "OcclusionMaps",
    "Rounding",
    "Sweep",
    "SweepPrecision",
    "activation_of",
    "class_maps",
    "occlude",
    "strongest_map",
    "sweep",
]  # fmt: skip


def occlude(
    network: Network,
    image: Tensor,
    occluder: Occluder | None = None,
    *,
    fill: Fill,
    target: TargetLike | None = None,
    background: int | None = None,
    layer: str | None = None,
    unit: Unit | str | None = None,
    rules: Rules = DECONVNET,
    batch_size: int | None = None,
    method: Method | str = Method.INCREMENTAL,
    precision: SweepPrecision | str = SweepPrecision.FLOAT32,
    progress: Progress | None = None,
) -> OcclusionMaps:
    """Measure which part of an image the network's answer rests on.

    A box slides over the image. At each of its positions the network is run on the image with
    the box covered: where the probability of the class drops, the class was read.

    Args:
        network: A network that classifies, or any other with a target.
        image: The image, preprocessed.
        occluder: The box and its step; by default `Occluder.fitting` the image.
        fill: What the box shows, in preprocessed units: a number, a number for each channel, or
            planes as large as the image.
        target: The class to watch; by default the one that is predicted. Or any function of the
            output for one image, to one number. `methods.targets` has what there is besides: a
            class of maps, a value of a regression.
        background: The class of maps that is not watched by default, unless there is no other.
        layer: The layer whose strongest feature map is watched; by default the last convolutional
            one. A convolution stands for its activation, after batch norm and nonlinearity.
        unit: The feature map to watch, instead of the layer's strongest one. Its strongest
            position is projected, unless the unit names another.
        rules: The method of projection.
        batch_size: Images at a time in a full run; by default as many as fit in the memory budget.
        method: How the network is run; both give the same numbers.
        precision: The numbers that the network is run in. bfloat16 rounds, and says how much.
        progress: Is told how many positions are done.

    Shape:
        image: (3, H, W).

    Raises:
        NoSuchLayer: There is no such layer.
        NoSuchUnit: There is no such feature map or position.
        BadInput: The image has another shape, or the network ends in something that needs a
            function for its target.
        BadOption: A fill, class, batch size, method or precision is not one that is allowed.
        NonFinite: The network makes NaN or infinity of this image.

    Source:
        Zeiler & Fergus 2014, §4.2 and Fig. 6.

    Example:
        >>> maps = occlude(network, image, Occluder(16, 8), fill=0.0, target=1)
        >>> maps.probability.shape
        torch.Size([4, 4])
        >>> margin = lambda scores: scores[1] - scores[0]
        >>> occlude(network, image, Occluder(16, 8), fill=0.0, target=margin).value.shape
        torch.Size([4, 4])
    """
    image = one_image(network, image)
    occluder = occluder or Occluder.fitting(*image.shape[-2:])
    wish = as_target(target)
    seen = watched(network, image, wish, background=background)
    feature = strongest_map(network, image, layer) if unit is None else network.unit(unit)
    feature = activation_of(network, feature)
    projected = project(network.trace(image, [feature.layer]), feature, rules)
    result = sweep(
        network,
        image,
        occluder,
        fill=fill,
        units=[feature],
        target=None if seen is None else seen.target,
        batch_size=batch_size,
        method=method,
        precision=precision,
        progress=progress,
    )
    number = wish.index if isinstance(wish, ClassAt) else None
    answer = answer_maps(result, number, seen)
    found = assembled(result, answer, projected, image, fill_planes(fill, image), occluder)
    return replace(found, legend=network.legend)


def assembled(
    result: Sweep,
    answer: ClassMaps | TargetMaps,
    projected: Projections,
    image: Tensor,
    fill: Tensor,
    occluder: Occluder,
) -> OcclusionMaps:
    """Put together what an occluder changes, and what the watched unit looks at.

    Args:
        result: The sweep; the first unit that it watched counts.
        answer: What it tells of the answer.
        projected: That unit's projection, alone.
        image: As the network sees it.
        fill: What the occluder shows.
        occluder: Its size and stride.

    Shape:
        image, fill: (C, H, W).
    """
    return OcclusionMaps(
        answer=answer,
        activity=result.activity[..., 0],
        rows=result.rows,
        columns=result.columns,
        unit=projected.units[0],
        projection=projected.projection[0].cpu(),
        activation=float(projected.activation[0]),
        box=Box(*(int(side) for side in projected.box[0])),
        base_activity=float(result.base_activity[0]),
        image=widened(image.cpu()),
        fill=widened(fill.cpu()),
        occluder=occluder,
        rounding=result.rounding,
    )


def answer_maps(result: Sweep, target: int | None, seen: Watched | None) -> ClassMaps | TargetMaps:
    """What a sweep tells of the answer: of a class, or of a target's value where one was watched.

    Args:
        result: The sweep.
        target: A class; None is the one of the image as it is.
        seen: What else was watched.
    """
    if seen is None:
        return class_maps(result, target)
    assert result.values is not None and result.base_value is not None
    return TargetMaps(result.values, result.base_value, seen)


def class_maps(result: Sweep, target: int | None) -> ClassMaps:
    """What a sweep tells of a class.

    Args:
        result: The sweep.
        target: The class; by default the most probable one of the image as it is.
    """
    base = result.base_probabilities()
    target = int(base.argmax()) if target is None else target
    return ClassMaps(
        target=target,
        probability=result.probability(target),
        log_odds=result.log_odds(target),
        label=result.label(),
        base_probabilities=base,
        base_log_odds=result.base_log_odds(target),
    )


def strongest_map(network: Network, image: Tensor, layer: str | None = None) -> Unit:
    """Find the unit with a layer's strongest activation in one image, with its position.

    Its feature map is the paper's "strongest feature map". Of several that are equally strong it
    is the first, in order of channel, row, column.

    Args:
        network: The network.
        image: The image, preprocessed.
        layer: The layer; by default the last convolutional one. A convolution stands for its
            activation.

    Shape:
        image: (C, H, W).

    Raises:
        NoSuchLayer: There is no such layer.
        BadInput: The network has no convolution, and no layer was named.
        NonFinite: The layer holds NaN or infinity.

    Example:
        >>> strongest_map(network, image).layer
        'relu2'
    """
    if layer is None:
        convolutions = network.conv_layers()
        if not convolutions:
            raise BadInput("the network has no convolutional layer: name a layer to watch")
        layer = convolutions[-1]
    name = _activation_name(network, layer)
    values = network.values(image, [name])[name][0]  # (C, ...)
    if not torch.isfinite(values).all():
        refuse_not_finite(network, image)
    if values.dim() <= 1:
        return Unit(name, int(values.argmax()))
    maps = values.flatten(0, -2)  # (C*H, W)
    above, column = divmod(int(values.reshape(-1).argmax()), maps.shape[-1])
    return Unit(name, *divmod(above, values.shape[-2]), column)


def activation_of(network: Network, unit: Unit) -> Unit:
    """The unit of the same feature map in the activation that a convolution stands for.

    Args:
        network: The network.
        unit: Of a convolution, or of any other layer, which stands for itself.
    """
    return Unit(_activation_name(network, unit.layer), unit.channel, unit.row, unit.column)


def _activation_name(network: Network, layer: str) -> str:
    weighs = network.nodes[network.feature_layer(layer).name].op.weighs
    return network.activation(layer) if weighs else layer
