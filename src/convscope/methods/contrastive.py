"""Contrastive occlusion: which part of an image is one unit's own, and not its neighbours' too.

A projection shows where an activation comes from, and all strong units of a position come from much
the same place. Here a box is slid over the unit's receptive field. What the unit loses, less what
its strongest neighbours at the same position lose, is the unit's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.display import Pictured
from convscope.errors import BadInput, BadOption
from convscope.geometry.box import Box
from convscope.methods.numbers import widened
from convscope.methods.occluder import Fill, Occluder, fill_planes
from convscope.methods.sweep import one_image
from convscope.network.legend import Legend
from convscope.network.local.grouping import BoxGrid
from convscope.network.local.incremental import IncrementalSweep
from convscope.network.network import Network
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = [
    "NEIGHBOURS",
    "ContrastQuestion",
    "ContrastiveMap",
    "contrastive_occlusion",
    "fitting_box",
    "strong_neighbours",
]

NEIGHBOURS = 8
"""With how many other units of the position a unit is compared."""


@dataclass(frozen=True, eq=False)
class ContrastiveMap(Pictured):
    """What a unit, and its neighbours, lose with a box at each of R x C positions.

    Attributes:
        drop: (R, C), the share of the unit's activation that is lost, 1 - covered / whole; below 0
            where the box makes it stronger.
        neighbours_drop: (R, C), the mean of the same over the neighbours.
        unit: at its position.
        neighbours: the units it is compared with, the strongest first.
        activation: the unit's value in the image as it is.
        rows: (R,) int64, top of the box in image pixels.
        columns: (C,) int64, left of the box in image pixels.
        occluder: the box's size and step.
        field: the unit's receptive field, not clipped to the image.
        seen: what of it lies in the image; boxes that cross its edge are cut.
        image: (C, H, W), preprocessed.
        legend: how figures show the image.
    """

    drop: Tensor
    neighbours_drop: Tensor
    unit: Unit
    neighbours: tuple[Unit, ...]
    activation: float
    rows: Tensor
    columns: Tensor
    occluder: Occluder
    field: Box
    seen: Box
    image: Tensor | None = None
    legend: Legend = dataclasses.field(default_factory=Legend)

    def __repr__(self) -> str:
        rows, columns = self.drop.shape
        i, j = self.strongest
        own = f"at most {float(self.contrast[i, j]):.2f} is its own, at {self.box(i, j).as_tuple()}"
        return f"<ContrastiveMap {rows}x{columns} of {self.unit}: {own}>"

    @property
    def contrast(self) -> Tensor:
        """(R, C), what is the unit's own: its drop less its neighbours'."""
        return self.drop - self.neighbours_drop

    @property
    def strongest(self) -> tuple[int, int]:
        """The box (i, j) under which most is lost that is the unit's own; of equals, the first."""
        return divmod(int(self.contrast.argmax()), self.contrast.shape[1])

    def box(self, i: int, j: int) -> Box:
        """The box of a place in the maps, in image pixels."""
        top, left = int(self.rows[i]), int(self.columns[j])
        height, width = self.occluder.size
        bottom, right = min(top + height, self.seen.bottom), min(left + width, self.seen.right)
        return Box(top, left, bottom, right)

    def over_pixels(self, values: Tensor) -> Tensor:
        """Spread a map over what the unit sees: a pixel has the mean over the boxes that cover it.

        A pixel that no box covers has the value of the box whose centre is nearest.

        Args:
            values: One of the maps.

        Shape:
            values: (R, C). The result: (h, w), float64, of `seen`.
        """
        seen, (height, width) = self.seen, self.occluder.size
        down = _cover(self.rows - seen.top, height, seen.height)
        across = _cover(self.columns - seen.left, width, seen.width)
        return down @ values.double() @ across.T

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The maps by name, as `convscope occlude --contrast` writes them."""
        maps = {
            "contrast": self.contrast, "drop": self.drop, "neighbours_drop": self.neighbours_drop,
            "rows": self.rows, "columns": self.columns,
            "neighbours": torch.tensor([unit.channel for unit in self.neighbours]),
        }  # fmt: skip
        return {name: values.numpy() for name, values in maps.items()}

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary: the strongest place, not the maps."""
        i, j = self.strongest
        return {
            "unit": str(self.unit),
            "activation": self.activation,
            "neighbours": [str(unit) for unit in self.neighbours],
            "strongest": {
                "row": int(self.rows[i]),
                "column": int(self.columns[j]),
                "contrast": float(self.contrast[i, j]),
                "drop": float(self.drop[i, j]),
                "neighbours_drop": float(self.neighbours_drop[i, j]),
            },
            "size": list(self.occluder.size),
            "stride": list(self.occluder.stride),
            "positions": list(self.contrast.shape),
            "receptive_field": [
                self.field.top, self.field.left, self.field.bottom, self.field.right
            ],
        }  # fmt: skip


