"""Contrastive occlusion: which part of an image is one unit's own, and not its neighbours' too.

A projection shows where an activation comes from, and all strong units of a position come from much
the same place. Here a box is slid over the unit's receptive field. What the unit loses, less what
its strongest neighbours at the same position lose, is the unit's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.display import Pictured
from convscope.errors import BadInput, BadOption
from convscope.geometry.box import Box
from convscope.methods.blur import blur
from convscope.methods.numbers import widened
from convscope.methods.occluder import Fill, Occluder, fill_planes
from convscope.methods.sweep import one_image
from convscope.network.from_export import INPUT
from convscope.network.legend import Legend
from convscope.network.local.grouping import BoxGrid
from convscope.network.local.incremental import IncrementalSweep
from convscope.network.local.patches import Base
from convscope.network.local.plan import Plan
from convscope.network.network import Network
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = [
    "NEIGHBOURS",
    "ContrastQuestion",
    "ContrastiveMap",
    "contrastive_occlusion",
    "contrasts",
    "fitting_box",
    "spread",
    "strong_neighbours",
]

NEIGHBOURS = 8
"""With how many other units of the position a unit is compared."""
TILES = 5
"""Boxes along a side where many units are looked at."""
SHARED = 0.3
"""A unit that sees a larger share of its image shares a sweep over all of it with other units."""
ROUGH = 0.3
"""Work that may be added to a sweep of so few boxes: a round of small calls costs more."""
ALIKE = 1e-3
"""Units whose drops differ by no more, under every box, fall alike."""


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
        twin: another unit of the position that falls alike under every box, if there is one: then
            nothing is the unit's own.
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
    twin: Unit | None = None
    image: Tensor | None = None
    legend: Legend = dataclasses.field(default_factory=Legend)

    def __repr__(self) -> str:
        rows, columns = self.drop.shape
        i, j = self.strongest
        own = f"at most {float(self.contrast[i, j]):.2f} is its own, at {self.box(i, j).as_tuple()}"
        if self.twin is not None:
            own = f"nothing is its own, {self.twin} falls alike"
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
        return Box(top, left, top + height, left + width).intersect(self.seen)

    def over_pixels(self, values: Tensor) -> Tensor:
        """Spread a map over what the unit sees: a pixel has the mean over the boxes that cover it.

        A pixel that no box covers has the value of the box whose centre is nearest.

        Args:
            values: One of the maps.

        Shape:
            values: (R, C). The result: (h, w), float64, of `seen`.
        """
        return spread(values, (self.rows, self.columns), self.occluder, self.seen)

    def light(self) -> Tensor:
        """How bright each pixel of what the unit sees is lit, 0 to 1: where it is the unit's own.

        What is the unit's own, blurred by a third of the box, as a share of its largest; dark where
        its neighbours lose as much, and everywhere where nothing is its own.

        Shape:
            The result: (h, w), float64, of `seen`.
        """
        height, width = self.occluder.size
        own = blur(self.over_pixels(self.contrast).clamp(min=0), (height / 3, width / 3))
        if self.twin is not None:
            return torch.zeros_like(own)
        return own / own.max().clamp(min=torch.finfo(own.dtype).tiny)

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
            "twin": self.twin and str(self.twin),
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
        image: int = 0,
    ) -> ContrastQuestion:
        """Ask about a unit in one image of a trace.

        Args:
            trace: A forward pass that reached the unit's layer.
            unit, occluder, neighbours: As of `contrastive_occlusion`, which says what is raised.
            image: The row of the trace.
        """
        network = trace.network
        unit = trace.strongest(network.unit(unit), image)
        others = strong_neighbours(trace, unit, image, neighbours)
        before = _at(trace, unit, image)
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
    def position(self) -> tuple[int, int]:
        """The unit's position."""
        return self.unit.position or (0, 0)

    @property
    def points(self) -> dict[str, list[tuple[int, int]]]:
        """The position whose channels are wanted under every box, by layer."""
        return {self.unit.layer: [self.position]}

    @property
    def boxes(self) -> BoxGrid:
        """The boxes that start within what the unit sees of the image, cut by its edge."""
        return _boxes_inside(self.seen, self.occluder)

    def answer(
        self, covered: Mapping[str, Tensor], boxes: BoxGrid | None = None, number: int = 0
    ) -> ContrastiveMap:
        """Make the map of what the channels are under every box.

        Args:
            covered: The values of `points`, by layer; of other units, too.
            boxes: That were swept, if they are others than `boxes`; those that the unit does not
                see are left out.
            number: Of the unit's position among those of its layer.

        Shape:
            covered: (R, C, points, channels).
        """
        boxes, before = boxes or self.boxes, self.before
        rows = _touching(boxes.rows, self.seen.top, self.seen.bottom)
        columns = _touching(boxes.columns, self.seen.left, self.seen.right)
        every = 1 - widened(covered[self.unit.layer][rows, columns][..., number, :] / before).cpu()
        drop = every[..., [self.unit.channel, *(other.channel for other in self.neighbours)]]
        return ContrastiveMap(
            drop=drop[..., 0],
            neighbours_drop=drop[..., 1:].mean(-1),
            unit=self.unit,
            neighbours=self.neighbours,
            activation=float(before[self.unit.channel]),
            rows=torch.tensor([top for top, _ in boxes.rows[rows]]),
            columns=torch.tensor([left for left, _ in boxes.columns[columns]]),
            occluder=self.occluder,
            field=self.field,
            seen=self.seen,
            twin=self._twin(every),
        )

    def _twin(self, drop: Tensor) -> Unit | None:
        """Another unit of the position that falls alike under every box; drop: (R, C, channels)."""
        own = drop[..., self.unit.channel, None]
        alike = ((drop - own).abs() <= ALIKE * own.abs().clamp(min=1)).flatten(0, 1).all(0)
        alike &= self.before.cpu() > 0
        alike[self.unit.channel] = False
        first = alike.nonzero()[:1].flatten().tolist()
        return Unit(self.unit.layer, first[0], self.unit.row, self.unit.column) if first else None


