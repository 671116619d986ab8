"""The window algebra: which inputs an output reads, and which outputs an input reaches.

A `Window` is an affine map, along one axis, from an output index i to the half-open interval of
input indices [first(i), first(i) + size), with first(i) = floor(start + i * stride). A convolution
with kernel k, stride s, padding p and dilation d is Window(size=d*(k-1)+1, stride=s, start=-p);
up-sampling has a fractional stride; a global operation has stride 0 and a size as large as the
axis. Windows compose (`after`), join (`hull`), and answer in both directions (`need`, `affected`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import Any

from convscope.geometry.box import Box

__all__ = ["IDENTITY", "Field", "Status", "Window"]

Interval = tuple[Any, Any]
"""Half-open (first, last): Python integers, or integer arrays of equal shape."""


class Status(Enum):
    """How sure a window is about what an output reads."""

    EXACT = "exact"
    """The smallest interval that holds every input the output reads (where it crosses the edge
    of the input, padding further down may leave some of it unread)."""
    UPPER_BOUND = "upper_bound"
    """An interval that holds them, possibly with room to spare."""
    GLOBAL = "global"
    """The output reads the whole axis, whatever its position."""

    def __or__(self, other: Status) -> Status:
        """Return the less sure of the two."""
        order = (Status.EXACT, Status.UPPER_BOUND, Status.GLOBAL)
        return max(self, other, key=order.index)


@dataclass(frozen=True)
class Window:
    """An affine map from an output index to an interval of input indices, along one axis.

    Attributes:
        size: How many inputs an output reads, from the first to the last.
        stride: Steps, in inputs, from an output's window to the next one's; 0 if it is global,
            negative where the axis is mirrored.
        start: The first input of output 0; below 0 in the padding.
        status: How sure the window is.

    Example:
        >>> conv = Window.sliding(kernel=3, stride=2, padding=1)
        >>> conv.need((0, 4))
        (-1, 8)
        >>> conv.after(Window.sliding(kernel=3)).size
        5
    """

    size: int = 1
    stride: Fraction = Fraction(1)
    start: Fraction = Fraction(0)
    status: Status = Status.EXACT

    def __post_init__(self) -> None:
        object.__setattr__(self, "stride", Fraction(self.stride))
        object.__setattr__(self, "start", Fraction(self.start))

    @classmethod
    def sliding(cls, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Window:
        """Return the window of a convolution or pooling along one axis.

        Args:
            kernel: Elements of the kernel.
            stride: Inputs between two neighbouring outputs.
            padding: Elements added before the first input.
            dilation: Inputs between two elements of the kernel.
        """
        return cls(dilation * (kernel - 1) + 1, Fraction(stride), Fraction(-padding))

    @classmethod
    def whole(cls, extent: int) -> Window:
        """Return the window of an operation that reads the whole axis for every output.

        Args:
            extent: The length of the input axis.
        """
        return cls(extent, Fraction(0), Fraction(0), Status.GLOBAL)

    @property
    def is_whole(self) -> bool:
        """Whether every output reads the same inputs: the whole axis."""
        return self.stride == 0

    @cached_property
    def _integers(self) -> tuple[int, int, int]:
        """`start` and `stride` times their common denominator, and that denominator."""
        scale = math.lcm(self.stride.denominator, self.start.denominator)
        return int(self.start * scale), int(self.stride * scale), scale

    def first(self, index: Any) -> Any:
        """Return the first input index of output `index` (an integer or an integer array)."""
        start, stride, scale = self._integers
        return (start + index * stride) // scale

    def need(self, interval: Interval) -> Interval:
        """Return the input interval that the outputs in `interval` read, not clipped to the input.

        Args:
            interval: Output indices, half-open: integers, or integer arrays of equal shape.
        """
        first, last = interval
        if self.stride < 0:  # a mirror: the last output reads first
            return self.first(last - 1), self.first(first) + self.size
        return self.first(first), self.first(last - 1) + self.size

    def affected(self, interval: Interval, extent: int) -> Interval:
        """Return the output interval, within [0, extent), that reads anything of an input interval.

        Args:
            interval: Input indices, half-open: integers, or integer arrays of equal shape.
            extent: The length of the output axis.

        Returns:
            Output indices, half-open; empty (last <= first) where `interval` is empty or nothing of
            it is read.
        """
        first, last = interval
        start, stride, scale = self._integers
        if stride == 0:
            inside = (first < self.first(0) + self.size) & (last > self.first(0)) & (first < last)
            return first * 0, extent * inside
        # output i reads [first(i), first(i) + size): it is touched where first(i) < last and
        # first(i) > first_of_interval - size; `floor(x) < n` is `x < n` for an integer n.
        least, most = (first - self.size + 1) * scale - start, last * scale - start
        if stride < 0:
            low, high = most // stride + 1, least // stride + 1
        else:
            low, high = -(-least // stride), -(-most // stride)
        return _clip(low, extent), _clip(high, extent)

    def after(self, below: Window) -> Window:
        """Compose with the layer below: this layer's window in the input indices of `below`.

        Args:
            below: The window of the layer whose outputs are this layer's inputs.

        Returns:
            The composed window; an upper bound where rounding twice makes it larger than need be.
        """
        reach = (self.size - 1) * abs(below.stride)
        start = below.start + self.start * below.stride
        if below.stride < 0:  # a mirror below: the last of what is read comes first
            start -= reach
        status = self.status | below.status
        slack = Fraction(0)
        whole_steps = self.stride.denominator == self.start.denominator == 1
        shift_only = below.stride == 1 and below.start.denominator == 1
        if not (whole_steps or shift_only):  # flooring twice: leave room for the first floor
            steps = math.lcm(self.stride.denominator, self.start.denominator)
            slack = abs(below.stride) * Fraction(steps - 1, steps)
        if slack or (reach + slack).denominator != 1:
            status = status | Status.UPPER_BOUND
        return Window(
            size=below.size + math.ceil(reach + slack),
            stride=self.stride * below.stride,
            start=start - slack if below.stride > 0 else start,
            status=status,
        )

    def hull(self, other: Window, extent: int) -> Window:
        """Return the window that holds both, as where two branches of a network meet.

        Args:
            other: The window of the other branch.
            extent: The length of the input axis, all of which two different strides need.
        """
        if self.stride != other.stride or self.is_whole:
            return Window.whole(extent)
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        status = self.status | other.status
        if (end - start).denominator != 1:
            status = status | Status.UPPER_BOUND
        return Window(math.ceil(end - start), self.stride, start, status)


IDENTITY = Window()


@dataclass(frozen=True)
class Field:
    """A window for each axis: the receptive field of a layer, or the reach of one operation.

    Attributes:
        rows: The window along the rows.
        columns: The window along the columns.
    """

    rows: Window = IDENTITY
    columns: Window = IDENTITY

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Field:
        """Return the field of an operation that reads every position.

        Args:
            shape: Of its input: rows and columns are the last two axes; a vector has one position.
        """
        rows, columns = shape[-2:] if len(shape) > 1 else (1, 1)
        return cls(Window.whole(rows), Window.whole(columns))

    @property
    def axes(self) -> tuple[Window, Window]:
        """The windows of both axes, (rows, columns)."""
        return self.rows, self.columns

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in input pixels."""
        return self.rows.size, self.columns.size

    @property
    def status(self) -> Status:
        """The less sure status of the two axes."""
        return self.rows.status | self.columns.status

    def box(self, position: tuple[int, int]) -> Box:
        """Return the input box, not clipped, that the output at a position reads.

        Args:
            position: (row, column) on the layer's grid.

        Example:
            >>> conv = Window.sliding(kernel=3, stride=2, padding=1)
            >>> Field(conv, conv).box((0, 1))
            Box(top=-1, left=1, bottom=2, right=4)
        """
        row, column = position
        (top, bottom), (left, right) = (
            self.rows.need((row, row + 1)),
            self.columns.need((column, column + 1)),
        )
        return Box(int(top), int(left), int(bottom), int(right))

    def after(self, below: Field) -> Field:
        """Compose with the field of the layer below, axis by axis (`Window.after`)."""
        return Field(self.rows.after(below.rows), self.columns.after(below.columns))

    def hull(self, other: Field, extent: tuple[int, int]) -> Field:
        """Return the field that holds both, on an input of `extent` (height, width)."""
        return Field(
            self.rows.hull(other.rows, extent[0]), self.columns.hull(other.columns, extent[1])
        )


def _clip(value: Any, extent: int) -> Any:
    if isinstance(value, int):
        return min(max(value, 0), extent)
    return value.clip(0, extent)
