"""Where in a file the weights are: every dictionary of tensors in it, by its place.

A `Reading` is one of them. A training script's checkpoint has several: the weights, their moving
average, what the optimiser keeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from convscope.models.pickles import Foreign, StoredTensor, Unreadable

__all__ = ["Leaf", "PickledState", "Reading", "main_reading", "readings_of", "tensor_of"]

Leaf = Tensor | StoredTensor | Unreadable
Reading = Mapping[str, Leaf]
"""Tensors by name; those of a file that are not read yet, too."""

DEEPEST = 16  # dictionaries in dictionaries, before nobody keeps weights there
MOST_MODULES, DEEPEST_MODULE = 20_000, 40  # of a network, so that one that holds itself ends
# where training scripts keep the weights, the likeliest first
CONTAINERS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "module"),
    *("ema", "state_dict_ema", "model_ema", "params_ema"),
)


class PickledState(dict[str, Leaf]):
    """The state dict of a module that was pickled whole.

    Attributes:
        origin: the module's class.
    """

    origin = ""


def readings_of(content: Any) -> dict[str, Reading]:
    """Every dictionary of tensors in what a file holds.

    Args:
        content: as `read_torch_file` gives it.

    Returns:
        By its place, the keys on the way joined by dots; "" is the file itself. A module that was
        pickled whole is one dictionary, its state dict.
    """
    found: dict[str, Reading] = {}
    seen: set[int] = set()
    todo: deque[tuple[str, Any, int]] = deque([("", content, 0)])
    while todo:
        place, value, depth = todo.popleft()
        if not isinstance(value, dict | list | tuple | Foreign) or id(value) in seen:
            continue
        if depth > DEEPEST:
            continue
        seen.add(id(value))
        if isinstance(value, Foreign):
            if tensors := _state_of(value):
                found.setdefault(place, tensors)
                continue
            state = value.state if isinstance(value.state, dict) else {}
            value = {**state, **value.entries}
        items = dict(enumerate(value)) if isinstance(value, list | tuple) else value
        if tensors := {str(k): leaf for k, v in items.items() if (leaf := _leaf(v)) is not None}:
            found.setdefault(place, tensors)
        for key, inner in items.items():
            todo.append((f"{place}.{key}" if place else str(key), inner, depth + 1))
    return found


def main_reading(readings: Mapping[str, Reading]) -> Reading:
    """The one that is meant where nothing else says so; empty where there is none."""
    for place in ("", *CONTAINERS):
        if place in readings:
            return readings[place]
    return max(readings.values(), key=len, default={})


def tensor_of(leaf: Leaf) -> Tensor:
    """The tensor itself, read from the file if it was not yet.

    Raises:
        ValueError: its data is not there.
    """
    if isinstance(leaf, Unreadable):
        raise ValueError(f"a tensor that is {leaf.kind}")
    return leaf if isinstance(leaf, Tensor) else leaf.tensor()


def _leaf(value: Any) -> Leaf | None:
    """The value, if it is a tensor of any sort."""
    if isinstance(value, Foreign) and hasattr(value, "tensor"):
        made: Leaf = value.tensor()  # a NumPy array
        return made
    return value if isinstance(value, Leaf) else None


def _state_of(module: Foreign) -> Reading:
    """The state dict of a module that was pickled whole; empty where it is none."""
    state = PickledState(_parameters(module))
    state.origin = module.origin
    return state


def _parameters(module: Foreign) -> Iterator[tuple[str, Leaf]]:
    todo: deque[tuple[str, Any]] = deque([("", module)])
    for _ in range(MOST_MODULES):
        if not todo:
            break
        prefix, one = todo.popleft()
        state = one.state if isinstance(one, Foreign) else None
        if not isinstance(state, dict):
            continue
        left_out = state.get("_non_persistent_buffers_set", ())
        for group in ("_parameters", "_buffers"):
            for name, value in _entries(state.get(group)):
                leaf = _leaf(value)
                if leaf is not None and not (group == "_buffers" and name in left_out):
                    yield f"{prefix}{name}", leaf
        if prefix.count(".") < DEEPEST_MODULE:
            todo += [(f"{prefix}{name}.", child) for name, child in _entries(state.get("_modules"))]


def _entries(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
