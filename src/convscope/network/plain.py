"""What forward() returns, as containers that torch.export knows: tuples, lists and dictionaries.

A dataclass becomes a dictionary of its fields, and so does a dictionary of another class, a named
tuple, or any other object by those of its attributes that hold tensors. Nothing is registered with
PyTorch, and the module comes back as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import Tensor, nn

__all__ = ["plain_containers", "returning_plain"]


def plain_containers(value: Any) -> Any:
    """The same values in tuples, lists and dictionaries.

    Example:
        >>> plain(SomeResult(logits=tensor, hidden=(a, b)))
        {'logits': tensor, 'hidden': (a, b)}
    """
    if isinstance(value, tuple | list):
        if hasattr(value, "_asdict"):
            return plain_containers(value._asdict())
        return (tuple if isinstance(value, tuple) else list)(
            plain_containers(item) for item in value
        )
    if isinstance(value, Mapping):
        return {key: plain_containers(item) for key, item in value.items()}
    if isinstance(value, Tensor | type):
        return value
    if dataclasses.is_dataclass(value):
        return {f.name: plain_containers(getattr(value, f.name)) for f in dataclasses.fields(value)}
    held = {name: item for name, item in getattr(value, "__dict__", {}).items() if _tensors(item)}
    return {name: plain_containers(item) for name, item in held.items()} or value


def _tensors(value: Any) -> bool:
    """Whether a value is a tensor, or a container that holds one."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return isinstance(value, Tensor) or (
        isinstance(value, tuple | list) and any(_tensors(item) for item in value)
    )


@contextmanager
def returning_plain(module: nn.Module) -> Iterator[None]:
    """Inside, the module's forward() returns tuples, lists and dictionaries."""
    forward, before = module.forward, module.__dict__.get("forward")

    @wraps(forward)
    def plain_forward(*args: Any, **kwargs: Any) -> Any:
        return plain_containers(forward(*args, **kwargs))

    module.forward = plain_forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if before is not None:
            module.forward = before
