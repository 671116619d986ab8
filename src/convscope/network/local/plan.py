"""How a network runs on windows towards some layers: what does not depend on image or boxes.

To plan takes as long as a forward pass (filters are folded and laid out anew), so whoever asks
about one network again and again keeps its plan. It holds the weights of the moment: plan anew
after training on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from convscope.network.graph import Graph
from convscope.network.local.fusion import Step, fused_steps
from convscope.network.local.grouping import TOLERANCE, AxisIntervals, BoxGrid, Side
from convscope.network.node import Run

__all__ = ["Plan", "Put"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
KEPT = 512
"""Positions of a box along an axis whose intervals a plan keeps."""
LENGTHS = 16
"""Lengths of a box along an axis whose intervals, at every position, a plan keeps."""


Intervals = tuple[int, tuple[tuple[int, int], ...]]
"""Which axis, and the pixels along it that boxes cover."""


Put = Mapping[str, Mapping[int, float]]
"""What stands in the place of feature maps: a number for each channel, by layer."""


class Plan:
    """The steps towards some layers, and which of them run on windows.

    Args:
        network: The network.
        outputs: Layers whose values are wanted for every variant of an image.
        sums: Channels whose feature maps are wanted, summed over positions, by layer.
        points: The positions (row, column) at which all channels of a layer are wanted, by layer; a
            layer has either sums or points.
        tolerance: The work that grouping boxes may add along an axis, as a share of the exact work.

    Attributes:
        steps: All steps, in order of execution.
        costs: The multiply-adds of each over its whole map, by name.
        windowed: Those that run on windows.
        tail: Names of the dense end, which runs once for all variants.
        ending: The steps of the tail that have to run.
        from_grid: Dense layers of the tail that read a map on windows -> that map.
        middle: What runs on whole maps below the tail.
    """

    def __init__(
        self,
        network: Graph,
        outputs: Iterable[str] = (),
        sums: Mapping[str, Sequence[int]] | None = None,
        points: Mapping[str, Sequence[tuple[int, int]]] | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        self.tolerance = tolerance
        self._wanted(network, outputs, sums, points, {}, {})

    def towards(
        self,
        outputs: Iterable[str] = (),
        sums: Mapping[str, Sequence[int]] | None = None,
        points: Mapping[str, Sequence[tuple[int, int]]] | None = None,
        put: Put | None = None,
    ) -> Plan:
        """Plan the same network towards other layers; filters that are laid out already are shared.

        Args:
            outputs, sums, points: As of a plan.
            put: What stands in the place of some feature maps, by layer and channel; the base that
                windows are put into must have it there, too.
        """
        made = Plan.__new__(Plan)
        made.tolerance = self.tolerance
        made._wanted(self.network, outputs, sums, points, self._runs, put or {})
        return made

    def _wanted(
        self,
        network: Graph,
        outputs: Iterable[str],
        sums: Mapping[str, Sequence[int]] | None,
        points: Mapping[str, Sequence[tuple[int, int]]] | None,
        runs: dict[tuple[str, ...], Run],
        put: Put,
    ) -> None:
        self.network, self._runs = network, runs
        self.outputs = tuple(outputs)
        self.sums = {name: list(channels) for name, channels in (sums or {}).items()}
        self.points = dict(points or {})
        self.steps = fused_steps(network, (*self.outputs, *self.sums, *self.points, *put), runs)
        for step in self.steps:
            step.put = put.get(step.name, {})
        self.costs = {step.name: step.cost for step in self.steps}
        self.windowed = [step for step in self.steps if step.windowed]
        self.tail = _tail(self.steps, (*self.sums, *self.points))
        self.from_grid = _dense_from_grid(self.steps, self.tail)
        self.ending = self._ending()
        self.middle = [s for s in self.steps if not s.windowed and s.name not in self.tail]
        self._axes: OrderedDict[Intervals, AxisIntervals] = OrderedDict()
        self._sides: OrderedDict[tuple[int, object, bool], list[Side]] = OrderedDict()
        self._moving: OrderedDict[tuple[int, int], AxisIntervals] = OrderedDict()

    def axis(self, number: int, intervals: tuple[tuple[int, int], ...]) -> AxisIntervals:
        """The affected intervals of every step for some boxes, worked out once.

        Args:
            number: 0 for rows, 1 for columns.
            intervals: The pixels (first, last), half-open, that each box covers.
        """
        return _kept(self._axes, (number, intervals), partial(self._axis, number, intervals), KEPT)

    def _axis(self, number: int, intervals: tuple[tuple[int, int], ...]) -> AxisIntervals:
        extent = self.network.input_shape[-2:][number]
        first, last = intervals[0]
        if len(intervals) == 1 and 0 <= first <= last <= extent:
            return self._everywhere(number, last - first).only(first)
        return AxisIntervals.through(self.windowed, number, intervals, extent)

    def _everywhere(self, number: int, length: int) -> AxisIntervals:
        """The intervals of one box of a length, wherever it lies along an axis: by its start."""
        extent = self.network.input_shape[-2:][number]
        places = [(start, start + length) for start in range(extent - length + 1)]
        through = partial(AxisIntervals.through, self.windowed, number, places, extent)
        return _kept(self._moving, (number, length), through, LENGTHS)

    def sides(self, boxes: BoxGrid) -> tuple[list[Side], list[Side]]:
        """The groups of boxes along rows and along columns.

        What a side plans, it keeps. A single interval is a group of its own whatever lies across,
        so that a box which moves along a row finds that row planned. The windows of a box alone are
        as large as they are anywhere for a box of its size: oneDNN prepares every new size of a
        patch, which takes as long as to run it.
        """
        steady = boxes.shape == (1, 1)
        axes = self.axis(0, boxes.rows), self.axis(1, boxes.columns)
        found = []
        for number, intervals in enumerate((boxes.rows, boxes.columns)):
            if steady:
                group = partial(self._steady, number, intervals)
            else:
                group = partial(axes[number].sides, self.windowed, axes[1 - number], self.tolerance)
            alone = len(intervals) == 1
            key = (number, intervals, steady)
            found.append(_kept(self._sides, key, group, KEPT) if alone else group())
        return found[0], found[1]

    def _steady(self, number: int, intervals: tuple[tuple[int, int], ...]) -> list[Side]:
        """The only group along an axis of one box, in the largest windows that it has anywhere."""
        ((first, last),) = intervals
        largest = self._everywhere(number, last - first).longest
        return [self.axis(number, intervals).one_side(largest)]

    def _ending(self) -> list[Step]:
        """The steps of the tail that have to run: a dense layer on windows needs no reshape."""
        by_name = {step.name: step for step in self.steps}
        needed: set[str] = set()
        todo = list(self.outputs)
        while todo:
            name = todo.pop()
            if name in self.tail and name not in needed:
                needed.add(name)
                todo += [] if name in self.from_grid else by_name[name].inputs
        return [step for step in self.steps if step.name in needed]


def _kept(known: OrderedDict[Key, Value], key: Key, make: Callable[[], Value], count: int) -> Value:
    """What is known under a key, or what `make` works out; the oldest of many is forgotten."""
    if key not in known:
        known[key] = make()
        while len(known) > count:
            known.popitem(last=False)
    return known[key]


def _tail(steps: Sequence[Step], kept: Iterable[str]) -> set[str]:
    """The steps without a grid that nothing with a grid reads: run once for all variants."""
    read_by_grid = {n for s in steps if len(s.shape) > 1 for n in s.inputs}
    tail: set[str] = set()
    for step in reversed(steps):
        if len(step.shape) == 1 and step.name not in read_by_grid:
            readers = [s.name for s in steps if step.name in s.inputs]
            if all(name in tail for name in readers) and step.name not in kept:
                tail.add(step.name)
    return tail


def _dense_from_grid(steps: Sequence[Step], tail: set[str]) -> dict[str, str]:
    """Dense layers of the tail that read a windowed map through reshapes alone -> that map."""
    by_name = {step.name: step for step in steps}
    maps_below = {}
    for step in steps:
        if not step.head.op.dense or step.name not in tail:
            continue
        below = by_name.get(step.inputs[0])
        while below and (below.head.op.passes_through or below.head.op.reshapes):
            if below.posts or below.windowed:
                break
            below = by_name.get(below.inputs[0])
        if below and below.windowed and len(below.shape) == 3:
            maps_below[step.name] = below.name
    return maps_below
