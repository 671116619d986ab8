"""Who holds which value, in a graph whose operations write in place.

PyTorch's views share memory: a write into `x.view(...)`, or into what dropout returns at test
time, is seen through x as well. Here each graph node belongs to a place; a write moves the value of
all that lists the same numbers in the same way, and leaves everything else at that place stale.
"""

from __future__ import annotations

from typing import Any

import torch

from convscope.network.node import Op

__all__ = ["Memory", "writes_in_place"]

_COPIES = frozenset({torch.ops.aten.clone.default})


def writes_in_place(fx: Any) -> bool:
    """Whether a graph node overwrites its first argument, as relu_ and add_ do."""
    schema = getattr(fx.target, "_schema", None)
    return schema is not None and schema.is_mutable


class Memory:
    """The values of a graph's nodes as execution goes along; nodes are added in its order."""

    def __init__(self) -> None:
        self._holder: dict[Any, Any] = {}  # node -> the node that holds its value now
        self._first: dict[Any, Any] = {}  # node -> the node that first used its memory
        self._layout: dict[Any, Any] = {}  # node -> the node that first read that memory this way
        self._stale: set[Any] = set()

    def __contains__(self, fx: Any) -> bool:
        return fx in self._holder

    def is_stale(self, fx: Any) -> bool:
        """Its memory was overwritten through a view that shows it in another way."""
        return fx in self._stale

    def holder(self, fx: Any) -> Any:
        """The node whose value this one reads as now: itself, or the last write into it."""
        return self._holder[fx]

    def add(self, fx: Any, op: Op | None = None, base: Any = None) -> None:
        """Take note of a node, with its operation and first operand; the images have none."""
        self._holder[fx] = self._first[fx] = self._layout[fx] = fx
        if op is None:
            return
        if writes_in_place(fx):
            self._first[fx], self._layout[fx] = self._first[base], self._layout[base]
            self._overwrite(fx)
        elif (op.views or op.reshapes or op.passes_through) and fx.target not in _COPIES:
            self._first[fx] = self._first[base]
            if _lists_alike(fx, op, base):
                self._layout[fx] = self._layout[base]

    def _overwrite(self, fx: Any) -> None:
        for other, first in self._first.items():
            if first is not self._first[fx] or other is fx:
                continue
            if self._layout[other] is self._layout[fx] and _shape(other) == _shape(fx):
                self._holder[other] = fx
            else:
                self._stale.add(other)


def _lists_alike(fx: Any, op: Op, base: Any) -> bool:
    """Whether a view lists the same numbers in the same order.

    A reshape of memory that is not contiguous may be a copy: it gets a layout of its own.
    """
    if op.views:
        return False
    if op.passes_through:
        return bool(fx.meta["val"].stride() == base.meta["val"].stride())
    return bool(base.meta["val"].is_contiguous())


def _shape(fx: Any) -> tuple[int, ...]:
    return tuple(fx.meta["val"].shape[1:])
