"""Tensors that a network computes from its parameters alone, as weight standardisation does.

They are computed once, when the network is read, and again after a parameter has been written to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["Constants", "moved", "narrowed", "stamp"]


class Constants:
    """Tensors computed from a module's parameters and buffers, in order, and how.

    Args:
        sources: The parameters and buffers by name, sharing the module's memory.
    """

    def __init__(self, sources: Mapping[str, Tensor]) -> None:
        self._sources: dict[str, Any] = dict(sources)
        self._values: dict[str, Any] = dict(sources)
        self._steps: list[Callable[[dict[str, Any]], Any]] = []
        self._made: list[Any] = []
        self._stamps = self._now()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def compute(self, step: Callable[[dict[str, Any]], Any]) -> None:
        """Take one more step: a function that puts a value beside the others and returns it."""
        self._steps.append(step)
        with torch.no_grad():
            self._made.append(step(self._values))

    def put(self, name: str, value: Any) -> None:
        """Keep one more value, which follows from nothing that may change."""
        self._sources[name] = self._values[name] = value
        self._stamps = self._now()

    def follow(self) -> None:
        """Compute anew, into the same memory, if a source was written to since the last time.

        A write through `.data` is not seen: PyTorch does not count it.
        """
        if not self._steps or (stamps := self._now()) == self._stamps:
            return
        values: dict[str, Any] = dict(self._sources)
        seen = {_memory(leaf) for leaf in tree_leaves(self._sources) if isinstance(leaf, Tensor)}
        with torch.no_grad():
            for step, made in zip(self._steps, self._made, strict=True):
                for old, new in zip(tree_leaves(made), tree_leaves(step(values)), strict=True):
                    if isinstance(old, Tensor) and _memory(old) not in seen:  # else it is a view
                        seen.add(_memory(old))
                        old.copy_(new)
        self._stamps = stamps

    def _now(self) -> list[tuple[int, int]]:
        tensors = (value for value in self._sources.values() if isinstance(value, Tensor))
        return [stamp(tensor) for tensor in tensors]


def stamp(tensor: Tensor) -> tuple[int, int]:
    """Return a value that changes when the tensor is written to."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def moved(tensor: Tensor, target: torch.device | str | torch.dtype) -> Tensor:
    """A stored tensor on another device, or of another dtype if it holds no masks or whole numbers.

    One that takes no memory along some axes takes none there afterwards.
    """
    if isinstance(target, torch.dtype) and not tensor.is_floating_point():
        return tensor
    small = narrowed(tensor)
    return tensor.to(target) if small is tensor else small.to(target).expand(tensor.shape)


def narrowed(tensor: Tensor) -> Tensor:
    """A tensor without what it repeats along axes that take no memory."""
    if all(tensor.stride()) or not tensor.numel():
        return tensor
    return tensor[tuple(slice(None) if step else slice(1) for step in tensor.stride())]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
