"""Projection: a unit's activation carried down to the pixels (Zeiler & Fergus 2014, §2.1)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from convscope.display import LISTED, Pictured
from convscope.errors import BadInput, NonFinite
from convscope.geometry.box import Box
from convscope.methods.descent import (
    Start,
    cone_for,
    descend,
    descend_from,
    descend_in_windows,
    group_size,
)
from convscope.methods.numbers import widened
from convscope.methods.rules import DECONVNET, GRADIENT, InitialSignal, Rules
from convscope.methods.targets import Function, Target
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.legend import Legend
from convscope.network.local.receptive_windows import SavedActivations, SavedInCrops, SavedInMaps
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = [
    "Projections",
    "TargetProjections",
    "project",
    "project_fields",
    "project_target",
    "target_signals",
]


@dataclass(frozen=True, eq=False)
class Projections(Pictured):
    """What `project` returns: one entry for each of U units.

    Attributes:
        fields: The projection where it can be other than zero, in the scale of the preprocessed
            image, signed, not rectified. `projection` has the same in its place in the image.
        places: Where in the image each of the fields lies.
        shape: Of the image, (3, H, W).
        activation: Each unit's value in its image.
        box: Each unit's receptive field (top, left, bottom, right) in image pixels, half-open,
            not clipped to the image.
        units: The units, with the positions that were projected.
        images: The row of the trace that each unit was seen in.
        inputs: The images of the trace, preprocessed.
        legend: How figures show them.
        rules: The method's name.

    Shape:
        fields: (3, h, w) each. activation: (U,). box: (U, 4), int64. images: (U,), int64.
        inputs: (N, 3, H, W).

    Example:
        >>> projections = convscope.project(trace, ["conv2/1", "conv2/3"])
        >>> projections.projection.shape
        torch.Size([2, 3, 32, 32])
    """

    fields: tuple[Tensor, ...]
    places: tuple[Box, ...]
    shape: tuple[int, ...]
    activation: Tensor
    box: Tensor
    units: tuple[Unit, ...]
    images: Tensor
    inputs: Tensor | None = field(default=None, repr=False)
    legend: Legend = field(default_factory=Legend, repr=False)
    rules: str = ""

    def __repr__(self) -> str:
        pairs = zip(self.units, self.activation.tolist(), strict=True)
        units = _listed(f"{unit} {value:.4g}" for unit, value in pairs)
        return f"<Projections by {self.rules}: {units}>"

    @cached_property
    def projection(self) -> Tensor:
        """Every projection in its place in the image, zero elsewhere.

        Shape:
            (U, 3, H, W).
        """
        whole = self.activation.new_zeros((len(self.units), *self.shape))
        for picture, values, place in zip(whole, self.fields, self.places, strict=True):
            inside = place.clip(*self.shape[-2:])
            if inside.empty:  # the unit sees padding alone
                continue
            picture[:, inside.top : inside.bottom, inside.left : inside.right] = values[
                :,
                inside.top - place.top : inside.bottom - place.top,
                inside.left - place.left : inside.right - place.left,
            ]
        return whole

    def seen(self, index: int) -> Box:
        """The part of the image that lies in one unit's receptive field; it may be empty."""
        return Box(*self.box[index].tolist()).clip(*self.shape[-2:])

    def seen_picture(self, index: int) -> Tensor:
        """One projection in that part of the image, whatever it was computed over.

        Shape:
            (3, h, w), of `seen`.
        """
        field, place, seen = self.fields[index], self.places[index], self.seen(index)
        return field[
            :,
            seen.top - place.top : seen.bottom - place.top,
            seen.left - place.left : seen.right - place.left,
        ]


