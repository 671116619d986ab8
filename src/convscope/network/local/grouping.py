"""Which windows change, and which variants run together: interval arithmetic along one axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from convscope.geometry.table import Reach, windows_below
from convscope.network.from_export import INPUT
from convscope.network.local.fusion import Step

__all__ = ["TOLERANCE", "AxisIntervals", "BoxGrid", "Side", "WindowRun", "runs"]

Array = np.ndarray
Plan = TypeVar("Plan")
TOLERANCE = 0.02
"""Work that grouping may add along an axis, as a share of the exact work."""
MAX_GROUPS = 10
"""Groups along an axis at most: each costs a round of small calls."""


@dataclass(frozen=True)
class BoxGrid:
    """The boxes that change: every pair of a row and a column interval, half-open, in pixels."""

    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)


@dataclass(frozen=True, eq=False)
class Side:
    """A group of boxes along one axis: per step, their windows' common size and first indices."""

    members: Tensor
    size: Mapping[str, int]
    first: Mapping[str, Tensor]
    boxes: Tensor  # (members, 2): the changed pixels themselves, half-open
    _planned: dict[object, object] = field(default_factory=dict, repr=False)

    def inside(self, step: str) -> Tensor:
        """Which indices of each window (members, size) lie in the member's own box."""
        index = self.first[step][:, None] + torch.arange(self.size[step])
        return (index >= self.boxes[:, :1]) & (index < self.boxes[:, 1:])

    def plan(self, key: tuple[object, ...], make: Callable[[], Plan]) -> Plan:
        """What was planned under that key before: a side is one of many groups' sides."""
        if key not in self._planned:
            self._planned[key] = make()
        return self._planned[key]  # type: ignore[return-value]

    def need(self, step: Step, index: int, reach: Reach) -> tuple[Tensor, int]:
        """First index, per member, and size of the input that the step's windows read.

        Args:
            step: The step.
            index: Which of its inputs.
            reach: What it reads of that along this axis.
        """

        def make() -> tuple[Tensor, int]:
            name = step.name
            low, size = windows_below(reach, self.first[name].numpy(), self.size[name])
            return torch.from_numpy(low), size

        return self.plan(("need", step.name, index), make)

    def holds(self, step: str, need: tuple[Tensor, int]) -> bool:
        """Whether the windows of `step` are exactly the patches needed."""
        return self.size[step] == need[1] and torch.equal(self.first[step], need[0])

    def split(self, count: int) -> Iterator[Side]:
        """The same group in parts of at most `count` members."""
        if count >= len(self.members):
            yield self
            return
        for i in range(0, len(self.members), count):
            part = slice(i, i + count)
            first = {name: values[part] for name, values in self.first.items()}
            yield Side(self.members[part], self.size, first, self.boxes[part])


