"""How a network runs on windows towards some layers: what does not depend on image or boxes.

To plan takes as long as a forward pass (filters are folded and laid out anew), so whoever asks
about one network again and again keeps its plan. It holds the weights of the moment: plan anew
after training on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from convscope.network.graph import Graph
from convscope.network.local.fusion import Step, fused_steps
from convscope.network.local.grouping import AxisIntervals, BoxGrid, Side
from convscope.network.node import Run

__all__ = ["Plan"]

KEPT = 512
"""Positions of a box along an axis whose intervals a plan keeps."""


Intervals = tuple[int, tuple[tuple[int, int], ...]]
"""Which axis, and the pixels along it that boxes cover."""


class Plan:
    """The steps towards some layers, and which of them run on windows.

    Args:
        network: The network.
        outputs: Layers whose values are wanted for every variant of an image.
        sums: Channels whose feature maps are wanted, summed over positions, by layer.
        points: The positions (row, column) at which all channels of a layer are wanted, by layer; a
            layer has either sums or points.

    Attributes:
        steps: All steps, in order of execution.
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
    ) -> None:
        self._wanted(network, outputs, sums, points, {})

    def towards(
        self,
        outputs: Iterable[str] = (),
        sums: Mapping[str, Sequence[int]] | None = None,
        points: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    ) -> Plan:
        """Plan the same network towards other layers; filters that are laid out already are shared.

        Args:
            outputs, sums, points: As of a plan.
        """
        made = Plan.__new__(Plan)
        made._wanted(self.network, outputs, sums, points, self._runs)
        return made

    def _wanted(
        self,
        network: Graph,
        outputs: Iterable[str],
        sums: Mapping[str, Sequence[int]] | None,
        points: Mapping[str, Sequence[tuple[int, int]]] | None,
        runs: dict[tuple[str, ...], Run],
    ) -> None:
        self.network, self._runs = network, runs
        self.outputs = tuple(outputs)
        self.sums = {name: list(channels) for name, channels in (sums or {}).items()}
        self.points = dict(points or {})
        self.steps = fused_steps(network, (*self.outputs, *self.sums, *self.points), runs)
        self.windowed = [step for step in self.steps if step.windowed]
        self.tail = _tail(self.steps, (*self.sums, *self.points))
        self.from_grid = _dense_from_grid(self.steps, self.tail)
        self.ending = self._ending()
        self.middle = [s for s in self.steps if not s.windowed and s.name not in self.tail]
        self._axes: OrderedDict[Intervals, AxisIntervals] = OrderedDict()
        self._sides: OrderedDict[Intervals, list[Side]] = OrderedDict()

    def axis(self, number: int, intervals: tuple[tuple[int, int], ...]) -> AxisIntervals:
        """The affected intervals of every step for some boxes, worked out once.

        Args:
            number: 0 for rows, 1 for columns.
            intervals: The pixels (first, last), half-open, that each box covers.
        """
        key = (number, intervals)
        found = self._axes.get(key)
        if found is None:
            extent = self.network.input_shape[-2:][number]
            found = AxisIntervals.through(self.windowed, number, intervals, extent)
            self._axes[key] = found
            while len(self._axes) > KEPT:
                self._axes.popitem(last=False)
        return found

    def sides(self, boxes: BoxGrid) -> tuple[list[Side], list[Side]]:
        """The groups of boxes along rows and along columns.

        What a side plans, it keeps. A single interval is a group of its own whatever lies across,
        so that a box which moves along a row finds that row planned.
        """
        axes = self.axis(0, boxes.rows), self.axis(1, boxes.columns)
        found = []
        for number, intervals in enumerate((boxes.rows, boxes.columns)):
            axis, other = axes[number], axes[1 - number]
            if len(intervals) > 1:
                found.append(axis.sides(self.windowed, other))
                continue
            if (number, intervals) not in self._sides:
                self._sides[number, intervals] = axis.sides(self.windowed, other)
                while len(self._sides) > KEPT:
                    self._sides.popitem(last=False)
            found.append(self._sides[number, intervals])
        return found[0], found[1]

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