@torch.no_grad()
def project(
    trace: Trace,
    units: Sequence[Unit | str] | Unit | str,
    rules: Rules = DECONVNET,
    *,
    images: Sequence[int] | int | None = None,
) -> Projections:
    """Project units down to pixels, any mix of layers and images in one call.

    Args:
        trace: A forward pass, from `Network.trace`.
        units: Which units. One without a position stands for its feature map's strongest unit in
            its image.
        rules: The method: DECONVNET, GRADIENT, GUIDED, or a table of your own.
        images: For each unit, the row of the trace to see it in; one number stands for all. It may
            be left out where the trace holds one image.

    Raises:
        NoSuchLayer: There is no such layer.
        NoSuchUnit: There is no such feature map or position.
        BadInput: Images are missing or out of range.
        NonFinite: A unit is NaN or infinite, or its map holds NaN.

    Source:
        Zeiler & Fergus 2014, §2.1.

    Example:
        >>> projections = convscope.project(trace, "conv2/3")
        >>> projections.units[0].channel, projections.projection.shape
        (3, torch.Size([1, 3, 32, 32]))
    """
    network = trace.network
    if isinstance(units, Unit | str) or not isinstance(units, Iterable):
        units = [units]
    wanted = list(units)
    rows = _image_rows(trace, images, len(wanted))
    seen = [
        trace.strongest(network.unit(unit), row) for unit, row in zip(wanted, rows, strict=True)
    ]
    pixels = trace[INPUT]
    projected: dict[int, tuple[Box, Tensor]] = {}
    activation = pixels.new_zeros(len(seen))
    for layer in dict.fromkeys(unit.layer for unit in seen):
        mine = [i for i, unit in enumerate(seen) if unit.layer == layer]
        at = torch.tensor([rows[i] for i in mine], device=pixels.device)
        values, start = _start(trace, [seen[i] for i in mine], at, rules.seed)
        _check_finite(values, [seen[i] for i in mine], at)
        activation[mine] = values
        projected.update(zip(mine, project_fields(trace, start, at, rules), strict=True))
    boxes = [_box(network, unit) for unit in seen]
    return Projections(
        fields=tuple(widened(projected[i][1]) for i in range(len(seen))),
        places=tuple(projected[i][0] for i in range(len(seen))),
        shape=tuple(pixels.shape[1:]),
        activation=widened(activation),
        box=torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4),
        units=tuple(seen),
        images=torch.tensor(rows, dtype=torch.int64),
        inputs=pixels,
        legend=network.legend,
        rules=rules.name,
    )


@dataclass(frozen=True, eq=False)
class TargetProjections(Pictured):
    """What `project_target` returns, a row per image.

    Attributes:
        projection: In the scale of the preprocessed image, signed, not rectified.
        value: The target's value in each image.
        target: What was projected.
        images: The row of the trace that each was seen in.
        inputs: The images of the trace, preprocessed.
        legend: How figures show them.
        rules: The method's name.

    Shape:
        projection: (U, C, H, W). value: (U,). images: (U,), int64. inputs: (N, C, H, W).

    Example:
        >>> convscope.project_target(trace, lambda scores: scores[1]).value.shape
        torch.Size([1])
    """

    projection: Tensor
    value: Tensor
    target: Target
    images: Tensor
    inputs: Tensor | None = field(default=None, repr=False)
    legend: Legend = field(default_factory=Legend, repr=False)
    rules: str = ""

    def __repr__(self) -> str:
        values = _listed(f"{value:.4g}" for value in self.value.tolist())
        return f"<TargetProjections of {self.target.name} by {self.rules}: {values}>"


@torch.no_grad()
def project_target(
    trace: Trace,
    target: Target | Function,
    rules: Rules = GRADIENT,
    *,
    images: Sequence[int] | int | None = None,
) -> TargetProjections:
    """Project a function of the output down to pixels, in some images of a trace.

    The walk starts at the outputs that the target takes, with its derivative by them; of rules
    that start with the activation, such as the deconvnet, with the derivative times the output. For
    a target that is one of the outputs this is the projection of that unit.

    Args:
        trace: a forward pass, from `Network.trace`.
        target: a function of one image's output, without the axis of the batch, to one number,
            which torch can differentiate; or a `Target`, which names the outputs that it takes.
        rules: of the projection.
        images: rows of the trace; default: all.

    Raises:
        BadOption: the target returns no number, or has no derivative, or takes no such output.
        BadInput: no such images.
        NonFinite: the value is NaN or infinite.

    Example:
        >>> margin = lambda scores: scores[1] - scores[0]
        >>> convscope.project_target(trace, margin).projection.shape
        torch.Size([1, 3, 32, 32])
    """
    network = trace.network
    target = target if isinstance(target, Target) else Target(target)
    layers = target.layers(network)
    rows = _image_rows(trace, range(len(trace)) if images is None else images, None)
    size = min(group_size(network, layer, None) for layer in layers)
    values, pixels = [], []
    for i in range(0, len(rows), size):
        at = torch.tensor(rows[i : i + size], device=trace[INPUT].device)
        value, signals = target_signals(target, trace, at, rules.seed)
        values.append(value)
        pixels.append(descend_from(trace, signals, at, rules))
    found = torch.cat(values)
    if not torch.isfinite(found).all():
        raise NonFinite(f"target {target.name!r} is NaN or infinite: check it, and the weights")
    return TargetProjections(
        widened(torch.cat(pixels)), widened(found), target, torch.tensor(rows, dtype=torch.int64),
        trace[INPUT], network.legend, rules.name,
    )  # fmt: skip


