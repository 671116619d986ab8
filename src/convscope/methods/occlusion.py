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
    """The paper's Fig. 6 for one image, in numbers. R x C positions of the occluder.

    probability : (R, C), of the class `target`;   label : (R, C) int64, the most probable class
    log_odds : (R, C) float64, log p/(1-p) of the target: it goes on telling positions apart where p
        is rounded to 1
    activity : (R, C), the feature map of `unit` summed over its positions
    rows (R,), columns (C,) : int64, top-left of the occluder in image pixels
    target : a class;   unit : the map's strongest unit in the image as it is
    projection : (3, H, W), that unit's projection, in the scale of the preprocessed image, signed
    activation : the unit's value;   box : its receptive field, not clipped to the image
    base_probabilities (classes,), base_log_odds, base_activity : for the image as it is
    image, fill : (3, H, W), preprocessed
    rounding : what a sweep in fewer bits lost
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
        """The maps, and what they are measured against, as they are saved.

        probability, log_odds, label, activity (R, C); rows, columns; target; unit (text); size
        (h, w) of the occluder; base_probability, base_log_odds, base_label, base_activity of the
        image as it is.
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
    """Which part of an image does the network's answer rest on?

    image : (3, H, W), preprocessed;   occluder : default `Occluder.fitting` the image
    target : the class to watch (default: the predicted one)
    unit : the feature map to watch (default: the strongest of `layer`); at its strongest position
        it is projected, unless it names another
    layer : default: the last convolutional one. A convolution stands for its activation, after
        batch norm and nonlinearity.
    Raises  as `sweep`.     Source: Zeiler & Fergus 2014, Fig. 6
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
    """The unit with a layer's strongest activation in one image (C, H, W), with its position.

    Its feature map is the paper's "strongest feature map". Of equals the first in order of
    channel, row, column.
    layer : default: the last convolutional one; a convolution stands for its activation
    Raises  NoSuchLayer; BadInput: there is no convolution; NonFinite: the layer holds NaN.
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