@dataclass(frozen=True, eq=False)
class AxisIntervals:
    """The affected interval of every step along one axis, an entry per box.

    Attributes:
        extent: The length of each step's map.
        low: Where each step's affected interval starts.
        high: Where it ends, half-open.
        weight: Each step's multiply-adds per index along this axis, over the full other axis.

    Shape:
        low, high: (boxes,) for each step.
    """

    extent: Mapping[str, int]
    low: Mapping[str, Array]
    high: Mapping[str, Array]
    weight: Mapping[str, int]

    @classmethod
    def through(
        cls, steps: Sequence[Step], axis: int, intervals: Sequence[tuple[int, int]], extent: int
    ) -> AxisIntervals:
        """Push intervals of pixels up through the steps.

        Args:
            steps: The steps, in order of execution.
            axis: 0 for rows, 1 for columns.
            intervals: The pixels (first, last), half-open, that each box covers.
            extent: The length of the image along this axis.
        """
        first, last = np.array(intervals, dtype=np.int64).reshape(-1, 2).T
        low, high, size, weight = {INPUT: first}, {INPUT: last}, {INPUT: extent}, {INPUT: 0}
        for step in steps:
            n = step.grid[axis]
            reached = [
                axes[axis].affected((low[below], high[below]), n)
                for axes, below in zip(step.head.reaches, step.inputs, strict=True)
            ]
            some = (
                [np.where(b > a, a, n) for a, b in reached],
                [np.where(b > a, b, 0) for a, b in reached],
            )
            low[step.name] = np.minimum.reduce(some[0])
            high[step.name] = np.maximum.reduce(some[1])
            size[step.name] = n
            weight[step.name] = max(step.cost, step.shape[0] * n) // n
        return cls(size, low, high, weight)

    def length(self, step: str) -> Array:
        return np.maximum(self.high[step] - self.low[step], 0)

    def share(self, step: str) -> float:
        """Mean share of the map that changes."""
        return float(self.length(step).mean()) / self.extent[step]

    def sides(
        self, steps: Sequence[Step], other: AxisIntervals, tolerance: float = TOLERANCE
    ) -> list[Side]:
        """Groups of boxes with nearly equal windows, merged while that adds little work.

        Args:
            steps: The steps.
            other: Along the other axis.
            tolerance: The work that may be added, as a share of the exact work.
        """
        names = [INPUT, *(step.name for step in steps)]
        lengths = np.stack([self.length(name) for name in names], axis=1)  # (boxes, steps)
        cost = np.array([self.weight[name] * other.share(name) for name in names])
        return [self._side(np.array(group)) for group in _cluster(lengths, cost, tolerance)]

    @cached_property
    def longest(self) -> dict[str, int]:
        """The longest window of every step, over all boxes; at least one index."""
        return {name: max(1, int(self.length(name).max())) for name in self.extent}

    def only(self, box: int) -> AxisIntervals:
        """The intervals of one of the boxes."""
        low, high = (
            {name: values[box : box + 1] for name, values in each.items()}
            for each in (self.low, self.high)
        )
        return AxisIntervals(self.extent, low, high, self.weight)

    def one_side(self, least: Mapping[str, int]) -> Side:
        """All boxes as one group.

        Args:
            least: How long the windows of each step are at least.
        """
        return self._side(np.arange(len(self.low[INPUT])), least)

    def _side(self, members: Array, least: Mapping[str, int] | None = None) -> Side:
        size, first = {}, {}
        least = least or {}
        for name, extent in self.extent.items():
            longest = max(1, int(self.length(name)[members].max()), least.get(name, 1))
            low = np.clip(self.low[name][members], 0, extent - longest)
            size[name], first[name] = longest, torch.from_numpy(low)
        boxes = np.stack([self.low[INPUT][members], self.high[INPUT][members]], axis=1)
        return Side(torch.from_numpy(members), size, first, torch.from_numpy(boxes))


def _cluster(lengths: Array, cost: Array, tolerance: float) -> list[list[int]]:
    """Merge boxes, cheapest pair first, as long as the added work stays within the tolerance.

    A group pays, for each of its members, its longest window at every step.
    """
    groups = [([i], row) for i, row in enumerate(lengths)]
    exact = float((lengths @ cost).sum())
    added = 0.0
    while len(groups) > 1:
        best = None
        for a in range(len(groups)):
            for b in range(a):
                (one, la), (two, lb) = groups[a], groups[b]
                both = np.maximum(la, lb)
                more = float(
                    both @ cost * (len(one) + len(two))
                    - la @ cost * len(one)
                    - lb @ cost * len(two)
                )
                if best is None or more < best[0]:
                    best = more, a, b, both
        assert best is not None
        more, a, b, both = best
        if added + more > tolerance * exact and len(groups) <= MAX_GROUPS:
            break
        added += more
        merged = (sorted(groups[a][0] + groups[b][0]), both)
        groups = [g for i, g in enumerate(groups) if i not in (a, b)] + [merged]
    return [members for members, _ in groups]


@dataclass(frozen=True)
class WindowRun:
    """Consecutive members along which every sequence is arithmetic: first + i * step."""

    start: int
    stop: int
    first: tuple[int, ...]
    step: tuple[int, ...]

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop)


def runs(*sequences: Tensor) -> list[WindowRun]:
    """Cut parallel sequences into arithmetic runs; the last of several must stay constant."""
    if len(sequences[0]) == 1:  # one box that moves: there is nothing to find out
        return [WindowRun(0, 1, tuple(int(s) for s in sequences), (0,) * len(sequences))]
    table = torch.stack(sequences, dim=1).tolist()
    constant = len(sequences) - 1 if len(sequences) > 1 else None
    result, start = [], 0
    while start < len(table):
        stop = start + 1
        step = [0] * len(sequences)
        if stop < len(table):
            step = [b - a for a, b in zip(table[start], table[stop], strict=True)]
            backwards = constant is None and step[0] < 0  # a view cannot step back
            if backwards or (constant is not None and step[constant] != 0):
                step = [0] * len(sequences)
            else:
                while stop < len(table) and all(
                    b - a == d for a, b, d in zip(table[stop - 1], table[stop], step, strict=True)
                ):
                    stop += 1
        result.append(WindowRun(start, stop, tuple(table[start]), tuple(step)))
        start = stop
    return result