def target_signals(
    target: Target, trace: Trace, images: Tensor, seed: InitialSignal
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the walk down from a target starts with.

    Args:
        target: What is projected.
        trace: The forward pass.
        images: The rows of the trace to see it in.
        seed: Whether its derivative by an output is multiplied by the output.

    Returns:
        The target's value in each of these images, and the signal at each layer that it takes.

    Raises:
        BadOption: The target returns no number, has no derivative, or takes no such output.

    Shape:
        images: (U,). Values: (U,). A signal: (U, *shape) of its layer.
    """
    layers = target.layers(trace.network)
    outputs = [trace[layer][images] for layer in layers]
    values, slopes = target.gradients(outputs)
    signals: dict[str, Tensor] = {}
    for layer, output, slope in zip(layers, outputs, slopes, strict=True):
        start = slope * output if seed is InitialSignal.ACTIVATION else slope
        signals[layer] = signals[layer] + start if layer in signals else start
    return values, signals


def project_fields(
    trace: Trace, start: Start, images: Tensor, rules: Rules, *, from_crops: bool = False
) -> Iterator[tuple[Box, Tensor]]:
    """Project units of one layer, each where its projection can be other than zero.

    Args:
        trace: The forward pass that the units were seen in.
        start: The units, and the signals that they start with.
        images: The row of the trace that each unit was seen in.
        rules: The method of projection.
        from_crops: Run the network on each unit's own crop of its image, as far as the rules look
            at what it saw, and not on the whole image: cheaper for few units an image
            (`crops_pay`).

    Yields:
        For each unit in the order of `start`, where the projection lies and the projection:
        the unit's receptive field, not clipped and zero outside the image, or the whole image.

    Shape:
        images: (U,). A projection: (3, h, w).
    """
    network = trace.network
    cone = cone_for(network, start.layer, rules)
    size = group_size(network, start.layer, cone)
    image = Box(0, 0, *network.input_shape[-2:])
    scratch: dict[str, Tensor] = {}
    for i in range(0, len(start), size):
        part = start[i : i + size]
        rows = images[i : i + size]
        if cone is None:
            yield from ((image, pixels) for pixels in descend(trace, part, rows, rules))
        else:
            seen: SavedActivations
            if from_crops:
                crops = cone.take(trace[INPUT], INPUT, rows, part.positions)
                seen = SavedInCrops(cone, part.positions, crops)
            else:
                seen = SavedInMaps(cone, part.positions, trace, rows)
            fields = descend_in_windows(seen, part, rules, scratch)
            yield from zip(cone.boxes(part.positions), fields, strict=True)


def _listed(words: Iterable[str]) -> str:
    """The first few of some words, and how many more there are."""
    found = list(words)
    more = [f"... {len(found)} in all"] if len(found) > LISTED else []
    return ", ".join([*found[:LISTED], *more])


def _start(
    trace: Trace, units: list[Unit], rows: Tensor, seed: InitialSignal
) -> tuple[Tensor, Start]:
    """The units' values, and what the walk down starts with."""
    values = trace[units[0].layer]
    device = values.device
    channels = torch.tensor([unit.channel for unit in units], device=device)
    positions = torch.tensor([unit.position or (0, 0) for unit in units], device=device)
    place = (positions[:, 0], positions[:, 1]) if values.dim() == 4 else ()
    activation = values[(rows, channels, *place)]
    signal = activation if seed is InitialSignal.ACTIVATION else torch.ones_like(activation)
    return activation, Start(units[0].layer, channels, positions, signal)


def _check_finite(activation: Tensor, units: list[Unit], rows: Tensor) -> None:
    for value, unit, row in zip(activation.tolist(), units, rows.tolist(), strict=True):
        if not math.isfinite(value):
            raise NonFinite(f"{unit} is {value} in image {row}: check the weights and the image")


def _box(network: Graph, unit: Unit) -> tuple[int, int, int, int]:
    field = network.layer(unit.layer).field
    return field.box(unit.position or (0, 0)).as_tuple()


def _image_rows(trace: Trace, images: Sequence[int] | int | None, count: int | None) -> list[int]:
    """A row of the trace for each of `count` units; None: as many as there are images."""
    if images is None:
        if len(trace) != 1:
            raise BadInput(
                f"the trace holds {len(trace)} images: say with images=[...] which one each of "
                f"the {count} units is to be seen in"
            )
        images = 0
    count = (1 if isinstance(images, int) else len(images)) if count is None else count
    rows = [images] * count if isinstance(images, int) else [int(row) for row in images]
    if len(rows) != count or any(not 0 <= row < len(trace) for row in rows):
        raise BadInput(
            f"images={rows}: give one row of the trace, 0 to {len(trace) - 1}, "
            f"for each of the {count} units"
        )
    return rows
