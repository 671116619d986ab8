"""What each output reads, one by one: where no affine map says it, as at a mirrored border.

A `Table` answers what a `Window` answers, `need` and `affected`, for operations that tell one
position from another along an axis: padding by reflection, up-sampling, a roll. It never reaches
outside the map below. `Table.window` is the tightest affine map that holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from convscope.geometry.window import Status, Window

__all__ = ["Reach", "Table", "windows_below"]

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """Half-open intervals of inputs, one per output, along one axis.

    Attributes:
        first: The first input that each output reads.
        last: One more than the last; not above `first` where an output reads nothing.
        extent: The length of the input axis.

    Example:
        >>> doubled = Table([0, 0, 1, 1], [1, 1, 2, 2], extent=2)
        >>> doubled.window(Fraction(1, 2))
        Window(size=1, stride=Fraction(1, 2), start=Fraction(0, 1), status=<Status.EXACT: 'exact'>)
    """

    first: Sequence[int] | Array
    last: Sequence[int] | Array
    extent: int
    _first: Array = field(init=False, repr=False)
    _last: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        first, last = np.asarray(self.first, np.int64), np.asarray(self.last, np.int64)
        reads = last > first
        object.__setattr__(self, "_first", np.where(reads, first, self.extent))
        object.__setattr__(self, "_last", np.where(reads, last, 0))

    def __len__(self) -> int:
        return len(self._first)

    @property
    def is_whole(self) -> bool:
        """Whether every output reads the whole axis, which is longer than one."""
        whole = bool((self._first == 0).all()) and bool((self._last == self.extent).all())
        return whole and self.extent > 1

    def need(self, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return the input intervals that the outputs in each interval read.

        Args:
            interval: Output indices, half-open, as arrays; outputs that the map does not have read
                nothing.

        Returns:
            Input indices, half-open; (0, 0) where nothing is read.
        """
        start, stop = np.asarray(interval[0]), np.asarray(interval[1])
        longest = max(1, int((stop - start).max(initial=1)))
        index = start[:, None] + np.arange(longest)
        outside = (index < 0) | (index >= len(self)) | (index >= stop[:, None])
        index = index.clip(0, len(self) - 1)
        low = np.where(outside, self.extent, self._first[index]).min(1)
        high = np.where(outside, 0, self._last[index]).max(1)
        return np.where(high > low, low, 0), np.where(high > low, high, 0)

    def affected(self, interval: tuple[Array, Array], extent: int) -> tuple[Array, Array]:
        """Return, per input interval, the hull of the outputs that read anything of it.

        Args:
            interval: Input indices, half-open, as arrays.
            extent: The length of the output axis.
        """
        low, high = np.asarray(interval[0])[:, None], np.asarray(interval[1])[:, None]
        touched = (self._first < high) & (self._last > low) & (low < high)
        some = touched.any(1)
        first = touched.argmax(1)
        last = extent - touched[:, ::-1].argmax(1)
        return np.where(some, first, 0), np.where(some, last, 0)

    def window(self, stride: Fraction | int) -> Window:
        """Return the tightest window of that stride that holds every interval.

        Args:
            stride: Inputs from an output to the next one.

        Returns:
            Exact where each interval that lies in the map is just what is read; the whole axis
            where it would be no smaller than that.
        """
        stride = Fraction(stride)
        outputs = np.flatnonzero(self._last > self._first)
        if len(outputs) == 0:
            return Window(1, stride, Fraction(0), Status.UPPER_BOUND)
        each = [(int(i), int(self._first[i]), int(self._last[i])) for i in outputs]
        if self.extent > 1 and all((a, b) == (0, self.extent) for _, a, b in each):
            return Window.whole(self.extent)
        start = min(first + 1 - i * stride for i, first, _ in each)
        start -= Fraction(1, stride.denominator)  # the largest start below all of these
        bound = Window(1, stride, start)
        size = max(last - bound.first(i) for i, _, last in each)
        exact = all(
            (first, last) == (at := bound.first(i), at + size) or at < 0 or at + size > self.extent
            for i, (first, last) in enumerate(zip(self._first, self._last, strict=True))
        )
        if not exact and size >= self.extent:
            return Window.whole(self.extent)
        return Window(size, stride, start, Status.EXACT if exact else Status.UPPER_BOUND)


Reach = Window | Table
"""What the outputs along one axis read, and what reads an input."""


def windows_below(reach: Reach, first: Any, size: int) -> tuple[Any, int]:
    """Windows of one size below windows of one size.

    Args:
        reach: What each output reads along the axis.
        first: The first index of each window above, an array.
        size: How long these are.

    Returns:
        The first index of each window below, and the length of all of them: the longest that is
        needed.
    """
    low, high = reach.need((first, first + size))
    longest = max(1, int((high - low).max()))
    if isinstance(reach, Table):
        low = np.clip(low, 0, max(0, reach.extent - longest))
    return low, longest