def fitting_box(seen: Box, size: int | None = None, stride: int | None = None) -> Occluder:
    """Choose a box for what a unit sees: a seventh of its sides, moved by half of itself.

    Args:
        seen: The receptive field, as far as it lies in the image.
        size: A side that is kept, instead of the default.
        stride: A step that is kept, instead of the default.

    Raises:
        BadOption: The box is larger than what the unit sees.
    """
    if size is not None and size > min(seen.height, seen.width):
        raise BadOption(
            f"a box of {size} pixels: the unit sees {seen.height}×{seen.width} pixels of the "
            "image, give a smaller size"
        )
    sides = (max(1, seen.height // 7), max(1, seen.width // 7)) if size is None else (size, size)
    half = (max(1, sides[0] // 2), max(1, sides[1] // 2))
    return Occluder(sides, half if stride is None else (stride, stride))


@torch.no_grad()
def contrastive_occlusion(
    network: Network,
    image: Tensor,
    unit: Unit | str,
    occluder: Occluder | Callable[[Box], Occluder] = fitting_box,
    *,
    fill: Fill,
    neighbours: int = NEIGHBOURS,
) -> ContrastiveMap:
    """Find the part of an image that is one unit's own.

    One incremental sweep answers for the unit and its neighbours together.

    Args:
        network: The network.
        image: Preprocessed.
        unit: Without a position it stands for its map's strongest one in the image.
        occluder: The box, or what makes one for what the unit sees of the image; by default a
            seventh of the receptive field's sides, moved by half of itself.
        fill: What the box shows, in preprocessed units: a number, (C,), or (C, H, W).
        neighbours: How many other channels of the position, the strongest, it is compared with.

    Raises:
        NoSuchLayer, NoSuchUnit: there is none of that name.
        BadInput: the unit, or every other unit of its position, is not above zero in this image; or
            it sees nothing of it.
        BadOption: the fill has another shape.

    Shape:
        image: (C, H, W).

    Example:
        >>> found = contrastive_occlusion(network, image, "conv5/12", fill=0.0)
        >>> row, column = divmod(int(found.contrast.argmax()), found.contrast.shape[1])
    """
    image = one_image(network, image)
    trace = network.trace(image, [Unit.parse(unit).layer])
    asked = ContrastQuestion.of(trace, unit, occluder, neighbours=neighbours)
    planes = fill_planes(fill, image)
    sweep = IncrementalSweep(network, asked.boxes, points=asked.points)
    found = asked.answer(sweep.run(image, planes)[1])
    return dataclasses.replace(found, image=widened(image.cpu()), legend=network.legend)


@dataclass(frozen=True, eq=False)
class ContrastQuestion:
    """Which boxes a contrastive map needs, and what it makes of the values under them.

    Attributes:
        unit: At its position.
        neighbours: The units it is compared with, the strongest first.
        before: All channels of the position, in the image as it is.
        field: The unit's receptive field, not clipped to the image.
        seen: What of it lies in the image.
        occluder: The box and its step.

    Shape:
        before: (C,).
    """

    unit: Unit
    neighbours: tuple[Unit, ...]
    before: Tensor
    field: Box
    seen: Box
    occluder: Occluder

    @classmethod
    def of(
        cls,
        trace: Trace,
        unit: Unit | str,
        occluder: Occluder | Callable[[Box], Occluder] = fitting_box,
        *,
        neighbours: int = NEIGHBOURS,
    ) -> ContrastQuestion:
        """Ask about a unit in the one image of a trace.

        Args:
            trace: A forward pass that reached the unit's layer.
            unit, occluder, neighbours: As of `contrastive_occlusion`, which says what is raised.
        """
        network = trace.network
        unit = trace.strongest(network.unit(unit), 0)
        others = strong_neighbours(trace, unit, 0, neighbours)
        before = _at(trace, unit)
        activation = float(before[unit.channel])
        if activation <= 0:
            raise BadInput(
                f"{unit} is {activation:g} in this image: only what is above zero can fall"
            )
        if not others:
            raise BadInput(f"no other unit of {unit.layer} is above zero at the position of {unit}")
        field = network.layer(unit.layer).field.box(unit.position or (0, 0))
        seen = field.clip(*network.input_shape[-2:])
        if seen.empty:
            raise BadInput(f"{unit} sees nothing of the image, only what is around it")
        occluder = occluder if isinstance(occluder, Occluder) else occluder(seen)
        return cls(unit, others, before, field, seen, occluder)

    @property
    def points(self) -> dict[str, tuple[int, int]]:
        """The position whose channels are wanted under every box, by layer."""
        return {self.unit.layer: self.unit.position or (0, 0)}

    @property
    def boxes(self) -> BoxGrid:
        """The boxes that start within what the unit sees of the image, cut by its edge."""
        return _boxes_inside(self.seen, self.occluder)

    def answer(self, covered: Mapping[str, Tensor]) -> ContrastiveMap:
        """Make the map of what the channels are under every box.

        Args:
            covered: The values of `points`, by layer.

        Shape:
            covered: (R, C, channels).
        """
        boxes, before = self.boxes, self.before
        channels = torch.tensor([self.unit.channel, *(other.channel for other in self.neighbours)])
        drop = 1 - widened(covered[self.unit.layer][..., channels] / before[channels]).cpu()
        return ContrastiveMap(
            drop=drop[..., 0],
            neighbours_drop=drop[..., 1:].mean(-1),
            unit=self.unit,
            neighbours=self.neighbours,
            activation=float(before[self.unit.channel]),
            rows=torch.tensor([top for top, _ in boxes.rows]),
            columns=torch.tensor([left for left, _ in boxes.columns]),
            occluder=self.occluder,
            field=self.field,
            seen=self.seen,
        )


def strong_neighbours(trace: Trace, unit: Unit, image: int, count: int) -> tuple[Unit, ...]:
    """Find the strongest other units of a unit's position, as far as they are above zero.

    Args:
        trace: A forward pass that reached the unit's layer.
        unit: At a position, if its layer has any.
        image: The row of the trace.
        count: How many at most.

    Returns:
        Units of other channels of the same position, the strongest first; of equals, the lowest
        channel first.
    """
    values = _at(trace, unit, image).clone()
    values[unit.channel] = -torch.inf
    values = values.nan_to_num(-torch.inf)
    order = values.argsort(descending=True, stable=True)[:count]
    return tuple(
        Unit(unit.layer, channel, unit.row, unit.column)
        for channel in order[values[order] > 0].tolist()
    )


def _at(trace: Trace, unit: Unit, image: int = 0) -> Tensor:
    """(C,), all channels of a unit's position."""
    values = trace[unit.layer][image]
    return values if values.dim() == 1 else values[(slice(None), *(unit.position or (0, 0)))]


def _cover(starts: Tensor, size: int, extent: int) -> Tensor:
    """(extent, boxes) float64: the share that each box along an axis has in each pixel."""
    pixels = torch.arange(extent)[:, None]
    ends = (starts + size).clip(max=extent)
    shares = ((pixels >= starts) & (pixels < ends)).double()
    nearest = (pixels + 0.5 - (starts + ends) / 2).abs().argmin(1)
    bare = shares.sum(1) == 0
    shares[bare, nearest[bare]] = 1.0
    return shares / shares.sum(1, keepdim=True)


def _boxes_inside(seen: Box, occluder: Occluder) -> BoxGrid:
    """The boxes that start within what the unit sees of the image, cut by its edge."""
    sides = [
        tuple((first, min(first + size, last)) for first in range(low, last, step))
        for low, last, size, step in zip(
            (seen.top, seen.left), (seen.bottom, seen.right), occluder.size, occluder.stride,
            strict=True,
        )
    ]  # fmt: skip
    return BoxGrid(*sides)
