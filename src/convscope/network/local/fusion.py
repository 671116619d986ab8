"""Steps: nodes grouped for execution, and the fastest way to run each on a patch.

A step is one node and the pointwise nodes that alone read it: a convolution with its batch norm
(folded into its filters) and its rectifier. What a step computes is what its last node computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.node import Node, Run

__all__ = ["Step", "fused_steps"]


@dataclass(eq=False)
class Step:
    """A node, and the pointwise nodes that are applied to its result.

    Attributes:
        name: Of its last node.
        head: The node.
        posts: The pointwise nodes after it.
        inputs: The names of the steps that it reads.
        windowed: Whether it, and all below, can run on windows.
        run: From patches that already hold the border to the result, with all posts applied; of
            a head that is `placed`, with place=, where they lie.
        grid: The (rows, columns) of the result.
        cost: Multiply-adds over the whole map.
        put: What stands in the place of some channels of the result, by channel: units that are
            removed.

    Shape:
        Patches: (P, C, h, w).
    """

    name: str
    head: Node
    posts: tuple[Node, ...]
    inputs: tuple[str, ...]
    run: Run
    windowed: bool = False
    put: Mapping[int, float] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.head.shape

    @property
    def grid(self) -> tuple[int, int]:
        return (self.shape[-2], self.shape[-1]) if len(self.shape) >= 3 else (1, 1)

    @property
    def real(self) -> bool:
        """Whether the result holds real numbers."""
        return (self.head, *self.posts)[-1].real

    @property
    def cost(self) -> int:
        return self.head.cost * self.grid[0] * self.grid[1]

    def full(self, *inputs: Tensor) -> Tensor:
        """On whole maps (P, C, H, W) or vectors (P, C)."""
        if self.head.op.on_window is None and not self.head.placed:  # there is no border
            return self.without(self.run(*inputs))
        return self.without(_then(self.posts, self.head.forward(*inputs)))

    def without(self, result: Tensor) -> Tensor:
        """The result (P, C, ...) without the units that are removed."""
        if not self.put:
            return result
        result = result.clone()  # a step may hand on what it was given
        for channel, value in self.put.items():
            result[:, channel] = value
        return result


def fused_steps(
    network: Graph, wanted: Iterable[str], runs: dict[tuple[str, ...], Run] | None = None
) -> list[Step]:
    """Group the nodes below some layers into steps, in order of execution.

    Args:
        network: The network.
        wanted: The layers; each of them ends a step.
        runs: What runs each group of nodes, by their names, as far as it was made before; new ones
            are put in. It holds filters laid out anew.
    """
    runs = {} if runs is None else runs
    wanted = set(wanted)
    nodes = network.below(wanted)
    readers: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for below in node.inputs:
            if below != INPUT:
                readers[below].append(node)
    steps: list[Step] = []
    ends: dict[str, str] = {INPUT: INPUT}  # node -> the step that computes it
    windowed = {INPUT}
    taken: set[str] = set()
    for node in nodes:
        if node.name in taken:
            continue
        posts: list[Node] = []
        last = node
        while last.name not in wanted and len(readers[last.name]) == 1:
            following = readers[last.name][0]
            if len(following.inputs) != 1 or not following.pointwise:
                break
            posts.append(following)
            taken.add(following.name)
            last = following
        key = (node.name, *(post.name for post in posts))
        if key not in runs:
            runs[key] = _runner(node, tuple(posts))
        inputs = tuple(ends[name] for name in node.inputs)
        step = Step(last.name, node, tuple(posts), inputs, runs[key])
        step.windowed = node.on_windows and all(name in windowed for name in step.inputs)
        if step.windowed:
            windowed.add(step.name)
        for member in (node, *posts):
            ends[member.name] = step.name
        steps.append(step)
    return steps


def _runner(head: Node, posts: tuple[Node, ...]) -> Run:
    """The step as one function on patches; the head's own padding is taken to be in the patch."""
    if head.op.fused is None:
        return lambda *patches, place=None: _then(
            posts, head.forward_on_window(*patches, place=place)
        )
    run, left = head.op.fused(head, posts)
    return lambda *patches: _then(left, run(*patches))


def _then(nodes: Iterable[Node], value: Tensor) -> Tensor:
    for node in nodes:
        value = node.forward(value)
    return value
