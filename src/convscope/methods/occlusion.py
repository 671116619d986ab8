"""Occlusion sensitivity: which part of an image the network's answer rests on.

Zeiler & Fergus 2014, §4.2, Fig. 6
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadInput
from convscope.geometry.box import Box
from convscope.methods.classes import Head
from convscope.methods.numbers import widened
from convscope.methods.occluder import Fill, Occluder, fill_planes
from convscope.methods.project import project
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
    "occlude",
    "strongest_map",
    "sweep",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class OcclusionMaps:
    """The numbers of the paper's Fig. 6 for one image, at R x C positions of the occluder.

    Attributes:
        probability: Of the class `target`, for each position.
        log_odds: log p/(1-p) of the target. It still tells positions apart where p is rounded to 1.
        label: The most probable class.
        activity: The feature map of `unit`, summed over its positions.
        rows: Top of the occluder, in image pixels.
        columns: Left side of the occluder, in image pixels.
        target: The class that is watched.
        unit: The strongest unit of the map that is watched, in the image without the occluder.
        projection: That unit's projection, in the scale of the preprocessed image, signed.
        activation: The unit's value.
        box: Its receptive field, in image pixels, not clipped to the image.
        base_probabilities: Of every class, for the image without the occluder.
        base_log_odds: Of the target, for the image without the occluder.
        base_activity: Of the map, for the image without the occluder.
        image: The image, preprocessed.
        fill: What the occluder shows, preprocessed.
        occluder: The size and the stride of the box.
        rounding: What was lost by fewer bits; None in float32.

    Shape:
        probability, activity: (R, C). log_odds: (R, C), float64. label: (R, C), int64.
        rows: (R,), int64. columns: (C,), int64. base_probabilities: (classes,).
        projection, image, fill: (3, H, W).

    Source:
        Zeiler & Fergus 2014, Fig. 6.
    """

    probability: Tensor
    log_odds: Tensor
    label: Tensor
    activity: Tensor
    rows: Tensor
    columns: Tensor
    target: int
    unit: Unit
    projection: Tensor
    activation: float
    box: Box
    base_probabilities: Tensor
    base_log_odds: float
    base_activity: float
    image: Tensor
    fill: Tensor
    occluder: Occluder
    rounding: Rounding | None = None

    @property
    def base_probability(self) -> float:
        """Of the target, in the image as it is."""
        return float(self.base_probabilities[self.target])

    @property
    def base_label(self) -> int:
        """The most probable class of the image as it is."""
        return int(self.base_probabilities.argmax())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Convert to named arrays, as the maps are saved: `np.savez(path, **maps.arrays())`.

        Returns:
            The maps probability, log_odds, label and activity (R, C); rows (R,) and columns (C,);
            target; unit, as text; size, (h, w) of the occluder; and base_probability,
            base_log_odds, base_label and base_activity of the image without the occluder.
        """
        return {
            "probability": self.probability.numpy(),
            "log_odds": self.log_odds.numpy(),
            "label": self.label.numpy(),
            "activity": self.activity.numpy(),
            "rows": self.rows.numpy(),
            "columns": self.columns.numpy(),
            "target": np.array(self.target, dtype=np.int64),
            "unit": np.array(str(self.unit)),
            "size": np.array(self.occluder.size, dtype=np.int64),
            "base_probability": np.array(self.base_probability),
            "base_log_odds": np.array(self.base_log_odds),
            "base_label": np.array(self.base_label, dtype=np.int64),
            "base_activity": np.array(self.base_activity),
        }


def occlude(
    network: Network,
    image: Tensor,
    occluder: Occluder | None = None,
    *,
    fill: Fill,
    target: int | None = None,
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
        network: A network that classifies.
        image: The image, preprocessed.
        occluder: The box and its step; by default `Occluder.fitting` the image.
        fill: What the box shows, in preprocessed units: a number, a number for each channel, or
            planes as large as the image.
        target: The class to watch; by default the one that is predicted.
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
        BadInput: The image has another shape, or the network does not end in a score per class.
        BadOption: A fill, class, batch size, method or precision is not one that is allowed.
        NonFinite: The network makes NaN or infinity of this image.

    Source:
        Zeiler & Fergus 2014, §4.2 and Fig. 6.

    Example:
        >>> maps = occlude(network, image, Occluder(16, 8), fill=0.0, target=1)
        >>> maps.probability.shape
        torch.Size([4, 4])
    """
    image = one_image(network, image)
    occluder = occluder or Occluder.fitting(*image.shape[-2:])
    if target is not None:
        Head.of(network).check(target)
    watched = strongest_map(network, image, layer) if unit is None else network.unit(unit)
    watched = _activation_of(network, watched)
    projected = project(network.trace(image, [watched.layer]), watched, rules)
    result = sweep(
        network,
        image,
        occluder,
        fill=fill,
        units=[watched],
        batch_size=batch_size,
        method=method,
        precision=precision,
        progress=progress,
    )
    base = result.base_probabilities()
    target = int(base.argmax()) if target is None else target
    return OcclusionMaps(
        probability=result.probability(target),
        log_odds=result.log_odds(target),
        label=result.label(),
        activity=result.activity[..., 0],
        rows=result.rows,
        columns=result.columns,
        target=target,
        unit=projected.units[0],
        projection=projected.projection[0].cpu(),
        activation=float(projected.activation[0]),
        box=Box(*(int(side) for side in projected.box[0])),
        base_probabilities=base,
        base_log_odds=result.base_log_odds(target),
        base_activity=float(result.base_activity[0]),
        image=widened(image.cpu()),
        fill=widened(fill_planes(fill, image).cpu()),
        occluder=occluder,
        rounding=result.rounding,
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


def _activation_of(network: Network, unit: Unit) -> Unit:
    return Unit(_activation_name(network, unit.layer), unit.channel, unit.row, unit.column)


def _activation_name(network: Network, layer: str) -> str:
    weighs = network.nodes[network.layer(layer).name].op.weighs
    return network.activation(layer) if weighs else layer