@torch.no_grad()
def contrasts(
    trace: Trace, units: Sequence[Unit], images: Sequence[int], *, fill: Fill
) -> list[ContrastiveMap | None]:
    """Find the parts of their images that are some units' own, with as few sweeps as do.

    A unit that sees much of its image shares one sweep over all of it with the others of that
    image, whatever their layers. Boxes do not overlap.

    Args:
        trace: A forward pass that reached the units' layers.
        units: At their positions.
        images: The row of the trace that each is seen in.
        fill: As `contrastive_occlusion` has it.

    Returns:
        For each unit its maps; None where `contrastive_occlusion` would refuse it.
    """
    found: list[ContrastiveMap | None] = [None] * len(units)
    if not units:
        return found
    whole = Box(0, 0, *trace.network.input_shape[-2:])
    plan = Plan(trace.network, (), tolerance=ROUGH)
    for image in dict.fromkeys(images):
        seen = _SeenImage.of(trace, image, plan, fill)
        shared: dict[int, ContrastQuestion] = {}
        for number, (unit, row) in enumerate(zip(units, images, strict=True)):
            if row != image:
                continue
            try:
                asked = ContrastQuestion.of(trace, unit, _tile, image=image)
            except BadInput:
                continue
            if asked.seen.height * asked.seen.width > SHARED * whole.height * whole.width:
                shared[number] = dataclasses.replace(asked, occluder=_tile(whole))
            else:
                [found[number]] = seen.answers([asked], asked.boxes)
        if shared:
            together = seen.answers(list(shared.values()), _boxes_inside(whole, _tile(whole)))
            for number, one in zip(shared, together, strict=True):
                found[number] = one
    return found


@dataclass(frozen=True, eq=False)
class _SeenImage:
    """One image of a trace, about which questions are asked.

    Attributes:
        base: Its activations, as the trace has them.
        plan: Of the network.
        fill: What a box shows, (C, H, W).
    """

    base: Base
    plan: Plan
    fill: Tensor

    @classmethod
    def of(cls, trace: Trace, image: int, plan: Plan, fill: Fill) -> _SeenImage:
        base = Base(lambda name: trace[name][image : image + 1])
        return cls(base, plan, fill_planes(fill, trace[INPUT][image]))

    def answers(self, asked: Sequence[ContrastQuestion], boxes: BoxGrid) -> list[ContrastiveMap]:
        """The answers to some questions, from one sweep."""
        points: dict[str, list[tuple[int, int]]] = {}
        for one in asked:
            positions = points.setdefault(one.unit.layer, [])
            if one.position not in positions:
                positions.append(one.position)
        sweep = IncrementalSweep.planned(self.plan.towards(points=points), boxes)
        _, covered = sweep.run(self.fill, self.fill, base=self.base)
        return [
            one.answer(covered, boxes, points[one.unit.layer].index(one.position)) for one in asked
        ]


def _tile(seen: Box) -> Occluder:
    """A box that covers something in `TILES` steps along each side, without overlap."""
    sides = (-(-seen.height // TILES), -(-seen.width // TILES))
    return Occluder(sides, sides)


def _touching(intervals: Sequence[tuple[int, int]], low: int, high: int) -> slice:
    """Those of some ascending intervals that reach into another one."""
    inside = [i for i, (first, last) in enumerate(intervals) if first < high and last > low]
    return slice(inside[0], inside[-1] + 1)


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


def spread(values: Tensor, corners: tuple[Tensor, Tensor], occluder: Occluder, seen: Box) -> Tensor:
    """Spread a map of an occluder's positions: a pixel has the mean over the boxes that cover it.

    A pixel that no box covers has the value of the box whose centre is nearest.

    Args:
        values: A number for each position.
        corners: The boxes' tops and lefts, in image pixels.
        occluder: The box.
        seen: The part of the image that the result is of.

    Shape:
        values: (R, C). corners: (R,) and (C,). The result: (h, w), float64, of `seen`.
    """
    (rows, columns), (height, width) = corners, occluder.size
    down = _cover(rows - seen.top, height, seen.height)
    across = _cover(columns - seen.left, width, seen.width)
    return down @ values.double() @ across.T


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
