"""A node of a network, and the row of the op table that says what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from convscope.geometry.table import Reach, windows_below
from convscope.geometry.window import Field
from convscope.network.axis_map import AxisMap
from convscope.network.constants import stamp
from convscope.network.place import Place

__all__ = [
    "Node",
    "Op",
    "Rule",
    "Run",
    "Saved",
    "SavedWindows",
    "SavedWithReference",
    "WindowRule",
    "patch_size",
]


class Saved(Protocol):
    """What a downward rule may ask of the forward pass, one row per signal."""

    def input(self, index: int = 0) -> Tensor: ...

    def output(self) -> Tensor: ...

    def switches(self) -> Tensor:
        """Where each pooled maximum came from: over whole maps a flat index into the rows x
        columns below, in windows its place in the pooling region, counted by rows."""


@runtime_checkable
class SavedWithReference(Saved, Protocol):
    """What a downward rule may ask of the forward pass over whole maps, and of a second one."""

    def reference(self, index: int = 0) -> Tensor:
        """An input of the pass of the reference image, one row."""

    def reference_output(self) -> Tensor:
        """The output of that pass, one row."""


class SavedWindows(Saved, Protocol):
    """What a downward rule may ask of the forward pass where signals go down in windows.

    Attributes:
        place: Where the windows lie, above and below.
        channels: The channel of each signal, where it is still its unit's one value; or None.
        scratch: Memory that a rule may keep from one group of units to the next, under its own
            name.

    Shape:
        channels: (U,).
    """

    @property
    def place(self) -> Place: ...

    @property
    def channels(self) -> Tensor | None: ...

    @property
    def scratch(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a network: a row of `print(network)`.

    Attributes:
        name: The layer's name.
        op: The row of the op table.
        inputs: The names of the nodes below, in the operation's own order.
        shape: Of the output, without the batch axis.
        below: The shape of each input, without the batch axis.
        settings: Such as kernel and stride.
        tensors: Such as weight and bias.
        module: The dotted name of the module that the operation belongs to.
        real: Whether its values are real numbers; those of a comparison are true or false, those
            of an argmax are places.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    below: tuple[tuple[int, ...], ...]
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    module: str = ""
    real: bool = True
    _derived: dict[str, tuple[object, Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def kind(self) -> str:
        return self.op.kind

    def fields(self) -> tuple[Field, ...]:
        """The reach of this operation into each of its inputs."""
        return tuple(self.op.field(self, i) for i in range(len(self.inputs)))

    @cached_property
    def reaches(self) -> tuple[tuple[Reach, Reach], ...]:
        """The same position by position where no affine map says it: (rows, columns) per input."""
        if self.placed and self.op.reach is not None:
            return tuple(self.op.reach(self, i) for i in range(len(self.inputs)))
        return tuple(field.axes for field in self.fields())

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.op.forward(self, *inputs)

    def forward_on_window(self, *patches: Tensor, place: Place | None = None) -> Tensor:
        """`forward` on patches that already hold what lies outside the maps.

        Args:
            patches: One for each input.
            place: Where they lie, for a node that is `placed`.
        """
        if self.placed and self.op.on_window_at is not None and place is not None:
            return self.op.on_window_at(self, place, *patches)
        return (self.op.on_window or self.op.forward)(self, *patches)

    @property
    def cost(self) -> int:
        """Multiply-adds for one position of the output."""
        return self.op.cost(self)

    @cached_property
    def pointwise(self) -> bool:
        """Whether each position is computed from the same position alone, alike everywhere.

        Such an operation, and any rule for it, runs on windows as it does on whole maps.
        """
        if not (self.op.pointwise and self._has_windows):
            return False
        same_grid = all(below[1:] == self.shape[1:] for below in self.below)
        return same_grid and all(reach == Field() for reach in self.fields())

    @cached_property
    def on_windows(self) -> bool:
        """Whether this operation can run on a window of its grid, its border taken care of."""
        alike = self.op.on_window is not None and self._has_windows
        return self.pointwise or alike or self.placed

    @cached_property
    def placed(self) -> bool:
        """Whether it runs on windows where it is told where they lie: positions are not alike."""
        if self.op.on_window_at is None or not self._are_maps or self.op.reach is None:
            return False
        if self.pointwise or (self.op.on_window is not None and self.op.windowable(self)):
            return False
        reaches = (self.op.reach(self, i) for i in range(len(self.inputs)))
        return not any(axis.is_whole for axes in reaches for axis in axes)

    @property
    def _are_maps(self) -> bool:
        return all(len(shape) == 3 for shape in (self.shape, *self.below))

    @property
    def _has_windows(self) -> bool:
        return self._are_maps and self.op.windowable(self)

    @cached_property
    def axis_maps(self) -> tuple[tuple[AxisMap | None, AxisMap | None], ...]:
        """Of an operation that is linear along each axis: (rows, columns) for each input."""
        assert self.op.axes is not None
        return tuple(self.op.axes(self, i) for i in range(len(self.inputs)))

    def derived(self, key: str, make: Callable[[Node], Any]) -> Any:
        """What `make` computes from the node's weight, kept until that is written to."""
        weight = self.tensors["weight"]
        if key not in self._derived or self._derived[key][0] != stamp(weight):
            self._derived[key] = stamp(weight), make(self)
        return self._derived[key][1]


