"""A node of a network, and the row of the op table that says what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from convscope.geometry.window import Field

__all__ = ["Node", "Op", "Rule", "Saved"]


class Saved(Protocol):
    """What a downward rule may ask of the forward pass, one row per signal."""

    def input(self, index: int = 0) -> Tensor: ...

    def output(self) -> Tensor: ...

    def switches(self) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a network: a row of `print(network)`.

    inputs : names of the nodes below, in the operation's own order
    shape, below : shapes of the output and of each input, without the batch axis
    settings : kernel, stride, ...;  tensors : weight, bias, ...
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    below: tuple[tuple[int, ...], ...]
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    module: str = ""

    @property
    def kind(self) -> str:
        return self.op.kind

    def fields(self) -> tuple[Field, ...]:
        """The reach of this operation into each of its inputs."""
        return tuple(self.op.field(self, i) for i in range(len(self.inputs)))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.op.forward(self, *inputs)

    @property
    def on_windows(self) -> bool:
        """Whether this operation can run on a window of its grid, its border taken care of."""
        if len(self.shape) != 3 or any(len(below) != 3 for below in self.below):
            return False
        if self.op.on_window is not None:
            return self.op.windowable(self)
        constant = self.tensors.get("other")
        per_channel = constant is None or all(n == 1 for n in constant.shape[-2:])
        same_grid = all(below[1:] == self.shape[1:] for below in self.below)
        identity = all(reach == Field() for reach in self.fields())
        return self.op.pointwise and same_grid and identity and per_channel


Rule = Callable[[Node, Tensor, Saved], tuple[Tensor, ...]]
"""(node, signal above, what the forward pass saved) -> the signal for each input."""


@dataclass(frozen=True, eq=False)
class Op:
    """One row of the op table. `adjoint` is None where a method has to decide (nonlinear ops)."""

    kind: str
    aten: tuple[Any, ...]
    forward: Callable[..., Tensor]
    adjoint: Rule | None = None
    field: Callable[[Node, int], Field] = lambda node, index: Field()
    read: Callable[[dict[str, Any]], dict[str, Any]] = lambda bound: {}
    passes_through: bool = False
    """The output is the input itself, as dropout's at test time."""
    pointwise: bool = False
    """Each position is computed from the same position alone (all channels of it)."""
    on_window: Callable[..., Tensor] | None = None
    """`forward` on a patch that already holds what lies outside the map, there `border`."""
    border: float = 0.0
    windowable: Callable[[Node], bool] = lambda node: True