Rule = Callable[[Node, Tensor, Saved], tuple[Tensor, ...]]
"""(node, signal above, what the forward pass saved) -> the signal for each input."""

WindowRule = Callable[[Node, Tensor, SavedWindows], tuple[Tensor, ...]]
"""The same, for signals in windows: new memory for each input, or the signal itself."""

Run = Callable[..., Tensor]
"""Patches, one per input -> the result on them."""


def _reach(node: Node, index: int) -> Field:
    """The same position where an operation is pointwise; else everything, which is always true."""
    return Field() if node.op.pointwise else Field.whole(node.below[index])


@dataclass(frozen=True, eq=False)
class Op:
    """One row of the op table: all that Convscope knows about an operation.

    What an operation computes, and how a signal crosses it, over whole maps and on windows. A row
    without a rule for windows is right all the same: whatever needs windows there takes whole maps.
    """

    kind: str
    aten: tuple[Any, ...]
    """The overloads that spell it, in-place ones too."""
    forward: Callable[..., Tensor]
    """(node, *inputs) -> output"""
    adjoint: Rule | None = None
    """How a signal crosses it downward; None where a method has to decide (nonlinear ops)."""
    field: Callable[[Node, int], Field] = _reach
    """Which positions of an input an output reads."""
    read: Callable[[dict[str, Any]], dict[str, Any]] = lambda bound: {}
    """The call's arguments by name, defaults filled in -> the node's settings."""

    # -- on windows
    pointwise: bool = False
    """Each position is computed from the same position alone (all channels of it), so that the row
    serves windows as it is. Nodes whose field says otherwise are left out by themselves."""
    elementwise: bool = False
    """Pointwise, and each channel by itself."""
    on_window: Callable[..., Tensor] | None = None
    """`forward` on patches that already hold what lies outside the maps, there `border`."""
    border: float = 0.0
    adjoint_on_window: WindowRule | None = None
    """`adjoint` for signals in windows: down to the whole patch that `on_window` reads."""
    reach: Callable[[Node, int], tuple[Reach, Reach]] | None = None
    """`field` position by position, where no affine map says what is read: a table per axis."""
    on_window_at: Callable[..., Tensor] | None = None
    """(node, place, *patches) -> output: `on_window` where positions are not alike. Patches lie in
    the maps, as `reach` says."""
    axes: Callable[[Node, int], tuple[AxisMap | None, AxisMap | None]] | None = None
    """What it does along rows and along columns, for an operation that is linear in both."""
    stays_inside: bool = False
    """On windows, too, `adjoint` brings signals only to positions that the map below has."""
    windowable: Callable[[Node], bool] = lambda node: True
    """Whether this node, with its settings and stored tensors, can run on windows."""

    channels_first: Callable[[Node], Node | None] | None = None
    """The same on maps whose channels come first, of a node on maps whose channels come last; None
    where it has no such form."""

    # -- what else the code above asks
    cost: Callable[[Node], int] = lambda node: 0
    """Multiply-adds for one position of the output."""
    fused: Callable[[Node, Sequence[Node]], tuple[Run, Sequence[Node]]] | None = None
    """(node, the pointwise nodes after it) -> the fastest way to run it on patches, with as many
    of those as it can take in, and the others."""
    adjoint_looks: Callable[[Node], bool] = lambda node: False
    """Whether `adjoint` looks at what the forward pass saved."""
    in_place: Callable[..., Tensor] | None = None
    """`forward` written over its input: saves memory where nothing else reads that."""
    new_memory: bool = False
    """The output is sure to be memory of its own, which what reads it may write over."""
    passes_through: bool = False
    """The output is the input itself, as dropout's at test time."""
    identity: bool = False
    """It passes through in training too, as a copy does: no layer that anyone meant."""
    casts: bool = False
    """It changes the type of the numbers: where it leaves it, it is a copy."""
    reshapes: bool = False
    """The output holds the input's values in the same order, in another shape."""
    flattens: bool = False
    """It reshapes only to list feature maps in one row, for a dense layer."""
    cuts: bool = False
    """The output is a view of the input that leaves values out."""
    permutes: bool = False
    """The output is a view of the input that lists its values in another order."""
    concatenates: bool = False
    """The output is the inputs, one after the other."""
    arithmetic: bool = False
    """A sum, difference, product or quotient, of two values or with what is stored."""
    spells: bool = False
    """It may be a part of an activation that is written out, its last one too."""
    pools: bool = False
    """Each value is the largest of some below, or their mean."""
    switches: bool = False
    """`adjoint` puts each value back where the largest one below was."""
    convolves: bool = False
    """Filters, tensors["weight"] (K, C, h, w), are laid over the maps."""
    dense: bool = False
    """tensors["weight"] (K, C) times all of the input, plus tensors["bias"]."""
    scale_shift: Callable[[Node], tuple[Tensor, Tensor]] | None = None
    """A normalisation that is y = scale * x + shift, per channel: those two."""
    own_scale: Callable[[Node, Tensor], Tensor] | None = None
    """A normalisation by statistics of the image itself: what each value of an input is multiplied
    by, these statistics taken as given."""
    activation: bool = False
    """A nonlinearity: its value is what the layer below answers."""
    spreads: bool = False
    """The output is a view that repeats the input's values along axes of length one."""
    probabilities: bool = False
    """Values are probabilities: of each number by itself, or, unless elementwise, along an axis."""
    log_probabilities: bool = False
    """Values are the logarithms of probabilities along an axis."""
    rectifies: Callable[[Node], bool] = lambda node: False
    """Whether values are zero or more, and zero where there is no answer."""
    keeps_maxima: Callable[[Node], bool] = lambda node: False
    """Whether the largest value of each map below is the largest of the map above."""

    @property
    def weighs(self) -> bool:
        """It weighs its input by what was learned: a convolution or a dense layer."""
        return self.convolves or self.dense

    @property
    def views(self) -> bool:
        """The output is a view of the input that leaves values out, or lists them otherwise."""
        return self.cuts or self.permutes or self.spreads


def patch_size(node: Node, size: Sequence[int], index: int = 0) -> tuple[int, int]:
    """(rows, columns) of the input patch that an output window of that size reads."""

    rows, columns = node.op.field(node, index).axes
    first = np.zeros(1, np.int64)
    return windows_below(rows, first, size[-2])[1], windows_below(columns, first, size[-1])[1]
